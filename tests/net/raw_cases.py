"""What a client may send down a connection, and what must come back: a table of bytes.

Every row's id begins with the rule it stands for. A row says what is right by RFC 9112, RFC 9110
and the contract's sections 5 and 9, whatever the server does today. Where two rules disagree, or
one leaves a choice, a row allows each of the statuses that they name.

The rows are for a server with LIMITS whose application reads the body and echoes
`METHOD path[?query] body`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.net.peers import get, head, post
from tokenomics.net.connection import Limits

# Small, so that what is over them can be sent byte by byte.
LIMITS = Limits(max_head=16 << 10, max_body=100)
LONGEST_TARGET = 8192  # bytes
MOST_FIELDS = 128
LONGEST_SIZE_LINE = 256  # bytes of a chunk's size and extensions, with CRLF
LONGEST_TRAILERS = 8192  # bytes

GET = "GET / HTTP/1.1"
POST = "POST / HTTP/1.1"
HOST = "Host: t"
CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = get("/smuggled")  # as (a part of) what must not be taken for a request
CHUNK = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)

# RFC 9112 section 6.1 asks for 501 for a coding that is not known, section 6.3 for 400 if chunked
# is not the last: both fit a lone unknown coding.
UNKNOWN = (400, 501)

Status = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes sent, the answers' statuses, what the application saw, and how it ends."""

    id: str
    sent: bytes
    statuses: tuple[Status, ...]
    saw: tuple[bytes, ...] | None  # None: for each of the statuses allowed something else
    closed: bool = False  # else a further request must be answered
    methods: tuple[str, ...] = ()  # of the answered requests, where one is HEAD
    interims: int | None = 0  # 100s before the last answer; None: the server may choose
    rest: bytes = b""  # sent only when 100 Continue has come
    eof: bool = False  # the client half-closes after that


def ok(id: str, sent: bytes, *saw: bytes, closed: bool = False) -> Row:
    """Each request is answered with 200."""
    return Row(id, sent, (200,) * len(saw), saw, closed)


def refused(id: str, sent: bytes, status: Status = 400, *saw: bytes) -> Row:
    """After requests that the application saw one is refused, and the connection closed."""
    return Row(id, sent, (200,) * len(saw) + (status,), saw, closed=True)


def chunked(*fields: str, body: bytes = CHUNK) -> bytes:
    """A POST with a chunked body."""
    return head(POST, HOST, CHUNKED, *fields) + body


# Request lines: RFC 9112 section 3.

LINES = {
    "RFC9110-9.3.1-get": ("GET /a HTTP/1.1", b"GET /a "),
    "RFC9110-9.3.3-post-without-length": ("POST /a HTTP/1.1", b"POST /a "),
    "RFC9110-9.3.4-put": ("PUT /a HTTP/1.1", b"PUT /a "),
    "RFC5789-2-patch": ("PATCH /a HTTP/1.1", b"PATCH /a "),
    "RFC9110-9.3.5-delete": ("DELETE /a HTTP/1.1", b"DELETE /a "),
    "RFC9110-9.3.7-options": ("OPTIONS /a HTTP/1.1", b"OPTIONS /a "),
    "RFC9112-3.2.4-options-star": ("OPTIONS * HTTP/1.1", b"OPTIONS * "),
    "RFC9112-3.2.1-query": ("GET /a?b=c&d=%2F HTTP/1.1", b"GET /a?b=c&d=%2F "),
    "RFC9112-3.2.1-two-slashes": ("GET //a//b HTTP/1.1", b"GET //a//b "),
    "RFC9112-3.2.1-dots-stay": ("GET /a/../b HTTP/1.1", b"GET /a/../b "),
    "RFC9112-3.2.1-escapes-stay": ("GET /%00%2e%0d%0a HTTP/1.1", b"GET /%00%2e%0d%0a "),
    "RFC9112-3.2.2-absolute": ("GET http://t/a?b HTTP/1.1", b"GET /a?b "),
    "RFC9112-3.2.2-absolute-other-host": ("GET http://other/a HTTP/1.1", b"GET /a "),
    "RFC9112-3.2.2-absolute-https": ("GET https://t/a HTTP/1.1", b"GET /a "),
    "RFC9112-3.2.2-absolute-with-port": ("GET http://t:8080/a HTTP/1.1", b"GET /a "),
    "RFC9112-3.2.2-absolute-ipv6": ("GET http://[::1]:80/a HTTP/1.1", b"GET /a "),
    "RFC9112-3.2.2-absolute-no-path": ("GET http://t HTTP/1.1", b"GET / "),
    "RFC9112-3.2.2-absolute-query-only": ("GET http://t?a=/b HTTP/1.1", b"GET /?a=/b "),
    "RFC9110-4.2.3-scheme-of-any-case": ("GET HTTP://t/a HTTP/1.1", b"GET /a "),
    "RFC9112-3-longest-target": (
        f"GET /{'a' * (LONGEST_TARGET - 1)} HTTP/1.1",
        b"GET /" + b"a" * (LONGEST_TARGET - 1) + b" ",
    ),
}

