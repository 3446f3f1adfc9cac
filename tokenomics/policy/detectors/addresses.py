"""Addresses of the net: e-mail and IP."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tokenomics.policy.detectors.model import STARTS, Detector

# --- E-mail (RFC 5321 lengths; RFC 6531 lets letters of any script in)

# Scripts that put spaces between words: of others the sentence before an address would be taken.
_LETTERS = r"a-z0-9\x{C0}-\x{24F}\x{370}-\x{52F}"
# Characters between quotes before an `@`. RFC 5321 allows 62; a stream waits for so many after each
# quote, and names are shorter.
_QUOTED = 40
# Who is not a person but the name of a service that hands out repositories.
_REPOSITORY_USERS = ("git", "hg", "svn")
# `icon@2x.png`: the picture for screens of twice the density.
_DENSITY = re.compile(r"[0-9](?:\.[0-9])?x\.[a-z0-9]+", re.IGNORECASE)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if text[-1].isdigit() or text[-1] == "_":
        return
    address = text.rstrip(":/")
    local, _, domain = address.rpartition("@")
    start, end = 0, len(address)
    quoted = local[0] == '"'
    if local[0] == "\\" and local[1:2] in tuple("nrtbf"):
        start = 2  # a line's end in escaped JSON
    # Quotes, brackets' partners and operators beside it are the text's, not the address's.
    while not quoted and start < len(local) and not (local[start].isalnum() or local[start] == "_"):
        start += 1
    if text[end:] in (":", "/") and local[start:].lower() in _REPOSITORY_USERS:
        return
    labels_fit = all(label[0] != "-" != label[-1] for label in domain.split("."))
    if start < len(local) and labels_fit and not _DENSITY.fullmatch(domain):
        yield start, end


EMAIL = Detector(
    "email",
    rf"(?i)(?:\\?[{_LETTERS}._%+'-]{{1,64}}|\"[{_LETTERS}._%+' -]{{1,{_QUOTED}}}\")"
    rf"@(?:[{_LETTERS}-]{{1,63}}\.){{1,8}}"
    r"(?:xn--[a-z0-9-]{1,59}|[a-z\x{C0}-\x{24F}\x{370}-\x{52F}]{2,24})[0-9_:/]?",
    _emails,
    hint=("@",),
    longest=1 + 64 + 1 + 8 * 64 + 63 + 1,
)

# --- IP

# A version number looks like an IPv4 address; what stands before or behind tells.
_VERSION_BEFORE = r"(?i:version)[\"' :=]{0,4}|[<>~]=|[\^~]"
_V4_WHOLE = re.compile(
    rf"(?:{_VERSION_BEFORE}|\\[nrtbf]|[A-Za-z])?"
    r"([0-9]+(?:\.[0-9]+){3,})(/[0-9]|-?[A-Za-z]|[0-9A-Za-z_])?",
    re.ASCII,
)
_V6 = re.compile(
    rf"(?i){STARTS}(?<!:)(?:[23f][0-9a-f]{{3}}|64):[0-9a-f:.]{{2,42}}+(?![0-9a-z_])"
    rf"|{STARTS}(?<!:)(?:[0-9a-f]{{1,4}}:){{7}}[0-9a-f]{{1,4}}(?![0-9a-z_:])"
    # In `items[::1]` it is a slice, in `std::1` a name.
    r"|(?<![0-9a-z_:)\]])(?<![0-9a-z_)\]]\[)::(?:1|ffff:[0-9.a-f:]{3,15}+)(?![0-9a-z_])"
)
# What IANA gave out: the rest of IPv6 is not in use, and looks like code or a time of day.
# https://www.iana.org/assignments/ipv6-address-space
_V6_NETS = tuple(
    ipaddress.IPv6Network(net)
    for net in ("2000::/3", "fc00::/7", "fe80::/10", "ff00::/8", "64:ff9b::/96", "::ffff:0:0/96")
)
_V6_LOOPBACK = ipaddress.IPv6Address("::1")


def _is_v4(text: str, prefix_length: bool) -> bool:
    """Not 0.0.0.0 and not a netmask, which are nobody's; nor x.0.0.0, which is a version unless
    the length of a network's prefix follows."""
    parts = text.split(".")
    if len(parts) != 4 or any(len(p) > 3 or (p[0] == "0" and p != "0") for p in parts):
        return False
    numbers = [int(p) for p in parts]
    if max(numbers) > 255 or not any(numbers):
        return False
    if numbers[0] == 255:
        return numbers == [255] * 4
    return prefix_length or any(numbers[1:])


def _is_v6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    if text.count(":") == 7 and "::" not in text:
        return any(len(group) != 2 for group in text.split(":"))  # else a fingerprint, an EUI-64
    return address == _V6_LOOPBACK or any(address in net for net in _V6_NETS)


def _ips(text: str) -> Iterator[tuple[int, int]]:
    if ":" not in text and text.count(".") != 3:
        return  # a long version, and cheaper said at once
    whole = _V4_WHOLE.fullmatch(text)
    if whole:
        before, behind = text[: whole.start(1)], whole[2] or ""
        plain = not before or before[0] == "\\"
        prefix_length = behind.startswith("/")
        if plain and (not behind or prefix_length) and _is_v4(whole[1], prefix_length):
            yield whole.span(1)
        return
    for found in _V6.finditer(text):
        # A colon or a full stop that follows is not of the address.
        address = found[0] if found[0].endswith("::") else found[0].rstrip(".:")
        if _is_v6(address):
            yield found.start(), found.start() + len(address)


IP_ADDRESS = Detector(
    "ip_address",
    rf"(?:{_VERSION_BEFORE}|\\[nrtbf]|[A-Za-z])?\d+(?:\.\d+){{3,}}(?:/\d|-?[A-Za-z]|_)?"
    r"|(?i)(?:\\[nrtbf]|[0-9a-z:])?(?:[23f][0-9a-f]{3}|64):[0-9a-f:.]{2,42}[0-9a-z_]?"
    r"|(?i)(?:\\[nrtbf]|[0-9a-z:])?(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}[0-9a-z_:]?"
    r"|(?i)(?:[0-9a-z_:)\]]\[?)?::(?:1|ffff:[0-9.a-f:]{3,15})[0-9a-z_]?",
    _ips,
)
