"""What a request asks of the echo provider: the directive in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenomics.units import parse_duration

MAX_WORDS = 100_000
MAX_SECONDS = 600.0
_BEGIN, _END = "[echo ", "]"
_OPTION = re.compile(r"(\w+)=(\S+)")
_TEXT = re.compile(r"(?:^|\s)text=")
_COUNT = re.compile(r"[0-9]{1,9}")


class BadWish(ValueError):
    """Not an echo directive; the message says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A directive. `delay` and `gap` are seconds; `words`, `breaks` and `text` are None if nothing
    is asked of them, `retry_after` and `tool` are "" then."""

    status: int = 200
    retry_after: str = ""
    delay: float = 0.0
    gap: float = 0.0
    words: int | None = None
    breaks: int | None = None
    tool: str = ""
    text: str | None = None


def read_wish(said: str) -> tuple[Wish, str]:
    """The first directive of a text, and the text without any. Raises BadWish."""
    found: list[str] = []
    rest: list[str] = []
    at = 0
    # Searched for plainly: a pattern would look for the end anew from each beginning.
    while (start := said.find(_BEGIN, at)) >= 0 and (end := said.find(_END, start)) >= 0:
        rest.append(said[at:start])
        found.append(said[start + len(_BEGIN) : end])
        at = end + len(_END)
    rest.append(said[at:])
    wish = _wish(found[0]) if found else Wish()
    return wish, "".join(rest).strip()


def _wish(directive: str) -> Wish:
    text = _TEXT.search(directive)
    options = dict(_OPTION.findall(directive[: text.start()] if text else directive))
    status = _count(options, "status")
    if status is not None and not 200 <= status <= 599:
        raise BadWish("status must be from 200 to 599")
    return Wish(
        status=status or 200,
        retry_after=str(_count(options, "retry_after") or ""),
        delay=_seconds(options.get("delay")),
        gap=_seconds(options.get("gap")),
        words=_count(options, "words"),
        breaks=_count(options, "break"),
        tool=options.get("tool", ""),
        text=directive[text.end() :] if text else None,
    )


def _count(options: dict[str, str], name: str) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if not _COUNT.fullmatch(value):
        raise BadWish(f"{name}={value[:40]} must be a whole number")
    return int(value)


def _seconds(text: str | None) -> float:
    try:
        return min(parse_duration(text), MAX_SECONDS) if text else 0.0
    except ValueError as e:
        raise BadWish(str(e)[:200]) from None