REFUSED_LINES: dict[str, tuple[str, Status]] = {
    "RFC9112-3-leading-space": (" GET / HTTP/1.1", 400),
    "RFC9112-3-two-spaces-before-target": ("GET  / HTTP/1.1", 400),
    "RFC9112-3-two-spaces-before-version": ("GET /  HTTP/1.1", 400),
    "RFC9112-3-tabs": ("GET\t/\tHTTP/1.1", 400),
    "RFC9112-3-vertical-tab": ("GET\x0b/ HTTP/1.1", 400),
    "RFC9112-3-form-feed": ("GET /\x0cHTTP/1.1", 400),
    "RFC9112-3-trailing-space": ("GET / HTTP/1.1 ", 400),
    "RFC9112-3-trailing-word": ("GET / HTTP/1.1 x", 400),
    "RFC9112-3-space-in-target": ("GET /a b HTTP/1.1", 400),
    "RFC9112-3-no-method": (" / HTTP/1.1", 400),
    "RFC9112-3-no-target": ("GET HTTP/1.1", 400),
    "RFC9112-3-no-version": ("GET /", 400),
    "RFC9112-3-one-word": ("GET", 400),
    "RFC9112-3-not-http": ("\x16\x03\x01\x02\x00\x01", 400),
    "RFC9112-2.2-cr-in-line": ("GET /\rHTTP/1.1", 400),
    "RFC9112-2.2-cr-after-line": ("GET / HTTP/1.1\r", 400),
    "RFC9112-2.2-lf-in-target": ("GET /a\nb HTTP/1.1", 400),
    "RFC9112-2.3-version-lower-case": ("GET / http/1.1", 400),
    "RFC9112-2.3-version-of-one-digit": ("GET / HTTP/1", 400),
    "RFC9112-2.3-version-without-minor": ("GET / HTTP/1.", 400),
    "RFC9112-2.3-version-of-two-digits": ("GET / HTTP/1.10", 400),
    "RFC9112-2.3-version-padded": ("GET / HTTP/01.1", 400),
    "RFC9112-2.3-version-with-sign": ("GET / HTTP/+1.1", 400),
    "RFC9112-2.3-version-with-comma": ("GET / HTTP/1,1", 400),
    "RFC9112-2.3-version-of-another": ("GET / HTTPS/1.1", 400),
    "RFC9112-2.3-version-with-nul": ("GET / HTTP/1.1\x00", 400),
    "RFC9110-15.6.6-http-0.9": ("GET / HTTP/0.9", 505),
    "RFC9110-15.6.6-http-1.2": ("GET / HTTP/1.2", 505),
    "RFC9110-15.6.6-http-2.0": ("GET / HTTP/2.0", 505),
    "RFC9110-15.6.6-http-3.0": ("GET / HTTP/3.0", 505),
    "RFC9110-15.6.2-unknown-method": ("BREW / HTTP/1.1", 501),
    "RFC9110-15.6.2-longer-method": ("GETS / HTTP/1.1", 501),
    "RFC9110-15.6.2-trace": ("TRACE / HTTP/1.1", 501),
    "RFC9110-9.1-method-lower-case": ("get / HTTP/1.1", 501),
    "RFC9110-9.1-method-mixed-case": ("Post / HTTP/1.1", 501),
    "RFC9110-9.1-method-not-a-token": ("G(T / HTTP/1.1", 400),
    "RFC9110-9.1-method-quoted": ('"GET" / HTTP/1.1', 400),
    "RFC9110-9.1-method-with-colon": ("GET: / HTTP/1.1", 400),
    "RFC9110-9.1-method-with-nul": ("GET\x00 / HTTP/1.1", 400),
    "RFC9110-9.1-method-with-control": ("\x01GET / HTTP/1.1", 400),
    "RFC9110-9.1-method-not-ascii": ("G\xcbT / HTTP/1.1", 400),
    "RFC9110-9.3.6-connect": ("CONNECT t:80 HTTP/1.1", 501),
    "RFC9112-3.2-relative-target": ("GET a/b HTTP/1.1", 400),
    "RFC9112-3.2-fragment": ("GET /a#b HTTP/1.1", 400),
    "RFC9112-3.2-fragment-of-absolute": ("GET http://t/#b HTTP/1.1", 400),
    "RFC9112-3.2-target-with-nul": ("GET /\x00 HTTP/1.1", 400),
    "RFC9112-3.2-target-with-control": ("GET /\x01 HTTP/1.1", 400),
    "RFC9112-3.2-target-with-delete": ("GET /\x7f HTTP/1.1", 400),
    "RFC9112-3.2-target-not-ascii": ("GET /\xe9 HTTP/1.1", 400),
    "RFC9112-3.2-target-with-no-break-space": ("GET /\xa0 HTTP/1.1", 400),
    "RFC9112-3.2.2-other-scheme": ("GET ftp://t/ HTTP/1.1", 400),
    "RFC9110-4.2.1-absolute-without-host": ("GET http:///a HTTP/1.1", 400),
    "RFC9110-4.2.1-absolute-with-bad-port": ("GET http://t:http/ HTTP/1.1", 400),
    "RFC9110-4.2.1-absolute-with-open-bracket": ("GET http://[::1/ HTTP/1.1", 400),
    "RFC9110-4.2.4-absolute-with-user": ("GET http://u:p@t/ HTTP/1.1", 400),
    "RFC9112-3.2.3-authority": ("GET t:80 HTTP/1.1", 400),
    "RFC9112-3.2.4-star-of-get": ("GET * HTTP/1.1", 400),
    "RFC9110-15.5.15-long-target": (f"GET /{'a' * LONGEST_TARGET} HTTP/1.1", 414),
}

ROWS = [ok(id, head(line, HOST), saw) for id, (line, saw) in LINES.items()]
ROWS += [
    refused(id, head(line, HOST) + SMUGGLED, status) for id, (line, status) in REFUSED_LINES.items()
]
ROWS += [
    Row(
        "RFC9110-9.3.2-head",
        head("HEAD /a HTTP/1.1", HOST),
        (200,),
        (b"HEAD /a ",),
        False,
        ("HEAD",),
    ),
    ok("RFC9112-2.2-empty-line-first", b"\r\n" + get("/a"), b"GET /a "),
    ok("RFC9112-2.2-empty-lines-first", b"\r\n\r\n\r\n" + get("/a"), b"GET /a "),
    ok("RFC9112-2.2-empty-line-between", get("/a") + b"\r\n" + get("/b"), b"GET /a ", b"GET /b "),
    ok(
        "RFC9112-2.2-crlf-after-body",
        post("/a", b"x") + b"\r\n" + get("/b"),
        b"POST /a x",
        b"GET /b ",
    ),
    refused("RFC9112-2.2-bare-cr-first", b"\r" + get("/a")),
    refused("RFC9112-2.2-bare-cr-after-empty-line", b"\r\n\r" + get("/a")),
    refused("RFC9112-2.2-space-line-first", b" \r\n" + get("/a")),
    refused("RFC9113-3.4-preface", head("PRI * HTTP/2.0") + b"SM\r\n\r\n", 505),
]

# Who is meant: RFC 9112 section 3.2, RFC 9110 section 7.2.

