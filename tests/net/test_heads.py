"""Heads of requests and answers: what is refused, what is understood, and by whom else."""

from __future__ import annotations

from dataclasses import replace

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.net.peers import head
from tokenomics.net.framing import BadBody, decoder
from tokenomics.net.heads import (
    MAX_HEADERS,
    MAX_MEMO,
    MAX_TARGET,
    AnswerHead,
    BadHead,
    HeadJudge,
    RequestHead,
    judge_request,
    parse_answer,
)

POST = "POST / HTTP/1.1"
GET = "GET / HTTP/1.1"
HOST = "Host: a"

# section and form: (head, status)
REFUSED: dict[str, tuple[bytes, int]] = {
    # How long the body is must not be a matter of opinion: RFC 9112 sections 6.1 to 6.3.
    "RFC9112-6.3-two-lengths": (head(POST, HOST, "Content-Length: 5", "Content-Length: 6"), 400),
    "RFC9112-6.3-same-length-twice": (
        head(POST, HOST, "Content-Length: 5", "content-length: 5"),
        400,
    ),
    "RFC9112-6.3-length-list": (head(POST, HOST, "Content-Length: 5, 5"), 400),
    "RFC9112-6.3-length-list-differs": (head(POST, HOST, "Content-Length: 5, 6"), 400),
    "RFC9110-8.6-length-empty": (head(POST, HOST, "Content-Length:"), 400),
    "RFC9110-8.6-length-negative": (head(POST, HOST, "Content-Length: -1"), 400),
    "RFC9110-8.6-length-plus": (head(POST, HOST, "Content-Length: +1"), 400),
    "RFC9110-8.6-length-hex": (head(POST, HOST, "Content-Length: 0x1"), 400),
    "RFC9110-8.6-length-underscore": (head(POST, HOST, "Content-Length: 1_0"), 400),
    "RFC9110-8.6-length-leading-zero": (head(POST, HOST, "Content-Length: 010"), 400),
    "RFC9110-8.6-length-overflow": (head(POST, HOST, "Content-Length: 1" + "0" * 15), 400),
    "RFC9110-8.6-length-other-digits": (head(POST, HOST, "Content-Length: \xb2"), 400),
    "RFC9112-6.1-length-with-chunked": (
        head(POST, HOST, "Content-Length: 5", "Transfer-Encoding: chunked"),
        400,
    ),
    "RFC9112-6.1-chunked-with-length": (
        head(POST, HOST, "Transfer-Encoding: chunked", "Content-Length: 5"),
        400,
    ),
    "RFC9112-6.1-chunked-in-http10": (
        head("POST / HTTP/1.0", HOST, "Transfer-Encoding: chunked"),
        400,
    ),
    "RFC9112-6.1-chunked-not-last": (head(POST, HOST, "Transfer-Encoding: chunked, gzip"), 400),
    "RFC9112-6.1-chunked-after-gzip": (head(POST, HOST, "Transfer-Encoding: gzip, chunked"), 501),
    "RFC9112-6.1-chunked-after-identity": (
        head(POST, HOST, "Transfer-Encoding: identity, chunked"),
        501,
    ),
    "RFC9112-6.1-identity": (head(POST, HOST, "Transfer-Encoding: identity"), 501),
    "RFC9112-7-chunked-twice": (head(POST, HOST, "Transfer-Encoding: chunked, chunked"), 400),
    "RFC9112-7-chunked-in-two-fields": (
        head(POST, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        400,
    ),
    "RFC9112-7-xchunked": (head(POST, HOST, "Transfer-Encoding: xchunked"), 501),
    "RFC9112-7-chunked-quoted": (head(POST, HOST, 'Transfer-Encoding: "chunked"'), 501),
    "RFC9112-7-chunked-parameter": (head(POST, HOST, "Transfer-Encoding: chunked;a=b"), 501),
    "RFC9112-7-chunked-comma": (head(POST, HOST, "Transfer-Encoding: ,chunked"), 501),
    "RFC9112-7-chunked-vertical-tab": (head(POST, HOST, "Transfer-Encoding: \x0bchunked"), 400),
    # Lines: RFC 9112 sections 2.2 and 5.
    "RFC9112-5.1-space-before-colon": (
        head(POST, HOST, "Transfer-Encoding : chunked"),
        400,
    ),
    "RFC9112-5.1-tab-before-colon": (head(POST, HOST, "Content-Length\t: 5"), 400),
    "RFC9112-5.1-space-before-name": (head(GET, " X: a", HOST), 400),
    "RFC9112-5-no-colon": (head(GET, HOST, "abc"), 400),
    "RFC9112-5-empty-name": (head(GET, HOST, ": abc"), 400),
    "RFC9112-5-bad-name": (head(GET, HOST, "a(b): c"), 400),
    "RFC9112-5-name-not-ascii": (head(GET, HOST, "\xe9: c"), 400),
    "RFC9112-5.2-obs-fold": (head(GET, HOST, "X: a", " b"), 400),
    "RFC9112-5.2-obs-fold-tab": (head(GET, HOST, "X: a", "\tb"), 400),
    "RFC9112-5.2-obs-fold-of-chunked": (head(POST, HOST, "Transfer-Encoding:", " chunked"), 400),
    "RFC9112-2.2-bare-lf": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "RFC9112-2.2-bare-lf-after-line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "RFC9112-2.2-bare-lf-alone": (b"GET / HTTP/1.1\r\nHost: a\n\nX: b\r\n\r\n", 400),
    "RFC9112-2.2-bare-cr": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    "RFC9112-2.2-bare-cr-before-crlf": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "RFC9110-5.5-nul": (head(GET, HOST, "X: a\x00b"), 400),
    "RFC9110-5.5-control": (head(GET, HOST, "X: a\x01b"), 400),
    "RFC9110-5.5-escape": (head(GET, HOST, "X: \x1b[31m"), 400),
    "RFC9110-5.5-delete": (head(GET, HOST, "X: \x7f"), 400),
    # The request line: RFC 9112 section 3.
    "RFC9112-3-two-spaces": (head("GET  / HTTP/1.1", HOST), 400),
    "RFC9112-3-tab": (head("GET\t/\tHTTP/1.1", HOST), 400),
    "RFC9112-3-leading-space": (head(" GET / HTTP/1.1", HOST), 400),
    "RFC9112-3-trailing-space": (head("GET / HTTP/1.1 ", HOST), 400),
    "RFC9112-3-no-version": (head("GET /", HOST), 400),
    "RFC9112-3-no-target": (head("GET HTTP/1.1", HOST), 400),
    "RFC9112-3-space-in-target": (head("GET /a b HTTP/1.1", HOST), 400),
    "RFC9112-3-not-http": (b"\x16\x03\x01\x02\r\n\r\n", 400),
    "RFC9112-2.3-version-lower-case": (head("GET / http/1.1", HOST), 400),
    "RFC9112-2.3-version-one-digit": (head("GET / HTTP/1", HOST), 400),
    "RFC9112-2.3-version-two-digits": (head("GET / HTTP/1.10", HOST), 400),
    "RFC9110-15.6.6-http-2.0": (head("GET / HTTP/2.0", HOST), 505),
    "RFC9113-3.4-http-2-preface": (head("PRI * HTTP/2.0"), 505),
    "RFC9110-15.6.6-http-0.9": (head("GET / HTTP/0.9", HOST), 505),
    "RFC9110-15.6.6-http-1.2": (head("GET / HTTP/1.2", HOST), 505),
    "RFC9110-15.6.2-trace": (head("TRACE / HTTP/1.1", HOST), 501),
    "RFC9110-15.6.2-lower-case-method": (head("get / HTTP/1.1", HOST), 501),
    "RFC9110-15.6.2-unknown-method": (head("BREW / HTTP/1.1", HOST), 501),
    "RFC9110-9.1-bad-method": (head("G(T / HTTP/1.1", HOST), 400),
    "RFC9110-9.3.6-connect": (head("CONNECT a:80 HTTP/1.1", HOST), 501),
    "RFC9112-3.2-relative-target": (head("GET a/b HTTP/1.1", HOST), 400),
    "RFC9112-3.2.3-authority-target": (head("GET a:80 HTTP/1.1", HOST), 400),
    "RFC9112-3.2.4-star-not-options": (head("GET * HTTP/1.1", HOST), 400),
    "RFC9112-3.2-fragment": (head("GET /a#b HTTP/1.1", HOST), 400),
    "RFC9112-3.2-not-ascii": (head("GET /\xe9 HTTP/1.1", HOST), 400),
    "RFC9112-3.2-nul": (head("GET /\x00 HTTP/1.1", HOST), 400),
    "RFC9112-3.2.2-other-scheme": (head("GET ftp://a/ HTTP/1.1", HOST), 400),
    "RFC9110-4.2.1-absolute-without-host": (head("GET http:///a HTTP/1.1", HOST), 400),
    "RFC9110-15.5.15-long-target": (head(f"GET /{'a' * MAX_TARGET} HTTP/1.1", HOST), 414),
    "RFC6585-5-too-many-fields": (head(GET, HOST, *["X: a"] * MAX_HEADERS), 431),
    # Who is meant: RFC 9112 section 3.2.
    "RFC9112-3.2-no-host": (head(GET, "X: a"), 400),
    "RFC9112-3.2-two-hosts": (head(GET, HOST, "Host: b"), 400),
    "RFC9112-3.2-same-host-twice": (head(GET, HOST, HOST), 400),
    "RFC9112-3.2-two-hosts-in-http10": (head("GET / HTTP/1.0", HOST, "Host: b"), 400),
    "RFC9110-7.2-host-with-path": (head(GET, "Host: a/b"), 400),
    "RFC9110-7.2-host-with-user": (head(GET, "Host: u@a"), 400),
    "RFC9110-7.2-host-with-space": (head(GET, "Host: a b"), 400),
    "RFC9110-7.2-host-with-bad-port": (head(GET, "Host: a:http"), 400),
    "RFC9110-7.2-host-bracket-open": (head(GET, "Host: [::1"), 400),
}


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(BadHead) as caught:
        judge_request(raw)
    assert caught.value.status == status, caught.value


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_is_refused_after_its_like_was_remembered(raw: bytes, status: int) -> None:
    judge = HeadJudge()
    judge.judge(head(POST, HOST, "Content-Length: 5"))
    judge.judge(head(GET, HOST, "X: a"))
    for _ in range(2):
        with pytest.raises(BadHead) as caught:
            judge.judge(raw)
        assert caught.value.status == status, caught.value


# (head, length, keep_alive)
FRAMED: dict[str, tuple[bytes, int | None, bool]] = {
    "RFC9112-6.3-no-length": (head(GET, HOST), 0, True),
    "RFC9110-8.6-length": (head(POST, HOST, "Content-Length: 12"), 12, True),
    "RFC9110-8.6-length-0": (head(POST, HOST, "content-length:0"), 0, True),
    "RFC9112-5.1-space-around-value": (head(POST, HOST, "CONTENT-LENGTH: \t7 \t"), 7, True),
    "RFC9112-7.1-chunked": (head(POST, HOST, "Transfer-Encoding: chunked"), None, True),
    "RFC9112-7-chunked-any-case": (head(POST, HOST, "transfer-encoding: CHUNKED"), None, True),
    "RFC9112-9.3-close": (head(GET, HOST, "Connection: close"), 0, False),
    "RFC9112-9.3-close-in-list": (head(GET, HOST, "Connection: x, Close"), 0, False),
    "RFC9112-9.3-close-in-second": (
        head(GET, HOST, "Connection: x", "Connection: close"),
        0,
        False,
    ),
    "RFC9112-9.3-not-close": (head(GET, HOST, "Connection: close-not"), 0, True),
    "RFC9112-9.3-http10": (head("GET / HTTP/1.0"), 0, False),
    "RFC9112-9.3-http10-keep-alive": (head("GET / HTTP/1.0", "Connection: Keep-Alive"), 0, True),
    "RFC9112-9.3-http10-both": (
        head("GET / HTTP/1.0", "Connection: keep-alive, close"),
        0,
        False,
    ),
    "RFC9112-9.3-http10-length": (head("POST / HTTP/1.0", "Content-Length: 3"), 3, False),
}


@pytest.mark.parametrize(("raw", "length", "keep_alive"), FRAMED.values(), ids=FRAMED.keys())
def test_framing_and_persistence_of_a_request(
    raw: bytes, length: int | None, keep_alive: bool
) -> None:
    found = judge_request(raw)
    assert (found.length, found.keep_alive) == (length, keep_alive)
    assert HeadJudge().judge(raw) == (found, length)


TARGETS = {
    "RFC9112-3.2.1-path": ("GET", "/a/b", "/a/b", ""),
    "RFC9112-3.2.1-query": ("GET", "/a?b=c&d", "/a", "b=c&d"),
    "RFC9112-3.2.1-question-marks": ("GET", "/a?b?c", "/a", "b?c"),
    "RFC9112-3.2.1-two-slashes": ("GET", "//a/b", "//a/b", ""),
    "RFC9112-3.2.1-escapes-stay": ("GET", "/a%2Fb%00", "/a%2Fb%00", ""),
    "RFC9112-3.2.2-absolute": ("GET", "http://a/b?c", "/b", "c"),
    "RFC9112-3.2.2-absolute-https": ("GET", "HTTPS://a:1/b", "/b", ""),
    "RFC9112-3.2.2-absolute-no-path": ("GET", "http://a", "/", ""),
    "RFC9112-3.2.2-absolute-query-only": ("GET", "http://a?b=/c", "/", "b=/c"),
    "RFC9112-3.2.4-star": ("OPTIONS", "*", "*", ""),
    "RFC9112-3-longest": ("GET", "/" + "a" * (MAX_TARGET - 1), "/" + "a" * (MAX_TARGET - 1), ""),
}


@pytest.mark.parametrize(
    ("method", "target", "path", "query"), TARGETS.values(), ids=TARGETS.keys()
)
def test_path_and_query_of_a_target(method: str, target: str, path: str, query: str) -> None:
    found = judge_request(head(f"{method} {target} HTTP/1.1", HOST))
    assert (found.method, found.path, found.query) == (method, path, query)


@pytest.mark.parametrize(
    "host", ["a", "a.example:8080", "127.0.0.1", "[::1]:80", "[::1]", "", "a_b", "a:"]
)
def test_a_host_is_accepted(host: str) -> None:
    assert judge_request(head(GET, f"Host: {host}")).get(b"host") == host


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_method_is_accepted(method: str) -> None:
    assert judge_request(head(f"{method} / HTTP/1.1", HOST)).method == method


def test_header_fields_keep_order_and_repeats_and_the_first_of_a_name_is_found() -> None:
    found = judge_request(head(GET, HOST, "X-A: 1 ", "x-b:\xe9", "X-a: 2", "Empty:"))
    assert found.headers == (
        (b"host", b"a"),
        (b"x-a", b"1"),
        (b"x-b", b"\xe9"),
        (b"x-a", b"2"),
        (b"empty", b""),
    )
    assert [found.get(n) for n in (b"x-a", b"x-b", b"empty", b"x-c")] == ["1", "\xe9", "", None]
    assert found.http11


def test_as_many_fields_as_are_allowed() -> None:
    found = judge_request(head(GET, HOST, *["X: a"] * (MAX_HEADERS - 1)))
    assert len(found.headers) == MAX_HEADERS


def test_a_remembered_head_differs_by_its_length_only() -> None:
    judge = HeadJudge()
    first, _ = judge.judge(head(POST, HOST, "Content-Length: 5", "X: a"))
    again, length = judge.judge(head(POST, HOST, "Content-Length: 67", "X: a"))
    assert (again is first, length) == (True, 67)
    other, length = judge.judge(head(POST, HOST, "Content-Length: 5", "X: b"))
    assert (other.get(b"x"), length) == ("b", 5)


def test_the_memory_of_heads_is_bounded() -> None:
    judge = HeadJudge()
    for i in range(MAX_MEMO + 10):
        assert judge.judge(head(GET, HOST, f"X: {i}"))[0].get(b"x") == str(i)
    assert len(judge._memo) <= MAX_MEMO


@pytest.mark.parametrize("hole", ["", "#", "\x00", "##", "5#", "#5"])
def test_no_written_length_passes_for_a_remembered_one(hole: str) -> None:
    judge = HeadJudge()
    judge.judge(head(POST, HOST, "Content-Length: 5"))
    with pytest.raises(BadHead):
        judge.judge(head(POST, HOST, f"Content-Length: {hole}"))


# A memo's and a fresh verdict on the same heads.

FIELDS = [
    HOST,
    "Host: b",
    "Content-Length: 5",
    "Content-Length: 17",
    "content-length: 5",
    "Content-Length: 0",
    "Content-Length: ",
    "Content-Length: #",
    "CONTENT-LENGTH: 5",
    "Content-Length:  5",
    "Content-Length: 5 ",
    "Content-Length: 5, 5",
    "Content-Length: 05",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "X: Content-Length: 5",
    " folded",
]
LINES = [GET, POST, "POST / HTTP/1.0", "HEAD / HTTP/1.1", "GET / HTTP/2.0"]
INSERTS = [b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b"#", b"5", b","]


@st.composite
def mutated_heads(draw: st.DrawFn) -> bytes:
    """A head of likely lines, sometimes with a byte put in, up to its first empty line."""
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    raw = head(draw(st.sampled_from(LINES)), HOST, *fields)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(raw) - 4))
        raw = raw[:place] + draw(st.sampled_from(INSERTS)) + raw[place:]
    return raw[: raw.index(b"\r\n\r\n") + 4]


