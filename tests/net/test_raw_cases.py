"""The table of raw requests against a running server, each row fed in several ways."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from tests.net.peers import Answer, Peer, Stage, get, patience, serve
from tests.net.raw_cases import LIMITS, ROWS, Row, Status
from tokenomics.errors import Refusal
from tokenomics.net.connection import Limits, Reply, Request

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PIECE = 1000  # bytes; rows that are longer than this arrive in such pieces and not byte by byte
TRAILING = get("/trailing")
AFTER = get("/after")

# whole: in one send. remembered: the same on a connection of a server that has seen the row.
# bytes: one byte a send. trailing: with a request behind it in the same send.
FEEDINGS = ["whole", "remembered", "bytes", "trailing"]


class Echo:
    """An application that reads the body, echoes what it saw, and keeps it."""

    def __init__(self) -> None:
        self.saw: list[bytes] = []

    async def __call__(self, request: Request, reply: Reply) -> None:
        head = request.head
        try:
            body = await request.body()
        except Refusal as e:
            await reply.send(e.status, [], e.code.encode())
            return
        target = f"{head.path}?{head.query}" if head.query else head.path
        self.saw.append(f"{head.method} {target} ".encode() + body)
        await reply.send(200, [], self.saw[-1])


async def feed(client: Peer, data: bytes, feeding: str) -> None:
    """Send bytes; a server that has closed meanwhile is no failure, its answer tells."""
    size = max(len(data), 1)
    if feeding == "bytes":
        size = PIECE if len(data) > PIECE else 1
    try:
        for start in range(0, len(data), size):
            await client.send(data[start : start + size])
            await trio.lowlevel.checkpoint()  # the server reads it before the next comes
    except trio.BrokenResourceError:
        assert feeding == "bytes"  # what is sent at once is taken


async def until_closed(client: Peer, feeding: str) -> bytes:
    """What comes until the end, which is a clean one unless bytes were still being sent."""
    try:
        return await client.until_closed()
    except trio.BrokenResourceError:
        assert feeding == "bytes"
        return client.unread


async def exchange(client: Peer, row: Row, feeding: str) -> list[Answer]:
    """Send a row and read its answers."""
    trailing = TRAILING if feeding == "trailing" else b""
    interims: list[int] = []
    if row.rest:
        await feed(client, row.sent, feeding)
        before = [await client.answer() for _ in row.statuses[:-1]]
        assert await client.until(b"\r\n\r\n") == CONTINUE
        interims.append(100)
        await feed(client, row.rest + trailing, feeding)
        answers = [*before, await client.answer()]
    else:
        await feed(client, row.sent + trailing, feeding)
        if row.eof:
            await client.send_eof()
        methods = row.methods or ("GET",) * len(row.statuses)
        answers = [await client.answer(method) for method in methods]
    interims += [status for answer in answers for status in answer.interim]
    if row.interims is not None:
        assert interims == [100] * row.interims
    elif feeding != "bytes":
        assert interims == []  # the body is there: nothing to wait for
    return answers


def fits(statuses: list[int], allowed: tuple[Status, ...]) -> bool:
    """Whether each status is the one, or one of those, that a row names."""
    pairs = zip(statuses, allowed, strict=True)
    return all(s == a if isinstance(a, int) else s in a for s, a in pairs)


async def check(stage: Stage, app: Echo, row: Row, feeding: str) -> None:
    """One row on a connection of its own."""
    app.saw.clear()
    client = await stage.connect()
    answers = await exchange(client, row, feeding)
    statuses = [answer.status for answer in answers]
    assert fits(statuses, row.statuses), f"{statuses}, {answers[-1].body!r}"
    if row.saw is not None:
        assert tuple(app.saw[: len(row.saw)]) == row.saw
    if row.closed:
        assert await until_closed(client, feeding) == b""
        assert app.saw == list(row.saw or ())  # and nothing behind it
        if answers and not row.eof:
            assert answers[-1].headers["connection"] == "close"
        return
    assert "close" not in [answer.headers.get("connection") for answer in answers]
    if feeding != "trailing":
        await client.send(AFTER)
    after = await client.answer()
    assert (after.status, after.body) == (200, app.saw[-1])
    assert after.body == (b"GET /trailing " if feeding == "trailing" else b"GET /after ")
    if row.saw is not None:
        assert len(app.saw) == len(row.saw) + 1


@pytest.mark.parametrize("feeding", FEEDINGS)
@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
async def test_a_raw_request(nursery: trio.Nursery, row: Row, feeding: str) -> None:
    if feeding == "trailing" and row.eof:
        return  # nothing follows an end
    app = Echo()
    stage = await serve(nursery, app, LIMITS)
    with patience():
        for _ in range(2 if feeding == "remembered" else 1):
            await check(stage, app, row, feeding)
    assert stage.reports == []


def test_every_row_has_its_own_id_that_names_a_rule() -> None:
    ids = Counter(row.id for row in ROWS)
    assert [id for id, times in ids.items() if times > 1] == []
    assert [id for id in ids if not id.startswith(("RFC", "contract-"))] == []
    assert len(ids) >= 170


def test_the_limits_of_the_contract() -> None:
    assert Limits() == Limits(64 << 10, 32 << 20, 30.0, 75.0, 60.0, 10_000)