HOSTS = [
    "Host: t.example",
    "Host: t.example:8080",
    "Host: 127.0.0.1:80",
    "Host: [::1]",
    "Host: [2001:db8::1]:443",
    "Host: t:",
    "Host:",
    "host:t",
    "HOST: \tt\t ",
    "Host: a_b-c.example",
]
REFUSED_HOSTS = {
    "RFC9112-3.2-no-host": [],
    "RFC9112-3.2-two-hosts": ["Host: a", "Host: b"],
    "RFC9112-3.2-two-hosts-apart": ["Host: a", "X: y", "hOST: b"],
    "RFC9112-3.2-same-host-twice": ["Host: a", "Host: a"],
    "RFC9112-3.2-host-and-empty-host": ["Host: a", "Host:"],
    "RFC9112-3.2-host-list": ["Host: a, b"],
    "RFC9110-7.2-host-with-path": ["Host: a/b"],
    "RFC9110-7.2-host-with-user": ["Host: u@a"],
    "RFC9110-7.2-host-with-scheme": ["Host: http://a"],
    "RFC9110-7.2-host-with-query": ["Host: a?b"],
    "RFC9110-7.2-host-with-space": ["Host: a b"],
    "RFC9110-7.2-host-with-tab": ["Host: a\tb"],
    "RFC9110-7.2-host-with-nul": ["Host: a\x00"],
    "RFC9110-7.2-host-not-ascii": ["Host: \xe9"],
    "RFC9110-7.2-host-with-bad-port": ["Host: a:http"],
    "RFC9110-7.2-host-with-two-ports": ["Host: a:80:80"],
    "RFC9110-7.2-host-with-signed-port": ["Host: a:+80"],
    "RFC9110-7.2-ipv6-without-brackets": ["Host: ::1"],
    "RFC9110-7.2-ipv6-bracket-open": ["Host: [::1"],
    "RFC9110-7.2-ipv6-and-more": ["Host: [::1]a"],
    "RFC9110-7.2-brackets-empty": ["Host: []"],
}

ROWS += [
    ok(f"RFC9110-7.2-host-{i}", head("GET /a HTTP/1.1", h), b"GET /a ") for i, h in enumerate(HOSTS)
]
ROWS += [refused(id, head(GET, *hosts) + SMUGGLED) for id, hosts in REFUSED_HOSTS.items()]
ROWS += [
    refused("RFC9112-3.2.2-absolute-but-no-host", head("GET http://t/ HTTP/1.1")),
    refused("RFC9112-3.2-two-hosts-in-http10", head("GET / HTTP/1.0", HOST, "Host: b")),
    ok("RFC9112-3.2-no-host-in-http10", head("GET /a HTTP/1.0"), b"GET /a ", closed=True),
]

# Header lines: RFC 9112 section 5, RFC 9110 section 5.

FIELDS = {
    "RFC9112-5.1-no-space-before-value": "X:y",
    "RFC9112-5.1-spaces-around-value": "X: \t y \t ",
    "RFC9110-5.5-empty-value": "X:",
    "RFC9110-5.5-spaces-only": "X: \t ",
    "RFC9110-5.5-tab-in-value": "X: a\tb",
    "RFC9110-5.5-obs-text": "X: \xe9\xff\x80",
    "RFC9110-5.5-colons-in-value": "X: a: b:c",
    "RFC9110-5.6.2-every-token-byte-in-name": "!#$%&'*+-.^_`|~09azAZ: y",
    "RFC9112-6.1-another-fields-value": "X: Transfer-Encoding: chunked",
    "RFC9110-8.6-another-name": "X-Content-Length: 5",
    "RFC9110-10.1.4-te": "TE: chunked, trailers",
    "RFC9110-6.6.2-trailer": "Trailer: X",
}
REFUSED_FIELDS = {
    "RFC9112-5-no-colon": "abc",
    "RFC9112-5-empty-name": ": abc",
    "RFC9112-5.1-space-before-colon": "X : y",
    "RFC9112-5.1-tab-before-colon": "X\t: y",
    "RFC9112-5.1-space-before-name": " X: y",
    "RFC9112-5.1-space-in-name": "X Y: z",
    "RFC9110-5.1-name-with-parentheses": "a(b): c",
    "RFC9110-5.1-name-with-slash": "a/b: c",
    "RFC9110-5.1-name-quoted": '"a": c',
    "RFC9110-5.1-name-with-nul": "X\x00: y",
    "RFC9110-5.1-name-with-control": "X\x01: y",
    "RFC9110-5.1-name-with-delete": "X\x7f: y",
    "RFC9110-5.1-name-not-ascii": "\xe9: y",
    "RFC9110-5.5-value-with-nul": "X: a\x00b",
    "RFC9110-5.5-value-with-control": "X: a\x01b",
    "RFC9110-5.5-value-with-escape": "X: \x1b[31m",
    "RFC9110-5.5-value-with-delete": "X: \x7f",
    "RFC9110-5.5-value-with-vertical-tab": "X: \x0by",
    "RFC9110-5.5-value-with-form-feed": "X: y\x0c",
    "RFC9112-5.2-folded": "X: a\r\n b",
    "RFC9112-5.2-folded-with-tab": "X: a\r\n\tb",
    "RFC9112-5.2-folded-to-nothing": "X: a\r\n ",
    "RFC9112-2.2-bare-lf": "X: a\nY: b",
    "RFC9112-2.2-bare-lf-last": "X: a\n",
    "RFC9112-2.2-two-lf": "X: a\n\nGET /smuggled HTTP/1.1",
    "RFC9112-2.2-lf-cr": "X: a\n\rY: b",
    "RFC9112-2.2-bare-cr": "X: a\rY: b",
    "RFC9112-2.2-bare-cr-last": "X: a\r",
    "RFC9112-2.2-bare-cr-before-name": "\rX: a",
}

ROWS += [ok(id, head("GET /a HTTP/1.1", HOST, f), b"GET /a ") for id, f in FIELDS.items()]
ROWS += [refused(id, head(GET, HOST, f) + SMUGGLED) for id, f in REFUSED_FIELDS.items()]
ROWS += [
    refused("RFC9112-5.1-space-before-first-name", head(GET, " X: y", HOST) + SMUGGLED),
    refused("RFC9112-2.2-lf-only", b"GET / HTTP/1.1\nHost: t\n\n\r\n\r\n"),
    refused("RFC9112-2.2-lf-after-request-line", b"GET / HTTP/1.1\nHost: t\r\n\r\n"),
    refused("RFC9112-2.2-lf-ends-the-head", b"GET / HTTP/1.1\r\nHost: t\r\n\n\r\n\r\n"),
    refused("RFC9112-2.2-cr-only", b"GET / HTTP/1.1\rHost: t\r\r\r\n\r\n"),
    ok(
        "RFC6585-5-most-fields",
        head("GET /a HTTP/1.1", HOST, *["X: y"] * (MOST_FIELDS - 1)),
        b"GET /a ",
    ),
    refused("RFC6585-5-too-many-fields", head(GET, HOST, *["X: y"] * MOST_FIELDS), 431),
    ok(
        "contract-5-longest-head",
        head("GET /a HTTP/1.1", HOST, "X: " + "y" * (LIMITS.max_head - 29)),
        b"GET /a ",
    ),
    refused("contract-5-long-head", head(GET, HOST, "X: " + "y" * LIMITS.max_head), 431),
    refused("contract-5-long-head-open", b"GET / HTTP/1.1\r\nX: " + b"y" * LIMITS.max_head, 431),
    refused("contract-5-long-name", head(GET, HOST, "X" * LIMITS.max_head + ": y"), 431),
    refused("contract-5-long-line-of-anything", b"x" * (LIMITS.max_head + 1), 431),
]

