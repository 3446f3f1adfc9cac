"""Whether one set of models holds all of another, as far as that can be told. Pure.

The answer errs to one side: "yes" is certain, "no" may mean that nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenomics.policy.model import ModelSet
from tokenomics.policy.regexes import compile_pattern

# `^name`, `^name$`, `^(one|two)`: what patterns of models look like, and what can be compared.
_SIMPLE = re.compile(r"\^(?:\((?:\?:)?([\w./:|\\-]+)\)|([\w./:\\-]+))(\$?)")
_EVERYTHING = frozenset(["", "^", "$", ".*", "^.*", ".*$", "^.*$", ".+", "^.+", ".+$", "^.+$", "."])


def covered(models: ModelSet, earlier: Iterable[ModelSet]) -> bool:
    """Whether each model of an entry is one of an earlier entry's. An entry matches by any of its
    constraints, and without one all models."""
    sets = list(earlier)
    if any(not other for other in sets):
        return True
    if not models:
        return any(other.regex in _EVERYTHING for other in sets if other.regex)
    names = ([models.exact] if models.exact else []) + list(models.names)
    by_regex = not models.regex or any(_holds_regex(other, models.regex) for other in sets)
    return by_regex and all(any(holds(other, name) for other in sets) for name in names)


def holds(models: ModelSet, name: str) -> bool:
    """Whether an entry's set holds a name, or all that a `prefix*` stands for."""
    if not name.endswith("*"):
        by_regex = bool(models.regex) and compile_pattern(models.regex).found_in(name)
        return by_regex or name == models.exact or any(_fits(name, own) for own in models.names)
    return _holds_prefix(models, name[:-1])


def _fits(name: str, own: str) -> bool:
    return name == own or (own.endswith("*") and name.startswith(own[:-1]))


def _holds_prefix(models: ModelSet, prefix: str) -> bool:
    if any(own.endswith("*") and prefix.startswith(own[:-1]) for own in models.names):
        return True
    if models.regex in _EVERYTHING and models.regex:
        return True
    return any(not whole and prefix.startswith(text) for text, whole in _parts(models.regex))


def _holds_regex(models: ModelSet, regex: str) -> bool:
    if regex == models.regex or (models.regex and models.regex in _EVERYTHING):
        return True
    parts = _parts(regex)
    return bool(parts) and all(
        holds(models, text) if whole else _holds_prefix(models, text) for text, whole in parts
    )


def _parts(regex: str) -> list[tuple[str, bool]]:
    """The beginnings that a simple pattern looks for, each with whether it is the whole name. A
    plain `.` stands for any character, so such a pattern is not simple."""
    match = _SIMPLE.fullmatch(regex)
    if match is None:
        return []
    texts = (match[1] or match[2]).split("|")
    plain = [text.replace("\\.", "\0").replace("\\-", "-") for text in texts]
    if any("." in text or "\\" in text or not text for text in plain):
        return []
    return [(text.replace("\0", "."), bool(match[3])) for text in plain]
