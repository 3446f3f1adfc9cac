"""Which paths a policy opens beside those that the gateway governs itself. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote

_VERSIONS = re.compile(r"^(?:/v1)+(?=/|$)")
# A server may read these as steps in a tree, so that the path it serves is not the one that was
# compared: backslashes, empty and dotted segments, and escapes of escapes.
_STEPS = re.compile(r"\\|//|/\.{1,2}(?:[/;]|$)|%|[\x00-\x20\x7f?#]")


def bare_path(path: str, *, whole: bool = True) -> str:
    """A path without its version, which clients leave out or double, and, if it is a `whole` one,
    without a final slash."""
    bare = _VERSIONS.sub("", path)
    return bare.rstrip("/") if whole else bare


def permits(endpoints: tuple[str, ...], path: str) -> bool:
    """Whether a request's path is one of `endpoints`, with or without version and final slash. One
    that could be read as another path is none."""
    if not path.startswith("/") or _STEPS.search(unquote(path, errors="replace")):
        return False
    bare = bare_path(path)
    return any(bare.startswith(e[:-1]) if e.endswith("*") else bare == e for e in endpoints)