# How long the body is: RFC 9112 section 6. The body of a refused request is one to be smuggled.

LENGTHS = {
    "RFC9110-8.6-length": "Content-Length: 5",
    "RFC9110-8.6-name-lower-case": "content-length: 5",
    "RFC9110-8.6-name-mixed-case": "cOnTeNt-LeNgTh: 5",
    "RFC9112-5.1-no-space-before-length": "Content-Length:5",
    "RFC9112-5.1-spaces-around-length": "Content-Length: \t 5\t ",
}
REFUSED_LENGTHS = {
    "RFC9112-6.3-two-lengths": ["Content-Length: 5", "Content-Length: 6"],
    "RFC9112-6.3-two-lengths-0-first": ["Content-Length: 0", "Content-Length: 40"],
    "RFC9112-6.3-two-lengths-0-last": ["Content-Length: 40", "Content-Length: 0"],
    "RFC9112-6.3-two-lengths-apart": ["Content-Length: 5", "X: y", "content-length: 6"],
    "RFC9112-6.3-three-lengths": ["Content-Length: 5", "Content-Length: 5", "Content-Length: 6"],
    "RFC9112-6.3-length-and-none": ["Content-Length: 5", "Content-Length:"],
    "contract-9-same-length-twice": ["Content-Length: 5", "Content-Length: 5"],
    "contract-9-length-list": ["Content-Length: 5, 5"],
    "RFC9112-6.3-length-list-differs": ["Content-Length: 5, 6"],
    "RFC9112-6.3-length-and-comma": ["Content-Length: 5,"],
    "RFC9112-6.3-comma-and-length": ["Content-Length: ,5"],
    "RFC9110-8.6-length-empty": ["Content-Length:"],
    "RFC9110-8.6-length-minus": ["Content-Length: -5"],
    "RFC9110-8.6-length-minus-0": ["Content-Length: -0"],
    "RFC9110-8.6-length-plus": ["Content-Length: +5"],
    "RFC9110-8.6-length-hex": ["Content-Length: 0x5"],
    "RFC9110-8.6-length-hex-digit": ["Content-Length: a"],
    "RFC9110-8.6-length-underscore": ["Content-Length: 4_0"],
    "RFC9110-8.6-length-space": ["Content-Length: 4 0"],
    "RFC9110-8.6-length-tab": ["Content-Length: 4\t0"],
    "RFC9110-8.6-length-fraction": ["Content-Length: 5.0"],
    "RFC9110-8.6-length-exponent": ["Content-Length: 5e0"],
    "RFC9110-8.6-length-quoted": ['Content-Length: "5"'],
    "RFC9110-8.6-length-with-parameter": ["Content-Length: 5;a=b"],
    "RFC9110-8.6-length-other-digits": ["Content-Length: \xb2"],
    "RFC9110-8.6-length-utf8-digits": ["Content-Length: \xd9\xa5"],
    "RFC9110-8.6-length-with-nul": ["Content-Length: 5\x00"],
    "RFC9110-8.6-length-vertical-tab": ["Content-Length: \x0b5"],
    "RFC9110-8.6-length-form-feed": ["Content-Length: 5\x0c"],
    "RFC9110-8.6-length-no-break-space": ["Content-Length: 5\xa0"],
    "contract-9-length-leading-zero": ["Content-Length: 05"],
    "contract-9-length-zeros": ["Content-Length: 00"],
    "RFC9112-5.1-length-space-before-colon": ["Content-Length : 5"],
    "RFC9112-5.1-length-nul-before-colon": ["Content-Length\x00: 5"],
    "RFC9112-5.2-length-folded": ["Content-Length:\r\n 5"],
    "RFC9112-5.2-length-folded-on": ["Content-Length: 4\r\n 0"],
    "RFC9112-2.2-length-after-lf": ["X: y\nContent-Length: 40"],
    "RFC9112-2.2-length-after-cr": ["X: y\rContent-Length: 40"],
    "RFC9112-2.2-length-then-cr": ["Content-Length: 40\r"],
}
# Longer than any number of bytes is: too large or malformed.
HUGE_LENGTHS = {
    "RFC9110-8.6-length-2-to-the-63": str(1 << 63),
    "RFC9110-8.6-length-2-to-the-64-and-5": str((1 << 64) + 5),
    "RFC9110-8.6-length-of-a-thousand-digits": "9" * 1000,
}

