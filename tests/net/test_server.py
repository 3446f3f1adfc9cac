"""The server over real sockets, with small applications and clients that misbehave."""

from __future__ import annotations

import resource
import socket
import ssl

import pytest
import trio

from tests.net.peers import PATIENCE, Peer, Stage, connect, get, head, patience, post, serve
from tokenomics.errors import Refusal
from tokenomics.net.connection import (
    HANDSHAKE_SECONDS,
    LINGER_SECONDS,
    MOST_CHUNKS,
    Limits,
    Reply,
    Request,
)
from tokenomics.net.heads import HeadJudge
from tokenomics.net.server import Server, bind
from tokenomics.net.wire import STALL_BYTES, WireError

TLS = tuple[ssl.SSLContext, ssl.SSLContext]
BIG = 16 << 20  # bytes: more than the sockets' buffers of both sides hold
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def echo(request: Request, reply: Reply) -> None:
    """Answer with what was asked: method, path, body. Refusals as their status."""
    try:
        body = await request.body()
    except Refusal as e:
        await reply.send(e.status, [], e.code.encode())
        return
    text = f"{request.head.method} {request.head.path} ".encode() + body
    await reply.send(200, [(b"x-app", b"echo")], text)


async def stream(request: Request, reply: Reply) -> None:
    """An answer in three parts."""
    await reply.start(200, [(b"x-app", b"stream")])
    for part in (b"one ", b"", b"two ", b"three"):
        await reply.write(part)
    await reply.end()