Verdict = tuple[RequestHead, int | None] | tuple[int, str]


def without_length(found: RequestHead) -> RequestHead:
    """A head but for its length, which in a remembered one is that of the first of its kind."""
    headers = tuple((n, v) for n, v in found.headers if n != b"content-length")
    fields = {n: v for n, v in found.fields.items() if n != b"content-length"}
    return replace(found, headers=headers, fields=fields, length=None)


def judged(judge: HeadJudge, raw: bytes) -> Verdict:
    try:
        found, length = judge.judge(raw)
    except BadHead as e:
        return e.status, str(e)
    return without_length(found), length


def judged_afresh(raw: bytes) -> Verdict:
    try:
        found = judge_request(raw)
    except BadHead as e:
        return e.status, str(e)
    return without_length(found), found.length


@given(heads=st.lists(mutated_heads(), min_size=2, max_size=8))
@example(heads=[head(POST, HOST, "Content-Length: 5"), head(POST, HOST, "Content-Length: #")])
@example(
    heads=[
        head(POST, HOST, "Content-Length: 5", "Content-Length: 5"),
        head(POST, HOST, "Content-Length: 7", "Content-Length: 5"),
    ]
)
def test_what_is_remembered_changes_no_verdict(heads: list[bytes]) -> None:
    judge = HeadJudge()
    for raw in heads:
        assert judged(judge, raw) == judged_afresh(raw), raw


