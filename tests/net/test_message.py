"""Header hygiene, and heads as bytes."""

from __future__ import annotations

from collections.abc import Callable

import h11
import pytest

from tokenomics.net.heads import RawHeaders, parse_answer
from tokenomics.net.message import (
    answer_head,
    block,
    downstream_block,
    encode,
    request_head,
    upstream_headers,
)


def downstream(headers: RawHeaders) -> bytes:
    """What a client sees of an answer with these headers, but for its length."""
    return downstream_block(parse_answer(answer_head(200, headers), "GET"))


# What a client sends and no provider may see: credentials, hop-by-hop fields, whereabouts.
STAYS_HERE = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "host",
    "content-length",
    "content-encoding",
    "content-type",  # the gateway sets its own
    "accept-encoding",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-request-id",
]
PASSES_UP = [
    "accept",
    "user-agent",
    "anthropic-version",
    "anthropic-beta",
    "openai-organization",
    "x-custom",
]
STAYS_THERE = [
    "x-tokenomics-model",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
    "set-cookie",
    "alt-svc",
    "strict-transport-security",
    "x-request-id",
    "openai-organization",
    "openai-project",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "anthropic-ratelimit-requests-reset",
]
PASSES_DOWN = ["content-type", "retry-after", "x-rate", "openai-version", "openai-processing-ms"]


@pytest.mark.parametrize("name", STAYS_HERE)
def test_a_provider_does_not_see(name: str) -> None:
    assert upstream_headers(((name.encode(), b"secret"),)) == []


@pytest.mark.parametrize("name", PASSES_UP)
def test_a_provider_sees(name: str) -> None:
    assert upstream_headers(((name.encode(), b"v"),)) == [(name.encode(), b"v")]


@pytest.mark.parametrize("name", STAYS_THERE)
def test_a_client_does_not_see(name: str) -> None:
    value = {"content-length": b"1", "transfer-encoding": b"chunked"}.get(name, b"v")
    assert downstream(((name.encode(), value),)) == b""
    assert downstream(((name.upper().encode(), value),)) == b""


@pytest.mark.parametrize("name", PASSES_DOWN)
def test_a_client_sees(name: str) -> None:
    assert downstream(((name.encode(), b"v"),)) == b"%b: v\r\n" % name.encode()


@pytest.mark.parametrize("strip", [lambda h: block(upstream_headers(h)), downstream])
def test_fields_that_connection_names_stay(strip: Callable[[RawHeaders], bytes]) -> None:
    headers = (
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"x-other", b"2"),
        (b"connection", b"x-last"),
        (b"x-last", b"3"),
    )
    assert strip(headers) == b"x-other: 2\r\n"


def test_repeated_fields_and_their_order_pass() -> None:
    headers = ((b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"))
    assert upstream_headers(headers) == list(headers)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\x00b", "\x7f", "\u20ac"])
def test_a_value_that_would_break_the_head_is_refused_by_name_only(value: str) -> None:
    with pytest.raises(ValueError, match="x-team") as caught:
        encode("x-team", value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", ["", "plain", "tab\there", "caf\xe9"])
def test_a_plain_value_is_encoded(value: str) -> None:
    assert encode("x-team", value) == (b"x-team", value.encode("latin-1"))


def test_a_request_head_is_what_h11_reads() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request_head("POST", "/v1/x?y=z", [(b"host", b"a"), (b"x-b", b"c d")]))
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (b"POST", b"/v1/x?y=z")
    assert list(event.headers) == [(b"host", b"a"), (b"x-b", b"c d")]


@pytest.mark.parametrize(
    ("status", "reason"), [(200, b"OK"), (429, b"Too Many Requests"), (529, b"Status")]
)
def test_an_answer_head_is_what_h11_reads(status: int, reason: bytes) -> None:
    connection = h11.Connection(h11.CLIENT)
    connection.receive_data(answer_head(status, [(b"content-length", b"0"), (b"x-b", b"c d")]))
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    assert (event.status_code, event.reason) == (status, reason)
    assert list(event.headers) == [(b"content-length", b"0"), (b"x-b", b"c d")]