class Waiting:
    """An app that answers when told to, and says what became of it."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.go = trio.Event()
        self.ended = trio.Event()
        self.cancelled = False
        self.seconds = 0.0  # when it ended

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.began.set()
        try:
            await self.go.wait()
            await reply.send(200, [], b"done")
        except trio.Cancelled:
            self.cancelled = True
            raise
        finally:
            self.seconds = trio.current_time()
            self.ended.set()


async def wait(event: trio.Event) -> None:
    with patience():
        await event.wait()


async def until_empty(stage: Stage) -> None:
    """Wait until the server has no connection."""
    with patience():
        while stage.server.connections:
            await trio.lowlevel.checkpoint()


@pytest.fixture(params=["plain", "tls"])
def tls(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> TLS | None:
    """The same test without and with TLS."""
    return (server_tls, client_tls) if request.param == "tls" else None


# Requests and answers.


async def test_keep_alive_serves_one_request_after_the_other(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    client = await (await serve(nursery, echo, tls=tls)).connect()
    for i in range(3):
        await client.send(post(f"/{i}", b"body"))
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, f"POST /{i} body".encode())
        assert answer.headers == {"x-app": "echo", "content-length": "12"}


async def test_pipelined_requests_are_answered_in_order(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    client = await (await serve(nursery, echo, tls=tls)).connect()
    await client.send(get("/1") + post("/2", b"x\r\n\r\n") + get("/3"))
    bodies = [(await client.answer()).body for _ in range(3)]
    assert bodies == [b"GET /1 ", b"POST /2 x\r\n\r\n", b"GET /3 "]


async def test_a_request_byte_by_byte(nursery: trio.Nursery, tls: TLS | None) -> None:
    client = await (await serve(nursery, echo, tls=tls)).connect()
    for byte in b"\r\n" + post("/slow", b"body"):
        await client.send(bytes([byte]))
    assert (await client.answer()).body == b"POST /slow body"


async def test_peer_and_head_are_the_clients(nursery: trio.Nursery) -> None:
    async def app(request: Request, reply: Reply) -> None:
        text = f"{request.peer} {request.head.get(b'x-a')} {request.head.query}"
        await reply.send(200, [], text.encode())

    client = await (await serve(nursery, app)).connect()
    await client.send(get("/?q=1", "X-A: b"))
    assert (await client.answer()).body == b"127.0.0.1 b q=1"


@pytest.mark.parametrize(
    ("request_bytes", "connection"),
    [
        (get(version="1.0"), "close"),
        (get("/", "Connection: close"), "close"),
        (get("/", "Connection: keep-alive, close", version="1.0"), "close"),
    ],
    ids=["http10", "close", "http10-close"],
)
async def test_a_connection_that_is_not_kept_is_closed(
    nursery: trio.Nursery, request_bytes: bytes, connection: str
) -> None:
    client = await (await serve(nursery, echo)).connect()
    await client.send(request_bytes)
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, connection)
    assert await client.until_closed() == b""


async def test_http10_is_kept_alive_when_asked_and_told_so(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo)).connect()
    for _ in range(2):
        await client.send(get("/a", "Connection: keep-alive", version="1.0"))
        answer = await client.answer()
        # Without this the client waits for the end of the connection (RFC 9112 appendix C.2.2).
        assert answer.headers["connection"] == "keep-alive"
        assert answer.body == b"GET /a "


async def test_head_has_the_length_and_no_body(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo)).connect()
    await client.send(head("HEAD /a HTTP/1.1", "Host: t") + get("/b"))
    answer = await client.answer("HEAD")
    assert (answer.headers["content-length"], answer.body) == ("8", b"")
    assert (await client.answer()).body == b"GET /b "


async def test_a_streamed_answer_is_chunked_and_the_connection_kept(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    client = await (await serve(nursery, stream, tls=tls)).connect()
    for _ in range(2):
        await client.send(get())
        answer = await client.answer()
        assert answer.headers == {"x-app": "stream", "transfer-encoding": "chunked"}
        assert answer.body == b"one two three"


async def test_a_streamed_answer_to_http10_ends_with_the_connection(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, stream)).connect()
    await client.send(get("/", "Connection: keep-alive", version="1.0"))
    said = await client.until_closed()
    assert said.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert said.endswith(b" GMT\r\nx-app: stream\r\nconnection: close\r\n\r\none two three")


async def test_a_streamed_answer_to_head_has_no_body(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, stream)).connect()
    await client.send(head("HEAD / HTTP/1.1", "Host: t", "Connection: close"))
    assert (await client.until_closed()).endswith(b"\r\n\r\n")


async def test_streamed_parts_go_out_as_they_come(nursery: trio.Nursery) -> None:
    go = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        await reply.start(200, [])
        await reply.write(b"first")
        await go.wait()
        await reply.end()

    client = await (await serve(nursery, app)).connect()
    await client.send(get())
    await client.until(b"5\r\nfirst\r\n")  # before the app goes on
    go.set()
    assert await client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_an_answer_without_its_end_is_seen_as_broken(nursery: trio.Nursery) -> None:
    async def app(request: Request, reply: Reply) -> None:
        await reply.start(200, [])
        await reply.write(b"half")

    client = await (await serve(nursery, app)).connect()
    await client.send(get())
    assert (await client.until_closed()).endswith(b"\r\n\r\n4\r\nhalf\r\n")


# Bodies of requests.


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"4\r\nbody\r\n0\r\n\r\n", b"body"),
        (b"4;x=y\r\nbody\r\n0\r\nT: v\r\n\r\n", b"body"),
    ],
    ids=["empty", "one", "extension-and-trailer"],
)
async def test_a_chunked_body_and_the_request_after_it(
    nursery: trio.Nursery, chunks: bytes, body: bytes
) -> None:
    client = await (await serve(nursery, echo)).connect()
    await client.send(head("POST /a HTTP/1.1", "Host: t", "Transfer-Encoding: chunked"))
    await client.send(chunks + get("/b"))
    assert (await client.answer()).body == b"POST /a " + body
    assert (await client.answer()).body == b"GET /b "


async def test_a_large_body_and_the_request_after_it(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    client = await (await serve(nursery, echo, tls=tls)).connect()
    body = bytes(range(256)) * 8000
    nursery.start_soon(client.send, post("/a", body) + get("/b"))
    assert (await client.answer()).body == b"POST /a " + body
    assert (await client.answer()).body == b"GET /b "


async def test_broken_chunking_is_refused_and_the_connection_ends(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo)).connect()
    await client.send(head("POST / HTTP/1.1", "Host: t", "Transfer-Encoding: chunked"))
    await client.send(b"xyz\r\n" + get("/smuggled"))
    answer = await client.answer()
    assert (answer.status, answer.body) == (400, b"invalid_request")
    assert answer.headers["connection"] == "close"
    assert await client.until_closed() == b""


async def test_a_body_in_very_small_chunks_is_refused(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo)).connect()
    start = head("POST / HTTP/1.1", "Host: t", "Transfer-Encoding: chunked")
    await client.send(start + b"1\r\na\r\n" * (MOST_CHUNKS + 100))
    answer = await client.answer()
    assert (answer.status, answer.body) == (400, b"invalid_request")


async def test_many_requests_at_once_let_others_have_their_turn(nursery: trio.Nursery) -> None:
    served: list[str] = []

    async def app(request: Request, reply: Reply) -> None:
        served.append(request.head.path)
        await reply.send(200, [], b"")

    stage = await serve(nursery, app)
    greedy, modest = await stage.connect(), await stage.connect()
    await greedy.send(get("/many") * 500)
    await modest.send(get("/one"))
    assert (await modest.answer()).status == 200
    for _ in range(500):
        assert (await greedy.answer()).status == 200
    assert served.index("/one") < 400


async def test_expect_is_answered_before_the_body_is_sent(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo)).connect()
    request = post("/a", b"body", "Expect: 100-continue")
    await client.send(request[:-4])
    assert await client.until(b"\r\n\r\n") == CONTINUE
    await client.send(request[-4:])
    answer = await client.answer()
    assert (answer.body, answer.interim) == (b"POST /a body", [])


async def test_expect_with_the_body_already_here_needs_no_interim_answer(
    nursery: trio.Nursery,
) -> None:
    client = await (await serve(nursery, echo)).connect()
    await client.send(post("/a", b"body", "Expect: 100-continue"))
    answer = await client.answer()
    assert (answer.body, answer.interim) == (b"POST /a body", [])


async def test_an_app_that_refuses_by_the_head_asks_for_no_body(nursery: trio.Nursery) -> None:
    async def app(request: Request, reply: Reply) -> None:
        await reply.send(401, [], b"no")

    client = await (await serve(nursery, app)).connect()
    await client.send(post("/", b"body", "Expect: 100-continue")[:-4])
    answer = await client.answer()
    assert (answer.status, answer.interim) == (401, [])
    assert answer.headers["connection"] == "close"  # what comes next could be the body or not


def chunked_zeros(size: int) -> bytes:
    fields = ("Host: t", "Transfer-Encoding: chunked")
    return head("POST / HTTP/1.1", *fields) + b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))


@pytest.mark.parametrize(
    "request_bytes",
    [post("/", bytes(1 << 20)), chunked_zeros(101), chunked_zeros(1 << 20)],
    ids=["length", "chunked", "large-chunked"],
)
async def test_a_body_over_the_limit_gets_an_answer_that_can_be_read(
    nursery: trio.Nursery, tls: TLS | None, request_bytes: bytes
) -> None:
    client = await (await serve(nursery, echo, Limits(max_body=100), tls)).connect()
    await client.send(request_bytes)  # all of it, before reading
    answer = await client.answer()
    assert (answer.status, answer.body) == (413, b"body_too_large")
    assert answer.headers["connection"] == "close"
    assert await client.until_closed() == b""  # and no reset


async def test_a_body_just_over_the_limit_is_refused_and_dropped(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo, Limits(max_body=100))).connect()
    await client.send(post("/", bytes(101)) + get("/next"))
    assert (await client.answer()).status == 413
    assert (await client.answer()).body == b"GET /next "


@pytest.mark.parametrize(
    "request_bytes",
    [post("/", bytes(100)), chunked_zeros(100)],
    ids=["length", "chunked"],
)
async def test_a_body_at_the_limit_is_read(nursery: trio.Nursery, request_bytes: bytes) -> None:
    client = await (await serve(nursery, echo, Limits(max_body=100))).connect()
    await client.send(request_bytes)
    assert (await client.answer()).status == 200


async def test_a_body_that_nobody_read_is_not_the_next_request(nursery: trio.Nursery) -> None:
    asked = []

    async def app(request: Request, reply: Reply) -> None:
        asked.append(request.head.path)
        await reply.send(200, [], b"")

    client = await (await serve(nursery, app)).connect()
    await client.send(post("/a", get("/smuggled")) + get("/b"))
    answers = [await client.answer() for _ in range(2)]
    assert [a.headers for a in answers] == [{"content-length": "0"}] * 2
    await client.send(post("/c", b"body")[:-1])  # not whole, so what follows cannot be told
    assert (await client.answer()).headers["connection"] == "close"
    await client.send(get("/smuggled"))
    assert await client.until_closed() == b""
    assert asked == ["/a", "/b", "/c"]


async def send_for_ever(client: Peer) -> None:
    while True:
        await client.send(bytes(1 << 16))


async def test_a_client_that_sends_for_ever_after_a_refusal_is_cut(nursery: trio.Nursery) -> None:
    stage = await serve(nursery, echo, Limits(max_body=100))
    client = await stage.connect()
    started = trio.current_time()
    await client.send(head("POST / HTTP/1.1", "Host: t", "Content-Length: 999999999"))
    with pytest.raises(trio.BrokenResourceError):
        await send_for_ever(client)
    assert trio.current_time() - started < LINGER_SECONDS + 1


async def test_the_body_may_be_asked_for_twice(nursery: trio.Nursery) -> None:
    async def app(request: Request, reply: Reply) -> None:
        await reply.send(200, [], await request.body() + await request.body())

    client = await (await serve(nursery, app)).connect()
    await client.send(post("/", b"ab"))
    assert (await client.answer()).body == b"abab"


# Heads that are refused.


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (head("POST / HTTP/1.1", "Host: t", "Content-Length: 1", "Content-Length: 2"), 400),
        (head("BREW / HTTP/1.1", "Host: t"), 501),
        (head("GET / HTTP/2.0", "Host: t"), 505),
        (head("GET / HTTP/1.1", "Host: t", *["X: a"] * 200), 431),
    ],
    ids=["no-host", "two-lengths", "method", "version", "fields"],
)
async def test_a_refused_head_ends_the_connection(
    nursery: trio.Nursery, tls: TLS | None, request_bytes: bytes, status: int
) -> None:
    client = await (await serve(nursery, echo, tls=tls)).connect()
    await client.send(get("/first") + request_bytes + get("/smuggled"))
    assert (await client.answer()).body == b"GET /first "
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert await client.until_closed() == b""


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["open", "ended"])
async def test_a_head_over_the_limit_is_refused(nursery: trio.Nursery, end: bytes) -> None:
    client = await (await serve(nursery, echo, Limits(max_head=1000))).connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 1000 + end)
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert await client.until_closed() == b""


@pytest.mark.parametrize("looked_at", [True, False], ids=["answered", "at-once"])
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01 garbage\r\n\r\n",
        head("POST / HTTP/1.1", "Host: t", "Content-Length: 1", "Content-Length: 2"),
        head("POST / HTTP/1.1", "Host: t", "Content-Length: 101"),
        b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 1000,
    ],
    ids=["no-head", "two-lengths", "large-body", "long-head"],
)
async def test_a_client_that_resets_while_its_refusal_lingers_hurts_nobody(
    nursery: trio.Nursery, tls: TLS | None, garbage: bytes, looked_at: bool
) -> None:
    stage = await serve(nursery, echo, Limits(max_head=1000, max_body=100), tls)
    for _ in range(20):
        client = await stage.connect()
        await client.send(garbage)
        if looked_at:
            assert await client.more()
        client.reset()
    await until_empty(stage)
    client = await stage.connect()
    await client.send(get("/alive"))
    assert (await client.answer()).body == b"GET /alive "
    assert stage.reports == []


async def test_a_head_at_the_limit_is_read(nursery: trio.Nursery) -> None:
    request = get("/", "X: " + "a" * 900)
    limits = Limits(max_head=len(request) - len(b"\r\n\r\n"))
    client = await (await serve(nursery, echo, limits)).connect()
    await client.send(request + bytes(2000))
    assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "sent", [b"G", b"GET / HTTP/1.1\r\nHost: t\r\n"], ids=["one-byte", "almost-all"]
)
async def test_a_head_that_does_not_end_is_timed_out(
    nursery: trio.Nursery, tls: TLS | None, sent: bytes
) -> None:
    client = await (await serve(nursery, echo, Limits(head_timeout=0.05), tls)).connect()
    await client.send(sent)
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert await client.until_closed() == b""


async def test_a_head_in_drips_is_timed_out_as_a_whole(nursery: trio.Nursery) -> None:
    stage = await serve(nursery, echo, Limits(head_timeout=0.1))
    client = await stage.connect()

    async def drip() -> None:
        await client.send(b"GET / HTTP/1.1\r\nHost: t\r\nX: ")
        while True:  # far more often than the limit, each when the server has read the last
            await client.send(b"a")
            await trio.lowlevel.checkpoint()

    nursery.start_soon(drip)
    started = trio.current_time()
    assert await client.until(b" 408 ")
    assert trio.current_time() - started < 1
    nursery.cancel_scope.cancel()


# Connections that end.


async def test_an_idle_connection_is_closed_in_silence(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    client = await (await serve(nursery, echo, Limits(keep_alive=0.05), tls)).connect()
    await client.send(get())
    assert (await client.answer()).status == 200
    assert await client.until_closed() == b""


async def test_empty_lines_do_not_keep_a_connection(nursery: trio.Nursery) -> None:
    client = await (await serve(nursery, echo, Limits(keep_alive=0.05))).connect()
    await client.send(b"\r\n\r\n")
    assert await client.until_closed() == b""


async def test_the_idle_limit_does_not_bound_a_running_request(nursery: trio.Nursery) -> None:
    limits = Limits(keep_alive=0.02, head_timeout=0.02, stall=0.02)
    waited = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        await request.body()
        with trio.move_on_after(0.1):  # five times any limit
            await waited.wait()
        await reply.send(200, [], b"late")

    client = await (await serve(nursery, app, limits)).connect()
    request = post("/", b"body")
    await client.send(request[:-4])
    await client.send(request[-4:])
    assert (await client.answer()).body == b"late"


async def test_a_connection_over_the_limit_is_turned_away(nursery: trio.Nursery) -> None:
    stage = await serve(nursery, echo, Limits(max_connections=1))
    first = await stage.connect()
    await first.send(get())
    await first.answer()
    second = await stage.connect()
    answer = await second.answer()
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert await second.until_closed() == b""
    await first.send(get())  # the first one is served still
    assert (await first.answer()).status == 200
    await first.aclose()
    await until_empty(stage)
    third = await stage.connect()
    await third.send(get())
    assert (await third.answer()).status == 200


async def test_the_server_outlives_a_lack_of_file_descriptors(nursery: trio.Nursery) -> None:
    stage = await serve(nursery, echo)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = await stage.connect()
    await client.send(get())
    await client.answer()
    with socket.create_connection(("127.0.0.1", stage.port)) as waiting:  # not accepted yet
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with patience():
                while not stage.reports:
                    await trio.lowlevel.checkpoint()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert stage.reports[0].startswith("warn: cannot accept connections")
        waiting.setblocking(False)
        waiting.send(get("/late"))
        with patience():
            await trio.lowlevel.wait_readable(waiting)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200 ")
    await client.send(get())  # the one that was there is served still
    assert (await client.answer()).status == 200


@pytest.mark.parametrize("whole", [True, False], ids=["send", "stream"])
async def test_a_reader_that_stalls_is_cut(
    nursery: trio.Nursery, tls: TLS | None, whole: bool
) -> None:
    ended = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        try:
            if whole:
                await reply.send(200, [], bytes(BIG))
            await reply.start(200, [])
            while True:
                await reply.write(bytes(1 << 16))
        finally:
            ended.set()

    stage = await serve(nursery, app, Limits(stall=0.1), tls)
    client = await stage.connect()
    await client.send(get())
    await wait(ended)
    await until_empty(stage)
    assert stage.reports == []
    other = await stage.connect()  # and others are served
    await other.send(get())
    await other.until(b" 200 ")


async def test_a_body_that_stalls_is_refused(nursery: trio.Nursery) -> None:
    stage = await serve(nursery, echo, Limits(stall=0.05))
    client = await stage.connect()
    await client.send(post("/", b"body")[:-1])
    answer = await client.answer()
    assert (answer.status, answer.body) == (408, b"request_timeout")
    assert answer.headers["connection"] == "close"
    assert await client.until_closed() == b""
    assert stage.reports == []


async def test_a_body_in_drips_is_refused_as_a_stalled_one(nursery: trio.Nursery) -> None:
    """A byte now and then holds no connection: the stall's time must bring STALL_BYTES."""
    stage = await serve(nursery, echo, Limits(stall=0.1))
    client = await stage.connect()
    await client.send(head("POST / HTTP/1.1", "Host: t", f"Content-Length: {STALL_BYTES}"))

    async def drip() -> None:
        for _ in range(STALL_BYTES - 1):  # at the machine's pace that takes seconds
            await client.send(b"a")
            await trio.lowlevel.checkpoint()

    nursery.start_soon(drip)
    assert await client.until(b" 408 ")
    nursery.cancel_scope.cancel()