@given(raw=mutated_heads())
def test_what_we_accept_h11_accepts_too(raw: bytes) -> None:
    try:
        ours = judge_request(raw)
    except BadHead:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Request)
    assert ours.headers == tuple(theirs.headers)
    assert not connection.trailing_data[0]


# Answers.

OK = "HTTP/1.1 200 OK"
REFUSED_ANSWERS = {
    "RFC9112-4-not-http": head("ICY 200 OK"),
    "RFC9112-4-http-2": head("HTTP/2 200 OK"),
    "RFC9112-4-http-1.2": head("HTTP/1.2 200 OK"),
    "RFC9112-4-two-digits": head("HTTP/1.1 20 OK"),
    "RFC9112-4-four-digits": head("HTTP/1.1 2000 OK"),
    "RFC9110-15-status-0": head("HTTP/1.1 000 OK"),
    "RFC9110-15-status-600": head("HTTP/1.1 600 OK"),
    "RFC9112-4-leading-space": head(" HTTP/1.1 200 OK"),
    "RFC9112-2.2-bare-lf": b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
    "RFC9112-2.2-bare-lf-after-line": b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    "RFC9112-2.2-bare-cr": b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    "RFC9112-5.2-obs-fold": head(OK, "A: b", " c"),
    "RFC9112-5.1-space-before-colon": head(OK, "Content-Length : 5"),
    "RFC9112-5-no-colon": head(OK, "abc"),
    "RFC9112-5-empty-name": head(OK, ": abc"),
    "RFC9110-5.5-nul": head(OK, "A: b\x00"),
    "RFC9112-6.3-two-lengths": head(OK, "Content-Length: 5", "Content-Length: 6"),
    "RFC9112-6.3-length-list": head(OK, "Content-Length: 5, 6"),
    "RFC9110-8.6-length-negative": head(OK, "Content-Length: -5"),
    "RFC9110-8.6-length-empty": head(OK, "Content-Length:"),
    "RFC9110-8.6-length-other-digits": head(OK, "Content-Length: \xb2"),
    "RFC9112-6.1-length-with-chunked": head(OK, "Content-Length: 5", "Transfer-Encoding: chunked"),
    "RFC9112-6.1-gzip-chunked": head(OK, "Transfer-Encoding: gzip, chunked"),
    "RFC9112-6.1-chunked-not-last": head(OK, "Transfer-Encoding: chunked, gzip"),
    "RFC9112-7-chunked-twice": head(OK, *["Transfer-Encoding: chunked"] * 2),
    "too-many-fields": head(OK, *["A: b"] * (MAX_HEADERS + 1)),
}


