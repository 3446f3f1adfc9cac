"""RESP: any reply in any pieces, and what is none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.net.resp import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_LINE_BYTES,
    BadReply,
    Parser,
    Push,
    Reply,
    ReplyError,
    encode,
)


def read(pieces: Iterable[bytes], max_bytes: int = 1 << 20) -> list[Reply]:
    parser = Parser(max_bytes)
    found: list[Reply] = []
    for piece in pieces:
        parser.receive(piece)
        found += parser.replies()
    return found


def each_byte(wire: bytes) -> list[bytes]:
    return [wire[i : i + 1] for i in range(len(wire))]


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """`wire` in pieces, cut at some places, which may lie behind it."""
    edges = [0, *sorted(min(place, len(wire)) for place in places), len(wire)]
    return [wire[a:b] for a, b in pairwise(edges)]


# Commands.


@pytest.mark.parametrize(
    ("words", "wire"),
    [
        (("PING",), b"*1\r\n$4\r\nPING\r\n"),
        ((b"GET", "ä", -1), b"*3\r\n$3\r\nGET\r\n$2\r\n\xc3\xa4\r\n$2\r\n-1\r\n"),
        (("SET", "", b"\r\n"), b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"),
    ],
    ids=["one", "kinds", "line ends"],
)
def test_a_command_is_a_list_of_texts(words: tuple[bytes | str | int, ...], wire: bytes) -> None:
    assert encode(*words) == wire


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_a_command_is_read_back_as_it_was(words: list[bytes]) -> None:
    assert read([encode(*words)]) == [words]


# Replies, each as a server writes it.


def nested(depth: int) -> Reply:
    """1 in so many lists."""
    return [nested(depth - 1)] if depth else 1


REPLIES: dict[str, tuple[bytes, Reply]] = {
    "simple": (b"+OK\r\n", b"OK"),
    "empty": (b"+\r\n", b""),
    "error": (b"-ERR no\r\n", ReplyError("ERR no")),
    "integer": (b":1000\r\n", 1000),
    "negative": (b":-1\r\n", -1),
    "with-a-plus": (b":+7\r\n", 7),
    "largest": (b":9223372036854775807\r\n", 2**63 - 1),
    "smallest": (b":-9223372036854775808\r\n", -(2**63)),
    "text": (b"$5\r\nhello\r\n", b"hello"),
    "text-of-line-ends": (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    "empty-text": (b"$0\r\n\r\n", b""),
    "null-text": (b"$-1\r\n", None),
    "null-list": (b"*-1\r\n", None),
    "list": (b"*2\r\n:1\r\n$1\r\na\r\n", [1, b"a"]),
    "empty-list": (b"*0\r\n", []),
    "error-in-a-list": (b"*2\r\n-OOM x\r\n_\r\n", [ReplyError("OOM x"), None]),
    "lists-in-lists": (b"*2\r\n*1\r\n*0\r\n*1\r\n:1\r\n", [[[]], [1]]),
    "null": (b"_\r\n", None),
    "true": (b"#t\r\n", True),
    "false": (b"#f\r\n", False),
    "double": (b",1.5\r\n", 1.5),
    "double-without-a-point": (b",10\r\n", 10.0),
    "exponent": (b",-1.5e-3\r\n", -0.0015),
    "infinity": (b",inf\r\n", math.inf),
    "minus-infinity": (b",-inf\r\n", -math.inf),
    "big-number": (b"(%d\r\n" % 10**40, 10**40),
    "negative-big-number": (b"(-%d\r\n" % 10**40, -(10**40)),
    "long-error": (b"!10\r\nSYNTAX a\r\n\r\n", ReplyError("SYNTAX a\r\n")),
    "verbatim": (b"=8\r\ntxt:some\r\n", b"some"),
    "set": (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
    "map": (b"%2\r\n+a\r\n:1\r\n:2\r\n*1\r\n#t\r\n", {b"a": 1, 2: [True]}),
    "empty-map": (b"%0\r\n", {}),
    "push": (b">2\r\n+invalidate\r\n*0\r\n", Push([b"invalidate", []])),
    "attribute": (b"|1\r\n+ttl\r\n:3\r\n:5\r\n", 5),
    "attribute-in-a-list": (b"*2\r\n:1\r\n|1\r\n+a\r\n*1\r\n:0\r\n:2\r\n", [1, 2]),
    "empty-attribute": (b"|0\r\n:5\r\n", 5),
    "longest-line": (b"+" + b"x" * (MAX_LINE_BYTES - 1) + b"\r\n", b"x" * (MAX_LINE_BYTES - 1)),
    "deepest": (b"*1\r\n" * MAX_DEPTH + b":1\r\n", nested(MAX_DEPTH)),
}


@pytest.mark.parametrize(("wire", "value"), REPLIES.values(), ids=REPLIES.keys())
def test_a_reply_is_read_in_any_feeding(wire: bytes, value: Reply) -> None:
    assert read([wire]) == [value]
    assert read(each_byte(wire + b":0\r\n")) == [value, 0]
    assert read([wire + wire[:1]]) == [value]
    assert read([wire[:-1]]) == []


def test_not_a_number_is_one() -> None:
    [value] = read([b",nan\r\n"])
    assert isinstance(value, float)
    assert math.isnan(value)


SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(2**63, 10**30)
    | st.floats(allow_nan=False)
    | st.binary(max_size=12)
    | st.text(max_size=8).map(ReplyError)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=12,
)
TOP = VALUES | st.lists(VALUES, max_size=3).map(Push)
CUTS = st.lists(st.integers(0, 200), max_size=8)


def written(value: Reply) -> bytes:
    """As a server of RESP3 writes it."""
    match value:
        case None:
            return b"_\r\n"
        case bool():
            return b"#t\r\n" if value else b"#f\r\n"
        case int():
            return b"%b%d\r\n" % (b":" if -(2**63) <= value < 2**63 else b"(", value)
        case float():
            return b",%b\r\n" % repr(value).encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case ReplyError():
            text = value.message.encode()
            return b"!%d\r\n%b\r\n" % (len(text), text)
        case Push():
            return b">%d\r\n" % len(value.items) + b"".join(map(written, value.items))
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(written, value))
        case dict():
            pairs = [written(part) for pair in value.items() for part in pair]
            return b"%%%d\r\n" % len(value) + b"".join(pairs)


@given(values=st.lists(TOP, max_size=4), cuts=CUTS)
def test_any_replies_are_read_in_any_pieces(values: list[Reply], cuts: list[int]) -> None:
    wire = b"".join(map(written, values))
    assert read(cut(wire, cuts)) == values


# What is no reply.

BAD: dict[str, bytes] = {
    "http": b"HTTP/1.1 400 Bad Request\r\n",
    "tls-alert": b"\x15\x03\x03\x00\x02\x02\x46",
    "line-end": b"\r\n",
    "integer-without-digits": b":\r\n",
    "integer-with-a-space": b": 1\r\n",
    "integer-with-an-underscore": b":1_0\r\n",
    "integer-of-other-digits": ":١\r\n".encode(),
    "integer-too-large": b":9223372036854775808\r\n",
    "integer-too-small": b":-9223372036854775809\r\n",
    "half-a-line-end": b"+a\rb\r\n",
    "other-half": b"+a\nb\r\n",
    "boolean": b"#true\r\n",
    "null": b"_x\r\n",
    "double": b",1.5x\r\n",
    "double-of-nothing": b",.\r\n",
    "double-infinity": b",infinity\r\n",
    "big-number": b"(12x\r\n",
    "big-number-too-long": b"(" + b"1" * (MAX_DIGITS + 1) + b"\r\n",
    "length": b"$x\r\n",
    "length-of-nothing": b"*\r\n",
    "length-with-a-plus": b"$+1\r\na\r\n",
    "negative-length": b"$-2\r\n",
    "null-map": b"%-1\r\n",
    "null-push": b">-1\r\n",
    "null-error": b"!-1\r\n",
    "streamed-text": b"$?\r\n",
    "streamed-list": b"*?\r\n",
    "text-too-long-for-its-length": b"$1\r\nabc\r\n",
    "text-without-its-end": b"$1\r\nab\r\n",
    "verbatim-without-format": b"=3\r\nabc\r\n",
    "push-in-a-list": b"*1\r\n>1\r\n:1\r\n",
    "list-as-a-name": b"%1\r\n*0\r\n:1\r\n",
    "too-deep": b"*1\r\n" * (MAX_DEPTH + 1) + b":1\r\n",
    "line-too-long": b"+" + b"x" * MAX_LINE_BYTES + b"\r\n",
    "line-without-an-end": b"+" + b"x" * (MAX_LINE_BYTES + 2),
    "text-too-large": b"$1048577\r\n",
    "list-too-large": b"*1048576\r\n",
    "lists-too-large": b"*3\r\n" + b"*120000\r\n" * 3 + b"_\r\n" * 400_000,
    "attributes-without-end": b"|0\r\n" * 300_000,
}


@pytest.mark.parametrize("wire", BAD.values(), ids=BAD.keys())
def test_what_is_no_reply_is_refused_and_for_good(wire: bytes) -> None:
    parser = Parser(1 << 20)
    parser.receive(b":1\r\n" + wire)
    replies = parser.replies()
    assert next(replies) == 1, "what came before it is good"
    with pytest.raises(BadReply) as caught:
        list(replies)
    assert len(str(caught.value)) < 200
    parser.receive(b":1\r\n")
    with pytest.raises(BadReply):
        next(parser.replies())


def verdict(pieces: list[bytes]) -> tuple[list[str], bool]:
    """The replies, as text since not-a-numbers differ, and whether more was refused."""
    parser, found = Parser(1000), []
    try:
        for piece in pieces:
            parser.receive(piece)
            for reply in parser.replies():
                found.append(repr(reply))
    except BadReply:
        return found, True
    return found, False


PIECES = [b"\r\n", b"\r", b"\n", *(b"%c" % c for c in b"+-:$*_#,(!=~%>|tf01239a")]


@given(
    wire=st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=60),
    cuts=CUTS,
)
def test_any_cutting_of_anything_gives_the_same_verdict(wire: bytes, cuts: list[int]) -> None:
    assert verdict(cut(wire, cuts)) == verdict([wire])


@given(
    values=st.lists(TOP, min_size=1, max_size=3),
    at=st.integers(0, 300),
    byte=st.binary(min_size=1, max_size=2),
    cuts=CUTS,
)
def test_a_damaged_reply_never_breaks_the_parser(
    values: list[Reply], at: int, byte: bytes, cuts: list[int]
) -> None:
    wire = b"".join(map(written, values))
    damaged = wire[: at % len(wire)] + byte + wire[at % len(wire) + 1 :]
    assert verdict(cut(damaged, cuts)) == verdict([damaged])


def test_a_reply_as_long_as_is_allowed_is_read() -> None:
    wire = b"$990\r\n" + b"x" * 990 + b"\r\n"
    assert read([wire], max_bytes=len(wire)) == [b"x" * 990]
    with pytest.raises(BadReply):
        read([wire], max_bytes=len(wire) - 1)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT"),
        ("ERR unknown command", "ERR"),
        ("OOM", "OOM"),
        ("", "ERR"),
        ("something else", "ERR"),
        ("Moved 1", "ERR"),
        (
            "ERR Error running script (call to f_ab): @user_script:1: @user_script: 1: "
            "-READONLY You can't write against a read only replica. ",
            "READONLY",
        ),
        ("ERR Error running script (call to f_ab): @user_script:1: no such thing", "ERR"),
    ],
    ids=lambda text: text[:24],
)
def test_an_errors_kind_is_its_first_word(message: str, kind: str) -> None:
    assert ReplyError(message).kind == kind
