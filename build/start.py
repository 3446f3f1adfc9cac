"""The built file's start: find the unpacked copy, or have it made, and run the program from there.

Compiled modules can't be imported from inside a zip, and Python code in it is compiled anew at
every start, so the file unpacks itself once per user. In order, this uses

1. the copy in the cache folder: $SHIV_ROOT, else $CACHE_DIRECTORY (systemd), else the user's cache;
2. a private copy in the temporary folder, removed at exit, if that one can't be used;
3. the zip itself, if there is no room for either: all but the compiled parts work.

Laws:
- Code is never run from a folder that others could have written to.
- A copy is in place whole or not at all: it is unpacked beside and renamed.
- A copy in use is locked (shared) by whoever runs from it, and a locked copy is never removed.

Every command waits for this module, so what only the first start needs is in unpack.py, and nothing
is imported here that Python has not loaded anyway.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import sys

TYPE_CHECKING = False  # typing's own takes 4 ms to import
if TYPE_CHECKING:
    from typing import Any

INSIDE = "site-packages/"

# shiv's own start-up code handles these (an interpreter with the packages, for one).
SHIV_ASKED = ("SHIV_INTERPRETER", "SHIV_ENTRY_POINT", "SHIV_CONSOLE_SCRIPT", "SHIV_MODULE")


class UnusableError(Exception):
    """A folder can't hold the unpacked copy; the text says why."""


def main(facts: dict[str, Any]) -> Any:
    """Runs the program; returns what its entry point returns."""
    name, archive = facts["name"], os.path.abspath(sys.argv[0])
    if any(asked in os.environ for asked in SHIV_ASKED):
        return run_shiv(name)
    site = find_copy(archive, facts)
    sys.path[:] = [site] + [entry for entry in sys.path if os.path.abspath(entry) != archive]
    module, _, function = facts["entry_point"].partition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except ImportError as error:
        if os.path.isdir(site):
            raise
        sys.exit(f"{name}: this needs a folder to unpack into, see above ({error})")


def run_shiv(name: str) -> Any:
    """Hands over to shiv's start-up code, with our choice of folder."""
    import unpack

    try:
        os.environ["SHIV_ROOT"] = unpack.make_trusted(cache_root(name))
    except (OSError, UnusableError) as error:
        sys.exit(f"{name}: {error}")
    return importlib.import_module("_bootstrap").bootstrap()


def find_copy(archive: str, facts: dict[str, Any]) -> str:
    """The folder, or as the last resort the part of the zip, that the program is imported from."""
    name = facts["name"]
    copy_name = f"{name}-{facts['build']}-{sys.implementation.cache_tag}"
    try:
        root = cache_root(name)
        if hold(root, copy_name):
            return os.path.join(root, copy_name)
        import unpack

        return unpack.cached_copy(archive, root, copy_name)
    except (OSError, UnusableError) as error:
        problem = error
    import unpack

    try:
        site = unpack.temporary_copy(archive, name)
    except (OSError, UnusableError) as error:
        say(name, f"{problem}; {error}: running without compiled parts")
        return os.path.join(archive, INSIDE.rstrip("/"))
    say(name, f"{problem}: running from a temporary copy; name a folder with SHIV_ROOT")
    return site


def say(name: str, text: str) -> None:
    """To stderr: stdout is the program's."""
    print(f"{name}: {text}", file=sys.stderr)


def cache_root(name: str) -> str:
    """The folder the environment names; raises UnusableError if it names none."""
    if chosen := os.environ.get("SHIV_ROOT"):
        return os.path.abspath(os.path.expanduser(chosen))
    if given := os.environ.get("CACHE_DIRECTORY"):
        return given.split(":")[0]  # systemd lists all of a unit's, in the unit's order
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # to be ignored then, says the XDG specification
        caches = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(caches):
        raise UnusableError("this user has no home folder to unpack into")
    return os.path.join(caches, name)


def hold(root: str, copy_name: str) -> bool:
    """Locks the copy as in use until the process ends; False if there is none, or not for long.

    Raises UnusableError if others could have written what is there.
    """
    copy = os.path.join(root, copy_name)
    try:
        require_trusted(root)
        require_trusted(copy)
        folder = os.open(copy, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(copy)  # unpack.remove_unused reads it as the time of the last start
    except (BlockingIOError, FileNotFoundError):
        return False  # it is being removed
    except OSError:
        pass  # a read-only cache, or a file system without locks: nothing is removed there either
    return os.path.isdir(copy) and os.path.samestat(os.fstat(folder), os.stat(copy))


def require_trusted(folder: str) -> None:
    """What others can write to, others can put code into. Root's folders are as good as ours."""
    status = os.stat(folder)
    if status.st_uid not in (os.geteuid(), 0):
        raise UnusableError(f"{folder} belongs to another user (uid {status.st_uid})")
    if status.st_mode & 0o022:
        raise UnusableError(f"{folder} can be written by others (mode {status.st_mode & 0o7777:o})")