@pytest.mark.parametrize("raw", REFUSED_ANSWERS.values(), ids=REFUSED_ANSWERS.keys())
def test_an_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(BadHead):
        parse_answer(raw, "POST")


# (head, method, (keep_alive, chunked, length))
FRAMED_ANSWERS: dict[str, tuple[bytes, str, tuple[bool, bool, int | None]]] = {
    "RFC9112-6.3-length": (head(OK, "Content-Length: 5"), "GET", (True, False, 5)),
    "RFC9112-6.3-same-length-twice": (
        head(OK, "Content-Length: 5", "content-length: 5"),
        "GET",
        (True, False, 5),
    ),
    "RFC9112-6.3-chunked": (head(OK, "Transfer-Encoding: Chunked"), "GET", (True, True, None)),
    "RFC9112-6.3-until-close": (head(OK), "GET", (False, False, None)),
    "RFC9112-6.3-head": (head(OK, "Content-Length: 5"), "HEAD", (True, False, 0)),
    "RFC9112-6.3-head-chunked": (
        head(OK, "Transfer-Encoding: chunked"),
        "HEAD",
        (True, False, 0),
    ),
    "RFC9112-6.3-204": (head("HTTP/1.1 204 No Content"), "GET", (True, False, 0)),
    "RFC9112-6.3-304": (head("HTTP/1.1 304 X", "Content-Length: 5"), "GET", (True, False, 0)),
    "RFC9112-6.3-100": (head("HTTP/1.1 100 Continue"), "POST", (True, False, 0)),
    "RFC9112-9.3-close": (
        head(OK, "Content-Length: 5", "Connection: Close"),
        "GET",
        (False, False, 5),
    ),
    "RFC9112-9.3-close-in-second": (
        head(OK, "Content-Length: 5", "Connection: x", "Connection: close"),
        "GET",
        (False, False, 5),
    ),
    "RFC9112-9.3-http10": (head("HTTP/1.0 200 OK", "Content-Length: 5"), "GET", (False, False, 5)),
    "RFC9112-9.3-http10-keep-alive": (
        head("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: keep-alive"),
        "GET",
        (True, False, 5),
    ),
}


