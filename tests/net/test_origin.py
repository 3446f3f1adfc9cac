"""URLs judged once: what passes cannot fail later."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenomics.net.message import request_head
from tokenomics.net.origin import Origin, parse_origin

ORIGINS = {
    "http": ("http://a.example", ("http", "a.example", 80, ""), "a.example"),
    "https": ("https://a.example/", ("https", "a.example", 443, ""), "a.example"),
    "port": ("https://a.example:8443", ("https", "a.example", 8443, ""), "a.example:8443"),
    "own-port": ("http://a.example:443", ("http", "a.example", 443, ""), "a.example:443"),
    "path": ("https://a.example/v1/", ("https", "a.example", 443, "/v1"), "a.example"),
    "deep-path": ("https://a.example/x/v1", ("https", "a.example", 443, "/x/v1"), "a.example"),
    "ipv4": ("http://127.0.0.1:1", ("http", "127.0.0.1", 1, ""), "127.0.0.1:1"),
    "ipv6": ("http://[::1]:8080", ("http", "::1", 8080, ""), "[::1]:8080"),
    "idn": (
        "https://bücher.example",
        ("https", "xn--bcher-kva.example", 443, ""),
        "xn--bcher-kva.example",
    ),
    "query": ("https://a.example/v1?x=%20", ("https", "a.example", 443, "/v1"), "a.example"),
    "case": ("HTTPS://A.Example", ("https", "a.example", 443, ""), "a.example"),
}


@pytest.mark.parametrize(("url", "parts", "authority"), ORIGINS.values(), ids=ORIGINS.keys())
def test_the_origin_of_a_url(url: str, parts: tuple[str, str, int, str], authority: str) -> None:
    origin = parse_origin(url)
    assert (origin.scheme, origin.host, origin.port, origin.path) == parts
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "ftp://a",
        "http://",
        "http://:80",
        "http://a:x",
        "http://a:-1",
        "http://a:99999",
        "http://[::1",
        "http://a..b",
        "http://" + "a" * 64,
        "http://\ud800",
        "http://\u2100.example",
        "http://a/b c",
        "http://a/\u00fc",
        "http://a/?q=\u00fc",
        "http://a/?q= ",
        "http://a/\x00",
        "http://a/\x7f",
        "http://a b",
        "http://a\x00b",
    ],
    ids=ascii,
)
def test_a_url_that_could_fail_later_is_refused_and_named(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(url))) as caught:
        parse_origin(url)
    assert type(caught.value) is ValueError


PIECES = st.sampled_from(
    [*"aü.:/?#@[]% \x00\n\r\t\udcff⒈。", "80", "::1", "[::1]", "xn--", "x" * 60]
)


@given(st.lists(PIECES | st.characters(), max_size=8).map(lambda p: "http://" + "".join(p)))
@example("http://a b")
def test_what_passes_can_be_called_and_written_into_a_head(url: str) -> None:
    try:
        origin = parse_origin(url)
    except ValueError:
        return
    assert isinstance(origin, Origin)
    assert 0 < origin.port < 65536
    assert re.fullmatch("[!-~]+", origin.host)
    head = request_head("GET", origin.path + "/v1", [(b"host", origin.authority.encode("ascii"))])
    assert head.count(b"\r\n") == 3
    assert head.split(b"\r\n")[0].count(b" ") == 2