ROWS += [ok(id, head(POST, HOST, f) + b"hello", b"POST / hello") for id, f in LENGTHS.items()]
ROWS += [refused(id, head(POST, HOST, *f) + SMUGGLED) for id, f in REFUSED_LENGTHS.items()]
ROWS += [
    refused(id, head(POST, HOST, f"Content-Length: {length}") + SMUGGLED, (400, 413))
    for id, length in HUGE_LENGTHS.items()
]
ROWS += [
    ok("RFC9112-6.3-no-length", head(POST, HOST) + get("/b"), b"POST / ", b"GET /b "),
    ok("RFC9110-8.6-length-0", post("/", b"") + get("/b"), b"POST / ", b"GET /b "),
    ok("RFC9112-6.3-body-is-a-request", post("/", SMUGGLED), b"POST / " + SMUGGLED),
    ok(
        "RFC9110-9.3.1-get-with-body",
        head(GET, HOST, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
        b"GET / " + SMUGGLED,
    ),
    ok(
        "RFC9110-9.3.1-get-chunked",
        head(GET, HOST, CHUNKED) + SMUGGLED_CHUNK,
        b"GET / " + SMUGGLED,
    ),
    Row(
        "RFC9110-9.3.2-head-with-body",
        head("HEAD / HTTP/1.1", HOST, "Content-Length: 5") + b"hello",
        (200,),
        (b"HEAD / hello",),
        methods=("HEAD",),
    ),
    ok(
        "RFC9110-9.3.5-delete-with-body",
        head("DELETE / HTTP/1.1", HOST, "Content-Length: 5") + b"hello",
        b"DELETE / hello",
    ),
    ok(
        "RFC9110-9.3.7-options-with-body",
        head("OPTIONS * HTTP/1.1", HOST, "Content-Length: 5") + b"hello",
        b"OPTIONS * hello",
    ),
    ok("contract-5-largest-body", post("/", bytes(100)), b"POST / " + bytes(100)),
    refused("contract-5-large-body", head(POST, HOST, "Content-Length: 1001"), 413),
    refused("contract-5-large-body-of-get", head(GET, HOST, "Content-Length: 99999999999"), 413),
    ok(
        "contract-5-largest-chunked-body",
        chunked(body=b"32\r\n%b\r\n" % bytes(50) * 2 + b"0\r\n\r\n"),
        b"POST / " + bytes(100),
    ),
    refused("contract-5-large-chunk", chunked(body=b"65\r\n" + bytes(101) + b"\r\n0\r\n\r\n"), 413),
    refused(
        "contract-5-large-chunks", chunked(body=b"33\r\n%b\r\n" % bytes(51) * 2 + b"0\r\n\r\n"), 413
    ),
]

CODINGS = {
    "RFC9112-7.1-chunked": "Transfer-Encoding: chunked",
    "RFC9112-7-chunked-upper-case": "TRANSFER-ENCODING: CHUNKED",
    "RFC9112-7-chunked-mixed-case": "transfer-encoding: cHuNkEd",
    "RFC9112-5.1-no-space-before-chunked": "Transfer-Encoding:chunked",
    "RFC9112-5.1-tab-before-chunked": "Transfer-Encoding:\tchunked",
    "RFC9112-5.1-spaces-after-chunked": "Transfer-Encoding: chunked \t ",
}
REFUSED_CODINGS: dict[str, tuple[list[str], Status]] = {
    "RFC9112-6.1-length-then-chunked": (["Content-Length: 5", CHUNKED], 400),
    "RFC9112-6.1-chunked-then-length": ([CHUNKED, "Content-Length: 5"], 400),
    "RFC9112-6.1-chunked-with-length-0": ([CHUNKED, "Content-Length: 0"], 400),
    "RFC9112-6.1-chunked-with-length-apart": ([CHUNKED, "X: y", "content-length: 5"], 400),
    "RFC9112-6.1-chunked-with-bad-length": ([CHUNKED, "Content-Length: x"], 400),
    "RFC9112-6.1-gzip-with-length": (["Transfer-Encoding: gzip", "Content-Length: 5"], UNKNOWN),
    "RFC9112-6.1-identity-with-length": (
        ["Transfer-Encoding: identity", "Content-Length: 5"],
        UNKNOWN,
    ),
    "RFC9112-6.1-gzip": (["Transfer-Encoding: gzip"], UNKNOWN),
    "RFC9112-6.1-gzip-chunked": (["Transfer-Encoding: gzip, chunked"], 501),
    "RFC9112-6.1-gzip-and-chunked": (["Transfer-Encoding: gzip", CHUNKED], 501),
    "RFC9112-6.1-identity": (["Transfer-Encoding: identity"], UNKNOWN),
    "RFC9112-6.1-identity-chunked": (["Transfer-Encoding: identity, chunked"], UNKNOWN),
    "RFC9112-6.1-xchunked": (["Transfer-Encoding: xchunked"], UNKNOWN),
    "RFC9112-6.1-chunkedx": (["Transfer-Encoding: chunkedx"], UNKNOWN),
    "RFC9112-6.1-chunk": (["Transfer-Encoding: chunk"], UNKNOWN),
    "RFC9112-6.1-two-words": (["Transfer-Encoding: chun ked"], UNKNOWN),
    "RFC9112-6.1-x-space-chunked": (["Transfer-Encoding: x chunked"], UNKNOWN),
    "RFC9112-6.1-chunked-with-parameter": (["Transfer-Encoding: chunked;a=b"], UNKNOWN),
    "RFC9112-6.1-chunked-quoted": (['Transfer-Encoding: "chunked"'], UNKNOWN),
    "RFC9112-6.1-chunked-single-quoted": (["Transfer-Encoding: 'chunked'"], UNKNOWN),
    "RFC9112-6.1-chunked-no-break-space": (["Transfer-Encoding: chunked\xa0"], UNKNOWN),
    "RFC9112-6.1-chunked-kelvin-sign": (["Transfer-Encoding: chun\xe2\x84\xaaed"], UNKNOWN),
    "RFC9112-6.1-coding-empty": (["Transfer-Encoding:"], UNKNOWN),
    "RFC9112-6.1-coding-comma": (["Transfer-Encoding: ,"], UNKNOWN),
    "RFC9112-6.1-comma-chunked": (["Transfer-Encoding: ,chunked"], UNKNOWN),
    "RFC9112-6.1-chunked-comma": (["Transfer-Encoding: chunked,"], UNKNOWN),
    "RFC9112-6.1-chunked-and-empty": ([CHUNKED, "Transfer-Encoding:"], UNKNOWN),
    "RFC9112-6.3-chunked-gzip": (["Transfer-Encoding: chunked, gzip"], 400),
    "RFC9112-6.3-chunked-and-gzip": ([CHUNKED, "Transfer-Encoding: gzip"], 400),
    "RFC9112-6.3-chunked-identity": (["Transfer-Encoding: chunked, identity"], 400),
    "RFC9112-6.3-chunked-and-identity": ([CHUNKED, "Transfer-Encoding: identity"], 400),
    "RFC9112-7-chunked-chunked": (["Transfer-Encoding: chunked, chunked"], 400),
    "RFC9112-7-chunked-and-chunked": ([CHUNKED, "transfer-encoding: chunked"], 400),
    "RFC9110-5.5-chunked-vertical-tab-before": (["Transfer-Encoding: \x0bchunked"], 400),
    "RFC9110-5.5-chunked-vertical-tab-after": (["Transfer-Encoding: chunked\x0b"], 400),
    "RFC9110-5.5-chunked-nul": (["Transfer-Encoding: chunked\x00"], 400),
    "RFC9110-5.1-coding-name-nul": (["Transfer-Encoding\x00: chunked"], 400),
    "RFC9112-5.1-coding-space-before-colon": (["Transfer-Encoding : chunked"], 400),
    "RFC9112-5.1-coding-tab-before-colon": (["Transfer-Encoding\t: chunked"], 400),
    "RFC9112-5.1-coding-space-before-name": (["X: y", " Transfer-Encoding: chunked"], 400),
    "RFC9112-5.2-coding-folded": (["Transfer-Encoding:\r\n chunked"], 400),
    "RFC9112-5.2-coding-folded-with-tab": (["Transfer-Encoding:\r\n\tchunked"], 400),
    "RFC9112-5.2-coding-folded-on": (["Transfer-Encoding: chunked\r\n , x"], 400),
    "RFC9112-2.2-coding-after-lf": (["X: y\nTransfer-Encoding: chunked"], 400),
    "RFC9112-2.2-coding-after-cr": (["X: y\rTransfer-Encoding: chunked"], 400),
    "RFC9112-2.2-coding-after-crlf-cr": (["X: y\r\n\rTransfer-Encoding: chunked"], 400),
    "RFC9112-2.2-coding-then-cr": (["Transfer-Encoding: chunked\r"], 400),
}

ROWS += [ok(id, head(POST, HOST, f) + CHUNK, b"POST / hello") for id, f in CODINGS.items()]
ROWS += [
    refused(id, head(POST, HOST, *fields) + b"0\r\n\r\n" + SMUGGLED, status)
    for id, (fields, status) in REFUSED_CODINGS.items()
]
ROWS += [
    refused("RFC9112-6.1-chunked-in-http10", head("POST / HTTP/1.0", HOST, CHUNKED) + CHUNK),
    refused(
        "RFC9112-6.1-chunked-in-kept-http10",
        head("POST / HTTP/1.0", HOST, CHUNKED, "Connection: keep-alive") + CHUNK,
    ),
    refused(
        "RFC9112-6.1-chunked-with-length-in-http10",
        head("POST / HTTP/1.0", HOST, CHUNKED, "Content-Length: 5") + CHUNK,
    ),
    # Another name is another field, so the chunk is no body, and no request either.
    refused(
        "RFC9112-6.1-underscore-in-name",
        head(POST, HOST, "Transfer_Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        400,
        b"POST / ",
    ),
    refused(
        "RFC9110-8.6-underscore-in-name",
        head(POST, HOST, "Content_Length: 5") + b"hello\r\n\r\n" + SMUGGLED,
        400,
        b"POST / ",
    ),
]

# Chunked bodies: RFC 9112 section 7.1.

CHUNKS: dict[str, tuple[bytes, bytes]] = {
    "RFC9112-7.1-no-chunks": (b"0\r\n\r\n", b""),
    "RFC9112-7.1-two-chunks": (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "RFC9112-7.1-size-upper-hex": (b"1A\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n", b"x" * 26),
    "RFC9112-7.1-size-lower-hex": (b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n", b"x" * 26),
    "RFC9112-7.1-size-leading-zeros": (b"0005\r\nhello\r\n0\r\n\r\n", b"hello"),
    "RFC9112-7.1-zeros-last": (b"5\r\nhello\r\n0000\r\n\r\n", b"hello"),
    "RFC9112-7.1-chunk-of-crlfs": (b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n"),
    "RFC9112-7.1-chunk-of-a-request": (SMUGGLED_CHUNK, SMUGGLED),
    "RFC9112-7.1.1-extension": (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "RFC9112-7.1.1-extension-without-value": (b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    "RFC9112-7.1.1-extensions": (b"5;a=b;c;d=e\r\nhello\r\n0;f\r\n\r\n", b"hello"),
    "RFC9112-7.1.1-quoted": (b'5;a="b c"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "RFC9112-7.1.1-quoted-separators": (b'5;a=";,=:"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "RFC9112-7.1.1-quoted-escapes": (b'5;a="\\"\\\\\\;"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "RFC9112-7.1.1-quoted-empty": (b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello"),
    "RFC9112-7.1.1-quoted-obs-text": (b'5;a="\xe9"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "RFC9112-7.1.1-bad-whitespace": (b"5 \t; \ta \t= \tb\r\nhello\r\n0\r\n\r\n", b"hello"),
    "RFC9112-7.1.1-extension-of-a-size": (b"5;6=7\r\nhello\r\n0\r\n\r\n", b"hello"),
    "contract-5-longest-size-line": (
        b"5;" + b"x" * (LONGEST_SIZE_LINE - 4) + b"\r\nhello\r\n0\r\n\r\n",
        b"hello",
    ),
    "RFC9112-7.1.2-trailer": (b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"hello"),
    "RFC9112-7.1.2-trailers": (b"0\r\nX: y\r\nx: \xe9\r\nZ:\r\n\r\n", b""),
    "RFC9110-6.5.1-trailer-of-length": (b"0\r\nContent-Length: 40\r\n\r\n", b""),
    "RFC9110-6.5.1-trailer-of-coding": (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    "RFC9110-6.5.1-trailer-of-host": (b"0\r\nHost: other\r\n\r\n", b""),
    "RFC9110-6.5.1-trailer-of-connection": (b"0\r\nConnection: close\r\n\r\n", b""),
    "contract-5-longest-trailers": (
        b"0\r\nX: " + b"y" * (LONGEST_TRAILERS - 5) + b"\r\n\r\n",
        b"",
    ),
}
# Each has a CRLF where a size line could end, or it would be waited for.
REFUSED_CHUNKS = {
    "RFC9112-7.1-no-size": b"\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-of-extension-only": b";a=b\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-not-hex": b"g\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-with-0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-with-h": b"5h\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-minus": b"-1\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-minus-0": b"-0\r\n\r\n",
    "RFC9112-7.1-size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-fraction": b"5.0\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-quoted": b'"5"\r\nhello\r\n0\r\n\r\n',
    "RFC9112-7.1-size-comma": b"5,5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-two-sizes": b"5 5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-space-before-size": b" 5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-tab-before-size": b"\t5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-space-after-size": b"5 \r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-tab-after-size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-space-after-last-size": b"5\r\nhello\r\n0 \r\n\r\n",
    "RFC9112-7.1-size-vertical-tab": b"\x0b5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-nul": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-other-digits": b"\xb2\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-2-to-the-64-and-5": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-size-of-many-digits": b"f" * 200 + b"\r\nhello\r\n0\r\n\r\n",
    "contract-9-size-of-many-zeros": b"0" * 200 + b"5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-lf-after-size": b"5\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-cr-after-size": b"5\rhello\r\n0\r\n\r\n",
    "RFC9112-7.1-cr-before-size": b"\r5\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-cr-cr-after-size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-no-crlf-after-chunk": b"5\r\nhello0\r\n\r\n",
    "RFC9112-7.1-lf-after-chunk": b"5\r\nhello\n0\r\n\r\n",
    "RFC9112-7.1-cr-after-chunk": b"5\r\nhello\r0\r\n\r\n",
    "RFC9112-7.1-two-bytes-after-chunk": b"5\r\nhelloXX0\r\n\r\n",
    "RFC9112-7.1-lf-cr-after-chunk": b"5\r\nhello\n\r0\r\n\r\n",
    "RFC9112-7.1-chunk-longer-than-its-size": b"4\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-chunk-shorter-than-its-size": b"6\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1-empty-line-between": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "RFC9112-7.1-lf-after-last-size": b"5\r\nhello\r\n0\n\r\n\r\n",
    "RFC9112-7.1-lf-only-at-the-end": b"5\r\nhello\r\n0\n\n\r\n\r\n",
    "RFC9112-7.1.1-lf-in-extension": b"5;a\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1.1-cr-in-extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1.1-lf-in-quotes": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "RFC9112-7.1.1-nul-in-extension": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1.1-control-in-extension": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1.1-quotes-open": b'5;a="\r\nhello\r\n0\r\n\r\n',
    "RFC9112-7.1.1-extension-without-name": b"5;\r\nhello\r\n0\r\n\r\n",
    "RFC9112-7.1.1-extension-without-semicolon": b"5 a=b\r\nhello\r\n0\r\n\r\n",
    "contract-5-long-extension": b"5;" + b"x" * LONGEST_SIZE_LINE + b"\r\nhello\r\n0\r\n\r\n",
    "contract-5-endless-extension": b"5;" + b"x" * 2 * LONGEST_SIZE_LINE,
    "RFC9112-7.1.2-trailer-without-colon": b"0\r\nabc\r\n\r\n",
    "RFC9112-7.1.2-trailer-without-name": b"0\r\n: y\r\n\r\n",
    "RFC9112-7.1.2-trailer-space-before-colon": b"0\r\nX : y\r\n\r\n",
    "RFC9112-7.1.2-trailer-folded": b"0\r\nX: y\r\n z\r\n\r\n",
    "RFC9112-7.1.2-trailer-folded-first": b"0\r\n X: y\r\n\r\n",
    "RFC9112-7.1.2-trailer-lf": b"0\r\nX: y\nZ: a\r\n\r\n",
    "RFC9112-7.1.2-trailers-of-lf-only": b"0\r\nX: y\n\n\r\n\r\n",
    "RFC9112-7.1.2-trailer-cr": b"0\r\nX: y\rz\r\n\r\n",
    "RFC9112-7.1.2-trailer-nul": b"0\r\nX: \x00\r\n\r\n",
    "RFC9112-7.1.2-trailer-is-a-request": b"0\r\n" + SMUGGLED,
    "contract-5-long-trailers": b"0\r\nX: " + b"y" * LONGEST_TRAILERS + b"\r\n\r\n",
    "contract-5-endless-trailers": b"0\r\n" + b"X: y\r\n" * 1500,
}

ROWS += [ok(id, chunked(body=b), b"POST / " + saw) for id, (b, saw) in CHUNKS.items()]
ROWS += [refused(id, chunked(body=b)) for id, b in REFUSED_CHUNKS.items()]

# Expect: RFC 9110 section 10.1.1.

EXPECT = "Expect: 100-continue"
FIVE = "Content-Length: 5"


def waiting(id: str, sent: bytes, rest: bytes, *saw: bytes) -> Row:
    """The body is sent when 100 Continue has come."""
    return Row(id, sent, (200,) * len(saw), saw, interims=1, rest=rest)


ROWS += [
    waiting("RFC9110-10.1.1-wait", head(POST, HOST, FIVE, EXPECT), b"hello", b"POST / hello"),
    waiting(
        "RFC9110-10.1.1-wait-any-case",
        head(POST, HOST, FIVE, "EXPECT: 100-Continue"),
        b"hello",
        b"POST / hello",
    ),
    waiting(
        "RFC9110-10.1.1-wait-chunked",
        head(POST, HOST, CHUNKED, EXPECT),
        CHUNK,
        b"POST / hello",
    ),
    Row(
        "RFC9110-10.1.1-body-is-there",
        head(POST, HOST, FIVE, EXPECT) + b"hello",
        (200,),
        (b"POST / hello",),
        interims=None,  # byte by byte it is not there yet
    ),
    Row(
        "RFC9110-10.1.1-chunks-are-there",
        head(POST, HOST, CHUNKED, EXPECT) + CHUNK,
        (200,),
        (b"POST / hello",),
        interims=None,
    ),
    ok("RFC9110-10.1.1-no-body", head(GET, HOST, EXPECT), b"GET / "),
    ok("RFC9110-10.1.1-length-0", head(POST, HOST, "Content-Length: 0", EXPECT), b"POST / "),
    ok(
        "RFC9110-10.1.1-http10",
        head("POST / HTTP/1.0", HOST, FIVE, EXPECT) + b"hello",
        b"POST / hello",
        closed=True,
    ),
    refused(
        "RFC9110-10.1.1-other-expectation",
        head(POST, HOST, "Content-Length: 0", "Expect: 200-ok"),
        417,
    ),
    refused("RFC9110-10.1.1-refused-head", head(POST, FIVE, EXPECT)),
    refused("RFC9110-10.1.1-large-body", head(POST, HOST, "Content-Length: 1001", EXPECT), 413),
    refused("RFC9110-10.1.1-unknown-method", head("BREW / HTTP/1.1", HOST, FIVE, EXPECT), 501),
]

# Connections: RFC 9112 section 9.

KEPT = {
    "RFC9112-9.3-http11": head("GET /a HTTP/1.1", HOST),
    "RFC9112-9.3-keep-alive": get("/a", "Connection: keep-alive"),
    "RFC9112-9.3-not-close": get("/a", "Connection: close-not, xclose"),
    "RFC9112-9.3-empty-connection": get("/a", "Connection: ,, ,"),
    "RFC9112-9.3-close-of-another-field": get("/a", "Proxy-Connection: close"),
    "RFC9112-9.3-http10-keep-alive": get("/a", "Connection: keep-alive", version="1.0"),
    "RFC9112-9.3-http10-keep-alive-any-case": get("/a", "Connection: Keep-ALIVE", version="1.0"),
    "RFC9112-9.3-http10-keep-alive-in-list": get("/a", "Connection: x ,keep-alive", version="1.0"),
    "RFC9110-7.8-upgrade-websocket": get("/a", "Connection: Upgrade", "Upgrade: websocket"),
    "RFC9110-7.8-upgrade-h2c": get(
        "/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
    ),
    "RFC9110-7.8-upgrade-unnamed": get("/a", "Upgrade: TLS/1.0"),
}
CLOSED = {
    "RFC9112-9.6-close": get("/a", "Connection: close"),
    "RFC9112-9.6-close-any-case": get("/a", "cONNECTION: Close"),
    "RFC9112-9.6-close-first-of-list": get("/a", "Connection: close, x"),
    "RFC9112-9.6-close-last-of-list": get("/a", "Connection: x\t,\tclose"),
    "RFC9112-9.6-close-in-second-field": get("/a", "Connection: x", "X: y", "Connection: close"),
    "RFC9112-9.6-keep-alive-and-close": get("/a", "Connection: keep-alive, close"),
    "RFC9112-9.6-keep-alive-then-close": get("/a", "Connection: keep-alive", "Connection: close"),
    "RFC9112-9.6-close-and-upgrade": get("/a", "Connection: close, upgrade", "Upgrade: x"),
    "RFC9112-9.3-http10": get("/a", version="1.0"),
    "RFC9112-9.3-http10-close": get("/a", "Connection: close", version="1.0"),
    "RFC9112-9.3-http10-both": get("/a", "Connection: keep-alive, close", version="1.0"),
    "RFC9112-9.3-http10-another-field": get("/a", "Proxy-Connection: keep-alive", version="1.0"),
    "RFC9112-9.3-http10-another-token": get("/a", "Connection: keep-alives", version="1.0"),
}

ROWS += [ok(id, sent, b"GET /a ") for id, sent in KEPT.items()]
ROWS += [ok(id, sent, b"GET /a ", closed=True) for id, sent in CLOSED.items()]
ROWS += [
    ok(
        "RFC9112-9.3-http10-body",
        head("POST / HTTP/1.0", FIVE) + b"hello",
        b"POST / hello",
        closed=True,
    ),
    ok(
        "RFC9112-9.3-http10-kept-body",
        head("POST / HTTP/1.0", FIVE, "Connection: keep-alive") + b"hello",
        b"POST / hello",
    ),
    ok(
        "RFC9112-9.6-close-with-body",
        post("/", b"x", "Connection: close"),
        b"POST / x",
        closed=True,
    ),
    ok("RFC9112-9.6-close-with-chunks", chunked("Connection: close"), b"POST / hello", closed=True),
    ok(
        "RFC9112-9.6-nothing-after-close",
        get("/a", "Connection: close") + SMUGGLED,
        b"GET /a ",
        closed=True,
    ),
    ok(
        "RFC9112-9.6-nothing-after-http10",
        get("/a", version="1.0") + SMUGGLED,
        b"GET /a ",
        closed=True,
    ),
    ok(
        "RFC9112-9.3.2-pipeline",
        get("/a") + get("/b") + get("/c"),
        b"GET /a ",
        b"GET /b ",
        b"GET /c ",
    ),
    ok(
        "RFC9112-9.3.2-pipeline-bodies",
        post("/a", b"x") + post("/b", b"y"),
        b"POST /a x",
        b"POST /b y",
    ),
    ok(
        "RFC9112-9.3.2-pipeline-chunks",
        chunked() + chunked(body=b"0\r\nX: y\r\n\r\n") + get("/b"),
        b"POST / hello",
        b"POST / ",
        b"GET /b ",
    ),
    ok(
        "RFC9112-9.3.2-pipeline-lengths",
        post("/", b"x" * 9) + post("/", b"x" * 10) + post("/", b"x"),
        b"POST / " + b"x" * 9,
        b"POST / " + b"x" * 10,
        b"POST / x",
    ),
    ok("RFC9112-9.3.2-pipeline-of-twenty", get("/a") * 20, *[b"GET /a "] * 20),
    ok(
        "RFC9112-9.3.2-pipeline-http10",
        get("/a", "Connection: keep-alive", version="1.0") + get("/b"),
        b"GET /a ",
        b"GET /b ",
    ),
    ok(
        "RFC9112-9.3.2-pipeline-to-close",
        get("/a") + get("/b", "Connection: close") + SMUGGLED,
        b"GET /a ",
        b"GET /b ",
        closed=True,
    ),
    refused(
        "RFC9112-9.3.2-pipeline-to-refusal",
        get("/a") + head(GET, HOST, HOST) + SMUGGLED,
        400,
        b"GET /a ",
    ),
    refused(
        "RFC9112-9.3.2-pipeline-to-bad-chunk", get("/a") + chunked(body=b"g\r\n"), 400, b"GET /a "
    ),
    refused(
        "RFC9112-9.3.2-pipeline-to-two-lengths",
        post("/", b"hello") + post("/", b"hello", FIVE, "Content-Length: 6") + SMUGGLED,
        400,
        b"POST / hello",
    ),
    refused(
        "RFC9112-9.3.2-rest-of-a-body",
        post("/a", b"x") + b"yz\r\n\r\n" + SMUGGLED,
        400,
        b"POST /a x",
    ),
    refused(
        "RFC9112-9.3.2-rest-of-chunks", chunked() + b"0\r\n\r\n" + SMUGGLED, 400, b"POST / hello"
    ),
    Row(
        "RFC9112-9.3.2-pipeline-head",
        head("HEAD /a HTTP/1.1", HOST) + get("/b"),
        (200, 200),
        (b"HEAD /a ", b"GET /b "),
        methods=("HEAD", "GET"),
    ),
    waiting(
        "RFC9112-9.3.2-pipeline-to-expect",
        get("/a") + head(POST, HOST, FIVE, EXPECT),
        b"hello",
        b"GET /a ",
        b"POST / hello",
    ),
]

# Ends of sending: RFC 9112 section 8.

ENDS = {
    "RFC9112-8-nothing": b"",
    "RFC9112-8-empty-line": b"\r\n",
    "RFC9112-8-inside-line": b"GET /a HT",
    "RFC9112-8-inside-head": b"GET /a HTTP/1.1\r\nHost: t\r\n",
    "RFC9112-8-inside-last-crlf": b"GET /a HTTP/1.1\r\nHost: t\r\n\r",
    "RFC9112-8-inside-body": post("/", b"hello")[:-1],
    "RFC9112-8-before-body": post("/", b"hello")[:-5],
    "RFC9112-8-inside-size": chunked(body=b"5"),
    "RFC9112-8-inside-chunk": chunked(body=b"5\r\nhell"),
    "RFC9112-8-after-chunk": chunked(body=b"5\r\nhello\r\n"),
    "RFC9112-8-inside-trailers": chunked(body=b"5\r\nhello\r\n0\r\nX: y\r\n"),
    "RFC9112-8-before-last-crlf": chunked(body=b"5\r\nhello\r\n0\r\n"),
}

ROWS += [Row(id, sent, (), (), closed=True, eof=True) for id, sent in ENDS.items()]
ROWS += [
    Row("RFC9112-9.6-half-close", get("/a"), (200,), (b"GET /a ",), True, eof=True),
    Row("RFC9112-9.6-half-close-chunked", chunked(), (200,), (b"POST / hello",), True, eof=True),
]