@pytest.mark.parametrize(
    ("raw", "method", "framing"), FRAMED_ANSWERS.values(), ids=FRAMED_ANSWERS.keys()
)
def test_framing_and_persistence_of_an_answer(
    raw: bytes, method: str, framing: tuple[bool, bool, int | None]
) -> None:
    found = parse_answer(raw, method)
    assert (found.keep_alive, found.chunked, found.length) == framing


@pytest.mark.parametrize("line", ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", f"{OK} \xe9"])
def test_a_status_line_is_accepted(line: str) -> None:
    assert parse_answer(head(line), "GET").status == 200


def test_fields_of_an_answer() -> None:
    found = parse_answer(head(OK, "X-A: 1", "Set-Cookie: a", "x-a:\t2 ", "Set-Cookie: b"), "GET")
    assert tuple(found.headers) == (
        (b"x-a", b"1"),
        (b"set-cookie", b"a"),
        (b"x-a", b"2"),
        (b"set-cookie", b"b"),
    )
    assert found.fields == {b"x-a": b"1", b"set-cookie": b"a"}


NAMES = st.sampled_from(["X-A", "server", "Set-Cookie", "x~!#$%&'*+-.^_`|"])
VALUES = st.text(st.sampled_from("ab ,;=\"'\t\xe9\x80{}"), max_size=12)
FRAMINGS = st.sampled_from(
    [(), ("Content-Length: 7",), ("content-length:\t0",), ("Transfer-Encoding: chunked",)]
)
CONNECTIONS = st.sampled_from(
    [(), ("Connection: close",), ("Connection: keep-alive",), ("Connection: Close, x",)]
)
BODIES = st.sampled_from(
    [
        b"",
        b"body",
        b"body of",
        b"body of more",
        b"4\r\nbody\r\n0\r\n\r\n",
        b"4\r\nbo",
        b"0\r\n\r\nx",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A well-formed answer's head."""
    # Chunked in HTTP/1.0 is faulty, so not well-formed (RFC 9112 section 6.1).
    framing = draw(FRAMINGS)
    minor = 1 if framing and framing[0].startswith("T") else draw(st.sampled_from([0, 1]))
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500, 599]))
    reason = draw(st.sampled_from(["", " ", " OK", " Not  \xe9\tFine"]))
    fields = [f"{n}:{v}" for n, v in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))]
    fields += framing
    if minor:  # h11 keeps no HTTP/1.0 connection; ours are in the table above
        fields += draw(CONNECTIONS)
    return head(f"HTTP/1.{minor} {status}{reason}", *draw(st.permutations(fields)))


