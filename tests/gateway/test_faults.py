"""The table of faults: what a provider does, what the client sees, what is charged, what goes on.

Every case ends with no lease held and no call left. On a mock clock.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.http import Answer, until
from tests.support.node import HELLO, proxy
from tests.support.upstream import (
    DONE,
    JSON,
    PROBE,
    SSE,
    Step,
    answers,
    breaks_off,
    chunk,
    completion,
    event,
    fails,
    hangs,
    provider,
    refuses_to_speak,
    streams,
    usage_chunk,
)
from tokenomics.dialects.sse import MAX_EVENT
from tokenomics.net.connection import Reply, Request
from tokenomics.net.server import bind
from tokenomics.net.wire import WireError

TIMEOUT = 6
WHOLE = json.dumps(completion()).encode()  # with a usage of 7 and 3
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing resets


@pytest.fixture
def clock() -> MockClock:
    """Waits pass at once, but only after sockets had a moment to speak."""
    return MockClock(autojump_threshold=0.002)


def raw(*parts: bytes, reset: bool = False, then_hang: bool = False) -> Step:
    """Bytes that need not be HTTP, and the end of the connection, by a reset or not."""

    async def step(_request: Request, reply: Reply) -> None:
        connection: Any = reply._connection
        for part in parts:
            await connection.write(part)
        await trio.sleep(0.1)  # a reset may overtake what was sent
        if then_hang:
            await trio.sleep_forever()
        if reset:
            connection._wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise WireError("cut by the script")

    return step


def head(length: int, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, length)


async def slow(request: Request, reply: Reply) -> None:
    await trio.sleep(TIMEOUT - 1)
    await answers()(request, reply)


def stalls(*parts: bytes, kind: Sequence[tuple[bytes, bytes]] = tuple(SSE)) -> Step:
    async def step(_request: Request, reply: Reply) -> None:
        await reply.start(200, list(kind), probe=PROBE)
        for part in parts:
            await reply.write(part)
        await trio.sleep_forever()

    return step


@dataclass(frozen=True)
class Case:
    """What the script does; then status and code that the client sees (for a stream that began, the
    code of its last event); what is charged; how many requests came; all with so many `retries`."""

    name: str
    script: tuple[Step, ...]
    status: int
    code: str = ""
    charged: str = "nothing"  # or "estimate", or "usage": what the provider told
    came: int = 1
    retries: int = 0
    stream: bool = False
    logged: str | None = field(default=None)  # the code in the log, if it is another


AFTER_3 = [(b"retry-after", b"3")]
INVALID, LATE = "upstream_invalid", "upstream_timeout"
ERROR = event({"error": {"message": "overloaded", "code": "own"}})
HUGE = b'data: {"choices": [{"delta": {"content": "' + b"x" * MAX_EVENT

CASES = (
    Case("closes before the head", (refuses_to_speak,), 502, INVALID),
    Case("resets before the head", (raw(reset=True),), 502, INVALID),
    Case("resets, then answers", (raw(reset=True), answers()), 200, "", "usage", 2, 1),
    Case("resets in the head", (raw(b"HTTP/1.1 200 O", reset=True),), 502, INVALID),
    Case("resets in the body", (raw(head(99), b'{"a', reset=True),), 502, INVALID, "estimate"),
    Case("in the body, with retries", (raw(head(99), b"{"),), 502, INVALID, "estimate", 1, 3),
    Case("stalls before the head", (hangs,), 504, LATE, "estimate"),
    Case("stalls in the head", (raw(b"HTTP/1.1 200 O", then_hang=True),), 504, LATE, "estimate"),
    Case("stalls in the body", (stalls(b'{"a', kind=JSON),), 504, LATE, "estimate"),
    Case("is slow to begin", (slow,), 200, "", "usage"),
    Case("speaks no HTTP", (raw(b"\x00\xff\r\n\r\n"),), 502, INVALID),
    Case("says no JSON", (answers(b"<html>Sorry</html>"),), 502, INVALID, "estimate"),
    Case("says less than announced", (raw(head(999), WHOLE),), 502, INVALID, "estimate"),
    Case("says more than announced", (raw(head(len(WHOLE)), WHOLE + b"x"),), 200, "", "usage"),
    Case("asks to wait", (fails(429, headers=AFTER_3),), 429, "from_provider"),
    Case("asks to wait, answers", (fails(429, headers=AFTER_3), answers()), 200, "", "usage", 2, 1),
    Case("fails, answers", (fails(500), answers()), 200, "", "usage", 2, 1),
    Case("fails again and again", (fails(500),), 500, "from_provider", came=3, retries=2),
    Case("is refused elsewhere", (raw(b"HTTP/1.1 302 Found\r\n\r\n"),), 502, INVALID),
    # Streams. Once the head has gone out, the status is 200 and nothing is sent again.
    Case("resets before the stream", (raw(reset=True),), 502, INVALID, stream=True),
    Case(
        "fails, streams",
        (fails(503), streams()),
        200,
        "",
        "usage",
        came=2,
        retries=1,
        stream=True,
    ),
    Case(
        "breaks off in the stream",
        (breaks_off(chunk("Hel")), streams()),
        200,
        INVALID,
        "estimate",
        retries=3,
        stream=True,
    ),
    Case(
        "resets in the stream",
        (raw(head(9999, b"text/event-stream"), chunk("Hel"), reset=True),),
        200,
        INVALID,
        "estimate",
        stream=True,
    ),
    Case("stalls in the stream", (stalls(chunk("Hel")),), 200, LATE, "estimate", stream=True),
    Case("stalls before an event", (stalls(),), 200, LATE, "estimate", stream=True),
    Case(
        "lacks its terminator",
        (streams(chunk("Hel"), chunk(None, "stop")),),
        200,
        INVALID,
        "estimate",
        stream=True,
    ),
    Case("ends before an event", (streams(b": hm\n\n"),), 200, INVALID, "estimate", stream=True),
    Case(
        "says error and breaks off",
        (breaks_off(chunk("Hel"), ERROR),),
        200,
        "own",
        "estimate",
        stream=True,
        logged=INVALID,
    ),
    Case(
        "says error and ends well",
        (streams(chunk("Hel"), ERROR, DONE),),
        200,
        "own",
        "estimate",
        stream=True,
        logged=INVALID,
    ),
    Case(
        "says error after its usage",
        (streams(chunk("Hel"), usage_chunk(), ERROR, DONE),),
        200,
        "own",
        "usage",
        stream=True,
        logged=INVALID,
    ),
    Case(
        "sends a huge event",
        (streams(chunk("Hel"), HUGE, DONE),),
        200,
        INVALID,
        "estimate",
        stream=True,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_the_client_sees_and_what_is_charged(
    tmp_path: Path, clock: MockClock, case: Case
) -> None:
    policy = {
        "base_key_env": "OPENAI_API_KEY",
        "timeout": TIMEOUT,
        "max_tokens": 10_000_000,
        "retry": {"max_retries": case.retries},
    }
    async with provider(*case.script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({**HELLO, "stream": case.stream})
        row = await gateway.row()
        account = gateway.account()
        await until(lambda: not upstream.running, "the end of all calls")
    assert (answer.status, code_of(answer), len(upstream.seen)) == (
        case.status,
        case.code,
        case.came,
    )
    settled = account.settled.get("total", 0)
    told = (row.get("input_tokens", 0), row.get("output_tokens", 0))
    if case.charged == "nothing":
        assert (settled, told) == (0, (0, 0))
    elif case.charged == "usage":
        assert (settled, told) == (10, (7, 3))
    else:
        assert settled > 0
        assert told in ((0, 0), (told[0], settled - told[0]))
    assert (account.parallel, account.held) == (0, {})
    passed = case.code == "from_provider"
    logged = case.logged if case.logged is not None else case.code
    assert row.get("code", "") == ("" if passed else logged)


def code_of(answer: Answer) -> str:
    """The code of an error, be it the answer or its last event; "" if it is whole and well. A
    stream that failed has no clean end, unless the provider gave it one."""
    if answer.headers["content-type"] != "text/event-stream":
        return answer.code if answer.status >= 400 else ""
    errors = [json.loads(said)["error"]["code"] for said in answer.events if '"error"' in said]
    assert len(errors) <= 1
    if "[DONE]" in answer.events:
        assert answer.whole
    else:
        assert not answer.whole
        assert errors
    return str(errors[0]) if errors else ""


async def test_a_refused_connection_charges_nothing(tmp_path: Path, clock: MockClock) -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    policy = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 1000}
    async with proxy(tmp_path, f"http://127.0.0.1:{port}", policy) as gateway:
        answer = await gateway.post()
        account = gateway.account()
    assert (answer.status, answer.code) == (502, "upstream_unreachable")
    assert (account.settled.get("total", 0), account.parallel, account.held) == (0, 0, {})
