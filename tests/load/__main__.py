"""Load that tries to get past limits, and what it came to.

    python -m tests.load                       # every scenario on every home
    python -m tests.load --home redis --scenario budget-stream

Homes: `process` (one proxy), `workers` (one, of two), `redis` (three). What a budget came to is the
provider's own count; overshoot must be 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import trio

from tests.load.proxies import HOMES, Proxies, all_ended, proxies
from tests.load.upstream import Calls
from tests.support.http import Exchange, exchange
from tests.support.upstream import provider

CLIENTS = 1000
BUDGETED = 100  # of them, by what each costs
AT_ONCE = 250  # connections of the clients; all wait at the gate of a proxy


@dataclass
class Load:
    """What became of the clients."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


async def request(
    running: Proxies, load: Load, document: dict[str, Any], *, leaves: float = 0.0
) -> str:
    """One request to some proxy; with a probability of `leaves` the client hangs up."""
    port = random.choice(running.ports)
    fields = [("authorization", f"Bearer {running.token}"), ("content-type", "application/json")]
    body = json.dumps(document).encode()
    begun = trio.current_time()
    try:
        async with exchange(port, "POST", "/v1/chat/completions", fields, body) as call:
            status = await _answered(call, leaves)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError, AssertionError):
        status = "cut"
    load.statuses[status] += 1
    load.seconds.append(trio.current_time() - begun)
    return status


async def _answered(call: Exchange, leaves: float) -> str:
    if random.random() < leaves:
        with trio.move_on_after(random.uniform(0, 0.1)):
            await call.head()
            await call.rest()
        return "left"
    await call.head()
    answer = await call.rest()
    if answer.status != 200:
        return f"{answer.status} {answer.code}"
    return "200 by length" if b'"length"' in answer.body else "200"


async def crowd(
    running: Proxies, load: Load, document: dict[str, Any], *, leaves: float = 0.0
) -> None:
    """All clients at once; who is told to wait for others tries again, as SDKs do."""
    gate = trio.CapacityLimiter(AT_ONCE)

    async def client() -> None:
        for _ in range(4):
            async with gate:
                status = await request(running, load, document, leaves=leaves)
            if not status.startswith("429 rate"):
                return
            await trio.sleep(random.uniform(0.2, 1))

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)


Scenario = Callable[[Path, str], Awaitable[dict[str, Any]]]


def budget(*, stream: bool, leaves: float = 0.0, kills: bool = False) -> Scenario:
    """CLIENTS ask for what a budget has for BUDGETED of them."""

    async def run(folder: Path, home: str) -> dict[str, Any]:
        calls, load = Calls(), Load()
        limit = BUDGETED * (calls.input + calls.output)
        document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say fifty words"}]}
        document |= {"stream": stream} if stream else {"max_tokens": calls.output}
        policy = {"budget": {"tokens": limit, "period": "month"}}
        async with (
            provider(calls.step) as upstream,
            proxies(folder, home, upstream, policy) as running,
        ):
            async with trio.open_nursery() as nursery:
                if kills:
                    nursery.start_soon(_kill_some, running)
                await crowd(running, load, document, leaves=leaves)
                nursery.cancel_scope.cancel()
            await all_ended(upstream)
            left = await running.settled(90 if kills else 20)
        return _sum(calls, load, limit, left)

    return run


async def _kill_some(running: Proxies) -> None:
    """Kill a proxy now and then, and start it again."""
    while True:
        await trio.sleep(random.uniform(0.5, 1.5))
        number = random.randrange(len(running.ports))
        running.processes[number].kill()
        await running.start(number)


def _sum(calls: Calls, load: Load, limit: int, left: Any) -> dict[str, Any]:
    (counted,) = left["limits"]
    return {
        "statuses": dict(load.statuses),
        "limit": limit,
        "provider": calls.total,
        "overshoot": max(calls.total - limit, 0),
        "charged": counted["used"],
        "held": counted["held"],
        "p50": round(load.percentile(0.5), 3),
        "p99": round(load.percentile(0.99), 3),
    }


async def rate(folder: Path, home: str) -> dict[str, Any]:
    """60 requests in any 3 s, asked for 400 times in 8 s."""
    calls, load = Calls(pause=0), Load()
    policy = {"rate_limit": {"rules": [{"requests": 60, "window": "3s"}]}}
    document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        provider(calls.step) as upstream,
        proxies(folder, home, upstream, policy) as running,
        trio.open_nursery() as nursery,
    ):
        for _ in range(400):
            nursery.start_soon(request, running, load, document)
            await trio.sleep(0.02)
    most = max(sum(t <= u < t + 3 for u in calls.began) for t in calls.began)
    return {"statuses": dict(load.statuses), "most in 3 s": most, "passed": len(calls.began)}


async def parallel(folder: Path, home: str) -> dict[str, Any]:
    """5 at a time, with clients that hang up; and at the end 5 must still fit."""
    calls, load = Calls(pause=0.002), Load()
    document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    policy = {"rate_limit": {"max_parallel": 5}}
    async with provider(calls.step) as upstream, proxies(folder, home, upstream, policy) as running:
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(lambda: request(running, load, document, leaves=0.3))
                await trio.sleep(0.01)
        await all_ended(upstream)
        left = await running.settled(20)
        last = Load()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(request, running, last, document)
    return {
        "statuses": dict(load.statuses),
        "most at once": calls.most_running,
        "running at the end": left["running"],
        "then": dict(last.statuses),
    }


SCENARIOS: dict[str, Scenario] = {
    "budget-whole": budget(stream=False),
    "budget-stream": budget(stream=True),
    "budget-leaving": budget(stream=True, leaves=0.4),
    "budget-kills": budget(stream=True, leaves=0.2, kills=True),
    "rate": rate,
    "parallel": parallel,
}


def main(words: Sequence[str] | None = None) -> None:
    """Run scenarios and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", choices=HOMES, action="append")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    args = parser.parse_args(words)
    os.environ.setdefault("SHIV_ROOT", tempfile.gettempdir())  # where the built file unpacks itself
    for home in args.home or HOMES:
        for name in args.scenario or SCENARIOS:
            with tempfile.TemporaryDirectory(prefix="tokenomics-load-") as folder:
                told = trio.run(SCENARIOS[name], Path(folder), home)
            print(f"{home:8} {name:15} {json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()