Reading = tuple[int, tuple[tuple[bytes, bytes], ...], bytes, bool, bytes]


def read_by_us(raw: bytes, body: bytes, method: str) -> Reading | str:
    found: AnswerHead = parse_answer(raw, method)
    reader = decoder(chunked=found.chunked, length=found.length)
    data, rest = b"", body
    try:
        if not reader.done:
            data, rest = reader.feed(body)
            reader.eof()
    except BadBody:
        return "broken"
    return found.status, tuple(found.headers), data, found.keep_alive, rest


def read_by_h11(raw: bytes, body: bytes, method: str) -> Reading | str:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw + body)
    head_found = connection.next_event()
    assert isinstance(head_found, h11.Response)
    data, closed = b"", False
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(b"")
                closed = True
            else:
                assert isinstance(event, h11.Data)
                data += event.data
    except h11.RemoteProtocolError:
        return "broken"
    keep_alive = connection.their_state is h11.DONE and not closed
    rest = connection.trailing_data[0]
    return head_found.status_code, tuple(head_found.headers), data, keep_alive, rest


@given(raw=answers(), body=BODIES, method=st.sampled_from(["GET", "HEAD", "POST"]))
def test_an_answer_is_read_as_h11_reads_it(raw: bytes, body: bytes, method: str) -> None:
    assert read_by_us(raw, body, method) == read_by_h11(raw, body, method)
