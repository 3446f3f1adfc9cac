"""Reading one value of a policy document: each reader gives the value or says what is wrong."""

from __future__ import annotations

import difflib
import ipaddress
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from tokenomics.config.providers import ECHO_URL
from tokenomics.net.origin import parse_origin
from tokenomics.policy.endpoints import bare_path
from tokenomics.policy.model import Network
from tokenomics.policy.regexes import BadPattern, Pattern, compile_pattern
from tokenomics.units import MAX_EPOCH, parse_duration, parse_rfc3339

MAX_COUNT = 10**15  # far above any budget, and exact in every JSON reader
MAX_TIMEOUT = 86400.0  # seconds
MAX_COST_USD = 10**9
MAX_THRESHOLD = 100.0

Read = Callable[[Any], Any]


class Bad(ValueError):
    """One value is wrong; the caller knows its path."""


def kind(value: Any) -> str:
    """What sort of JSON value this is, for messages."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def near(text: str, allowed: Iterable[str]) -> str:
    """A hint for a message: the word that was meant, if one is near."""
    found = difflib.get_close_matches(text, list(allowed), 1, 0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


# Text


def text(value: Any) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise Bad(f"must be text, not {kind(value)}")
    return value


def filled(value: Any) -> str:
    """Text that is not empty."""
    if not text(value):
        raise Bad("must not be empty")
    return text(value)


def one_of(*allowed: str) -> Read:
    """One of some words."""

    def read(value: Any) -> str:
        word = text(value)
        if word not in allowed:
            raise Bad(f"{word!r} is not one of {', '.join(allowed)}{near(word, allowed)}")
        return word

    return read


def keyword(value: Any) -> str:
    """A keyword; an empty one is nothing, as in the original."""
    word = text(value)
    if word and not word.strip():
        raise Bad("is blank: it would match between any two words")
    return word


def pattern(value: Any) -> Pattern:
    """An RE2 pattern, with RE2's reason if it is none."""
    try:
        return compile_pattern(text(value))
    except BadPattern as e:
        raise Bad(f"is no RE2 pattern: {e}") from None


def regex_source(value: Any) -> str:
    """The same, kept as text."""
    return pattern(value).source


def url(value: Any) -> str:
    """A base URL, or the built-in provider."""
    found = text(value)
    if found and found != ECHO_URL:
        try:
            parse_origin(found)
        except ValueError as e:
            raise Bad(str(e)) from None
    return found


def endpoint(value: Any) -> str:
    """A path or `prefix*`, as `endpoints.permits` compares it."""
    path = text(value)
    if not path.startswith("/"):
        raise Bad(f"{path!r} is no path: write /v1/files, or /v1/files* for all that begins so")
    if "*" in path[:-1]:
        raise Bad(f"{path!r}: a * may stand only at the end")
    if path != unquote(path) or not path.isprintable() or set(path) & set("?# \\"):
        raise Bad(f"{path!r}: write the path alone, without escapes, blanks, query or fragment")
    return bare_path(path[:-1], whole=False) + "*" if path.endswith("*") else bare_path(path)


# Numbers


def count(value: Any) -> int:
    """A whole number. The original takes no other notation of one either."""
    if isinstance(value, float):
        raise Bad(f"must be a whole number in digits alone, not {value!r}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Bad(f"must be a whole number, not {kind(value)}")
    if not 0 <= value <= MAX_COUNT:
        raise Bad(f"must be from 0 to {MAX_COUNT}")
    return value


def number(value: Any, what: str = "a number") -> float:
    """Any number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Bad(f"must be {what}, not {kind(value)}")
    return value


def seconds(value: Any) -> float:
    """A timeout."""
    found = number(value, "a number of seconds")
    if not 0 <= found <= MAX_TIMEOUT:
        raise Bad(f"must be from 0 to {MAX_TIMEOUT:.0f} seconds")
    return float(found)


def dollars(value: Any) -> float:
    """A cost."""
    found = number(value, "a number of US dollars")
    if not 0 <= found <= MAX_COST_USD:
        raise Bad(f"must be from 0 to {MAX_COST_USD} US dollars")
    return float(found)


def part(value: Any) -> float:
    """A part of a whole."""
    found = number(value)
    if not 0 < found <= 1:
        raise Bad(f"must be above 0 and at most 1 (0.8 is 80 %), not {found!r}")
    return float(found)


def threshold(value: Any) -> float:
    """What a score has to reach."""
    found = number(value)
    if not 0 < found <= MAX_THRESHOLD:
        raise Bad(f"must be above 0 and at most {MAX_THRESHOLD:.0f}, not {found!r}")
    return float(found)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Bad(f"must be true or false, not {kind(value)}")
    return value


def error_status(value: Any) -> int:
    """An HTTP status to retry on."""
    code = count(value)
    if not 400 <= code <= 599:
        raise Bad(f"{code} is not an error status (400 to 599)")
    return code


# Times and addresses


def window(value: Any) -> float:
    """The seconds of a duration."""
    try:
        return parse_duration(text(value))
    except Bad:
        raise
    except ValueError as e:
        raise Bad(str(e)) from None


def moment(value: Any) -> float:
    """The epoch second of an RFC 3339 time."""
    try:
        found = parse_rfc3339(text(value))
    except Bad:
        raise
    except (ValueError, OverflowError) as e:
        raise Bad(str(e)) from None
    if not 0 <= found < MAX_EPOCH:
        raise Bad(f"{value!r} must lie between the years 1970 and 9998")
    return found


def timezone(value: Any) -> str:
    """An IANA time zone that this machine knows."""
    name = text(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise Bad(f"{name!r} is no time zone known here, such as Europe/Berlin or UTC") from None
    return name


def network(value: Any) -> Network:
    """An address or a CIDR block. A block of IPv4 addresses written in IPv6 is one of IPv4."""
    written = text(value)
    try:
        found = ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise Bad(f"{written!r} is no IP address or CIDR block such as 10.0.0.0/8") from None
    if str(ipaddress.ip_interface(written).ip) != str(found.network_address):
        raise Bad(f"{written!r} has bits behind its prefix; the block is {found}")
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, found.prefixlen - 96))
    return found