async def test_a_client_that_closes_inside_a_body_ends_the_request(nursery: trio.Nursery) -> None:
    raised: list[type[BaseException]] = []
    ended = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        try:
            await request.body()
        except WireError as e:
            raised.append(type(e))
            raise
        finally:
            ended.set()

    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(post("/", b"body")[:-1])
    await client.aclose()
    await wait(ended)
    await until_empty(stage)
    assert (raised, stage.reports) == ([WireError], [])


# Applications with bugs.


async def test_a_bug_is_answered_with_500_and_reported_and_the_server_lives(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    async def app(request: Request, reply: Reply) -> None:
        if request.head.path == "/bug":
            raise KeyError("secret")
        await reply.send(200, [], b"fine")

    stage = await serve(nursery, app, tls=tls)
    client = await stage.connect()
    await client.send(get("/bug"))
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert b"secret" not in answer.body
    assert await client.until_closed() == b""
    assert [report.split(":")[0] for report in stage.reports] == ["error"]
    other = await stage.connect()
    await other.send(get("/fine"))
    assert (await other.answer()).body == b"fine"


async def test_a_bug_of_a_connection_ends_it_and_not_the_server(nursery: trio.Nursery) -> None:
    """Outside of the app nothing is expected to raise; here the log does, once."""
    reports: list[str] = []

    def report(level: str, message: str, **_: object) -> None:
        reports.append(f"{level}: {message}")
        if len(reports) == 1:
            raise OSError("the log is closed")

    async def app(request: Request, reply: Reply) -> None:
        if request.head.path == "/bug":
            raise KeyError("bug")
        await echo(request, reply)

    server = Server(app, Limits(), report)
    sock = bind("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    await nursery.start(server.serve, [(sock, None)])
    client = await connect(nursery, port)
    await client.send(get("/bug"))
    assert await client.until_closed() == b""
    client = await connect(nursery, port)
    await client.send(get("/alive"))
    assert (await client.answer()).body == b"GET /alive "
    assert reports == [
        "error: request failed: KeyError('bug')",
        "error: connection failed: OSError('the log is closed')",
    ]


async def test_a_bug_inside_an_answer_breaks_it_off(nursery: trio.Nursery) -> None:
    async def app(request: Request, reply: Reply) -> None:
        await reply.start(200, [])
        await reply.write(b"half")
        raise ValueError

    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(get())
    assert (await client.until_closed()).endswith(b"4\r\nhalf\r\n")
    assert len(stage.reports) == 1


async def test_a_bug_in_a_task_of_the_app_is_a_bug_too(nursery: trio.Nursery) -> None:
    async def fail() -> None:
        raise ValueError

    async def app(request: Request, reply: Reply) -> None:
        async with trio.open_nursery() as own:
            own.start_soon(fail)

    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(get())
    assert (await client.answer()).status == 500
    assert len(stage.reports) == 1


# Clients that go while their request runs.


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_disconnect_cancels_the_app_within_100_ms(
    nursery: trio.Nursery, tls: TLS | None, way: str
) -> None:
    seconds = []
    for _ in range(5):
        app = Waiting()
        stage = await serve(nursery, app, tls=tls)
        client = await stage.connect()
        await client.send(get())
        await wait(app.began)
        left = trio.current_time()
        client.reset() if way == "reset" else await client.aclose()
        await wait(app.ended)
        seconds.append(app.seconds - left)
        assert app.cancelled
        await until_empty(stage)
    assert max(seconds) < 0.1


@pytest.mark.parametrize("probe", [b": still here\n\n", b""], ids=["probe", "no-probe"])
async def test_a_disconnect_inside_a_stream_ends_it(nursery: trio.Nursery, probe: bytes) -> None:
    ended = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        try:
            await reply.start(200, [], probe=probe)
            if probe:
                await trio.sleep_forever()
            while True:  # without a probe it is noticed by writing
                await reply.write(b"x")
                await trio.lowlevel.checkpoint()
        finally:
            ended.set()

    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(get())
    await client.until(b"\r\n\r\n")
    left = trio.current_time()
    await client.aclose()
    await wait(ended)
    assert trio.current_time() - left < 0.1
    await until_empty(stage)
    assert stage.reports == []


async def test_who_serves_sockets_itself_can_watch_too(nursery: trio.Nursery) -> None:
    app = Waiting()

    def report(level: str, message: str, **_: object) -> None:
        pytest.fail(f"{level}: {message}")

    server = Server(app, Limits(), report)
    nursery.start_soon(server.watch.run)
    ours, theirs = trio.socket.socketpair()
    nursery.start_soon(server.serve_socket, socket.socket(fileno=ours.detach()))
    with theirs:
        await theirs.send(get())
        await wait(app.began)
    await wait(app.ended)
    assert app.cancelled


async def test_a_client_that_half_closes_gets_its_answer(nursery: trio.Nursery) -> None:
    app = Waiting()
    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(get())
    await client.send_eof()
    assert await client.until(b"\r\n\r\n") == CONTINUE  # the server has looked whether it is there
    app.go.set()
    answer = await client.answer()
    assert (answer.status, answer.body) == (200, b"done")
    assert await client.until_closed() == b""
    assert not app.cancelled


async def test_a_client_that_half_closes_gets_its_stream(nursery: trio.Nursery) -> None:
    go = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        await reply.start(200, [], probe=b": here\n\n")
        await reply.write(b"first ")
        await go.wait()
        await reply.write(b"second")
        await reply.end()

    client = await (await serve(nursery, app)).connect()
    await client.send(get())
    await client.send_eof()
    parts = await client.until(b"8\r\n: here\n\n\r\n")
    go.set()
    client.unread = parts + client.unread
    assert (await client.answer()).body == b"first : here\n\nsecond"


async def test_a_half_closed_clients_answer_is_not_interrupted(nursery: trio.Nursery) -> None:
    sent = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        await reply.send(200, [], bytes(BIG))
        sent.set()

    client = await (await serve(nursery, app)).connect()
    await client.send(get())
    await client.send_eof()
    got = bytearray()
    looks = trio.current_time() + 0.2  # the server looks at its clients a few times
    with patience():
        while data := await client.stream.receive_some(
            4096 if trio.current_time() < looks else 1 << 16
        ):
            got += data
    head_bytes, _, body = bytes(got).partition(b"\r\n\r\n")
    assert head_bytes.startswith(b"HTTP/1.1 200 ")
    assert body.count(0) == len(body) == BIG
    await wait(sent)


async def test_nothing_follows_an_answer_while_its_app_still_works(nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        await reply.send(200, [], b"done")
        with trio.move_on_after(0.15):  # accounting; the server looks at its clients meanwhile
            await trio.sleep_forever()
        ended.set()

    client = await (await serve(nursery, app)).connect()
    await client.send(get())
    await client.send_eof()
    assert (await client.answer()).body == b"done"
    assert await client.until_closed() == b""
    await wait(ended)


async def test_watching_does_not_disturb_pipelining_clients(nursery: trio.Nursery) -> None:
    app = Waiting()
    client = await (await serve(nursery, app)).connect()
    await client.send(get() + get())
    await wait(app.began)
    with trio.move_on_after(0.12):  # two looks
        await app.ended.wait()
    app.go.set()
    for _ in range(2):
        answer = await client.answer()
        assert (answer.body, answer.interim) == (b"done", [])


# Drain.


async def drained(stage: Stage, seconds: float = PATIENCE) -> float:
    """Drain, and how long it took."""
    started = trio.current_time()
    with patience():
        await stage.server.drain(seconds)
        await stage.ended.wait()
    return trio.current_time() - started


async def test_drain_closes_idle_connections_and_the_listener(
    nursery: trio.Nursery, tls: TLS | None
) -> None:
    stage = await serve(nursery, echo, tls=tls)
    fresh, used = await stage.connect(), await stage.connect()
    await used.send(get())
    await used.answer()
    assert await drained(stage) < 1
    assert await fresh.until_closed() == b""
    assert await used.until_closed() == b""
    with pytest.raises(OSError, match="attempts to connect"):
        await stage.connect()


async def test_drain_lets_a_running_request_end(nursery: trio.Nursery, tls: TLS | None) -> None:
    app = Waiting()
    stage = await serve(nursery, app, tls=tls)
    client = await stage.connect()
    await client.send(get() + get("/pipelined"))
    await wait(app.began)
    nursery.start_soon(drained, stage)
    with patience():
        while not stage.server.draining:
            await trio.lowlevel.checkpoint()
    app.go.set()
    answer = await client.answer()
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")
    assert await client.until_closed() == b""
    await wait(stage.ended)


async def test_drain_lets_a_running_stream_end(nursery: trio.Nursery) -> None:
    began, go = trio.Event(), trio.Event()

    async def app(request: Request, reply: Reply) -> None:
        await reply.start(200, [])
        began.set()
        await go.wait()
        await reply.write(b"last")
        await reply.end()

    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(get())
    await wait(began)
    nursery.start_soon(drained, stage)
    with patience():
        while not stage.server.draining:
            await trio.lowlevel.checkpoint()
    go.set()
    assert (await client.answer()).body == b"last"
    assert await client.until_closed() == b""


async def test_drain_tells_requests_that_wait_on_purpose(nursery: trio.Nursery) -> None:
    app = Waiting()
    drains: list[bool] = []

    def on_drain() -> None:
        drains.append(stage.server.draining)
        app.go.set()

    stage = await serve(nursery, app, on_drain=on_drain)
    client = await stage.connect()
    await client.send(get())
    await wait(app.began)
    assert drains == []
    assert await drained(stage) < 1
    assert drains == [True]
    answer = await client.answer()
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")


async def test_drain_cuts_what_does_not_end_in_time(nursery: trio.Nursery) -> None:
    app = Waiting()
    stage = await serve(nursery, app)
    client = await stage.connect()
    await client.send(get())
    await wait(app.began)
    assert 0.05 <= await drained(stage, 0.05) < 1
    assert app.cancelled
    assert await client.until_closed() == b""


async def test_drain_does_not_wait_for_a_handshake_that_does_not_come(
    nursery: trio.Nursery, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    stage = await serve(nursery, echo, tls=(server_tls, client_tls))
    silent = await connect(nursery, stage.port)
    with patience():
        while not stage.server.connections:
            await trio.lowlevel.checkpoint()
    assert await drained(stage, 0.05) < min(1, HANDSHAKE_SECONDS)
    assert await silent.until_closed() == b""


async def test_cancelling_the_server_closes_everything(nursery: trio.Nursery) -> None:
    app = Waiting()
    async with trio.open_nursery() as own:
        stage = await serve(own, app)
        client = await connect(nursery, stage.port)
        await client.send(get())
        await wait(app.began)
        own.cancel_scope.cancel()
    assert (app.cancelled, stage.server.connections, stage.server.running) == (True, set(), set())
    assert await client.until_closed() == b""


# TLS, and what is not TLS.


async def test_plain_http_to_the_tls_port_does_not_hurt(
    nursery: trio.Nursery, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    stage = await serve(nursery, echo, tls=(server_tls, client_tls))
    plain = await connect(nursery, stage.port)
    await plain.send(get())
    assert b"HTTP" not in await plain.until_closed()
    client = await stage.connect()
    await client.send(get("/a"))
    assert (await client.answer()).body == b"GET /a "
    assert stage.reports == []


@pytest.mark.parametrize("way", ["reset", "end"])
async def test_a_client_that_goes_inside_the_handshake_does_not_hurt(
    nursery: trio.Nursery, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, way: str
) -> None:
    stage = await serve(nursery, echo, tls=(server_tls, client_tls))
    peer = await connect(nursery, stage.port)
    await peer.send(b"\x16\x03\x01")
    peer.reset() if way == "reset" else await peer.send_eof()
    client = await stage.connect()
    await client.send(get("/a"))
    assert (await client.answer()).body == b"GET /a "


def test_bind_takes_a_free_port_of_one_address() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", 0) as second:
        assert first.getsockname()[0] == "127.0.0.1"
        assert first.getsockname() != second.getsockname()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", first.getsockname()[1])


# Changed while it runs.


async def test_a_kept_connection_has_the_app_and_the_limits_of_each_requests_beginning(
    nursery: trio.Nursery,
) -> None:
    old = Waiting()
    stage = await serve(nursery, old)
    client = await stage.connect()
    await client.send(post("/1", b"12345678"))
    with patience():
        await old.began.wait()
    stage.server.app, stage.server.limits = echo, Limits(max_body=4)
    stage.server.judge = HeadJudge()
    old.go.set()
    assert (await client.answer()).status == 200
    await client.send(post("/2", b"1234"))
    assert (await client.answer()).body == b"POST /2 1234"
    await client.send(post("/3", b"12345678"))
    assert (await client.answer()).status == 413


async def test_a_connection_that_cannot_be_set_up_hurts_nobody() -> None:
    """As when the kernel has no memory to watch one more."""
    reports: list[str] = []
    server = Server(echo, Limits(), lambda level, message, **_: reports.append(message))
    server.watch._epoll.close()
    ours, theirs = socket.socketpair()
    with ours, patience():
        await server.serve_socket(theirs)
        assert ours.recv(1) == b""
    assert "connection failed" in reports[0]
    assert not server.connections
