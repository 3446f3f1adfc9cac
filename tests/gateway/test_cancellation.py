"""A request cancelled at each await of its road, one after the other: nothing of it is left."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import PATIENCE, exchange, until
from tests.support.node import HELLO, POLICY, Proxy, proxy
from tests.support.upstream import (
    DONE,
    SSE,
    Step,
    Upstream,
    answers,
    breaks_off,
    chunk,
    completion,
    fails,
    provider,
    streams,
    usage_chunk,
)
from tokenomics.net.connection import Reply, Request
from tokenomics.net.server import Server

POLICY_WITH_ALL: dict[str, Any] = {
    **POLICY,
    "max_tokens": 10**9,
    "rate_limit": {"rules": [{"tokens": 10**9, "window": "1m"}], "max_parallel": 5},
    "retry": {"max_retries": 1, "fallbacks": ["gpt-4o-mini"]},
}
# More than the sockets between proxy and provider take at once, so that sending waits too.
LONG = {"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * 2_500_000}]}
MOST_STEPS = 300  # a request that takes more has not ended


def dribbles(*events: bytes) -> Step:
    """A stream whose events arrive one by one: between two of them everybody else runs."""

    async def step(_request: Request, reply: Reply) -> None:
        await reply.start(200, SSE)
        for part in events:
            await reply.write(part)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
        await reply.end()

    return step


CASES: dict[str, tuple[dict[str, Any], list[Step]]] = {
    "whole": (HELLO, [answers()]),
    "whole-in-parts": (HELLO, [breaks_off(json.dumps(completion()).encode(), head=[])]),
    "streamed": ({**HELLO, "stream": True}, [streams()]),
    "streamed-long": (
        {**HELLO, "stream": True},
        [streams(*[chunk("word " * 50) for _ in range(20)], usage_chunk(), DONE)],
    ),
    "streamed-one-by-one": (
        {**HELLO, "stream": True},
        [dribbles(*[chunk("word")] * 8, usage_chunk(), DONE)],
    ),
    "retried": (HELLO, [fails(503), answers()]),
    "fallen-back": (HELLO, [fails(503), fails(503), answers()]),
    "refused-upstream": (HELLO, [fails(400)]),
    "broken-stream": ({**HELLO, "stream": True}, [breaks_off(chunk("Hel"))]),
    "long": (LONG, [answers()]),
}


class CancelAt(trio.abc.Instrument):
    """Cancels the connection of a server's one client before the nth step of its task."""

    def __init__(self, server: Server, step: int) -> None:
        self._server = server
        self._left = step
        self.done = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        frame = task.coro.cr_frame
        if frame is None or frame.f_locals.get("self") is not self._server:
            return
        wire = frame.f_locals.get("wire")
        for connection in [c for c in self._server.connections if c._wire is wire]:
            self._left -= 1
            if self._left == 0:
                self.done = True
                connection.scope.cancel()


async def ask_and_cancel(gateway: Proxy, document: dict[str, Any], step: int) -> bool:
    """Send a request whose connection is cancelled at a step; whether it lived to see it."""
    killer = CancelAt(gateway.server, step)
    trio.lowlevel.add_instrument(killer)
    try:
        with trio.fail_after(PATIENCE):
            body = json.dumps(document).encode()
            fields = [("authorization", f"Bearer {gateway.token}"), ("connection", "close")]
            try:
                path = "/v1/chat/completions"
                async with exchange(gateway.port, "POST", path, fields, body) as call:
                    while await call.stream.receive_some(65536):
                        pass
            except trio.BrokenResourceError:
                pass  # the proxy closed while the request was being sent
    finally:
        trio.lowlevel.remove_instrument(killer)
    return killer.done


def tasks() -> int:
    """Tasks of this run, trio's own and the test's among them."""
    return trio.lowlevel.current_statistics().tasks_living


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def left(gateway: Proxy, upstream: Upstream) -> dict[str, int]:
    """What a request could leave behind, counted."""
    account = gateway.account()
    server = upstream.server
    assert server is not None
    return {
        "client connections": len(gateway.server.connections),
        "watched": len(gateway.server.watch),
        "parallel": account.parallel,
        "held": sum(account.held.values()),
        "calls": upstream.running + len(server.running),
        "tasks": tasks() - len(server.connections),  # each kept connection has a task there
        "descriptors": descriptors() - 2 * len(server.connections),  # and two ends
    }


async def settled(look: Callable[[], dict[str, int]], wanted: dict[str, int]) -> None:
    """Wait for what is counted to be what it was."""
    try:
        await until(lambda: look() == wanted, "nothing left")
    except AssertionError:
        assert look() == wanted


@pytest.mark.parametrize("case", CASES)
async def test_a_request_cancelled_at_each_await_leaves_nothing(tmp_path: Path, case: str) -> None:
    document, steps = CASES[case]
    async with provider(*steps) as upstream, proxy(tmp_path, upstream, POLICY_WITH_ALL) as gateway:
        await ask_and_cancel(gateway, HELLO, MOST_STEPS)  # so that everything is there
        await gateway.idle()
        upstream.script[:] = list(steps)
        wanted = left(gateway, upstream)
        for step in range(1, MOST_STEPS):
            upstream.script[:] = list(steps)
            cancelled = await ask_and_cancel(gateway, document, step)
            await settled(lambda: left(gateway, upstream), wanted)
            if not cancelled:
                break
    assert step > 3, "there are awaits to cancel"
    assert step < MOST_STEPS - 1, "the last request ran to its end"
