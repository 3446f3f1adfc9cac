"""What limits cost a request: one admission and one settlement, in each home of accounts.

  .venv/bin/python -m tests.bench.limits_cost
  .venv/bin/python -m tests.bench.limits_cost --requests 20000 --parallel 1,50

The token has what a policy of a team has: a rate of requests and one of tokens over a minute, a
budget per month and one in all. `process` counts in this process, `workers` in memory that
processes share (here it is one), `redis` in a redis-server of its own, which shares the cores.
`parallel` is how many tasks go on at a time. Each is measured `--repeats` times, and the best of
each figure is shown: what else the machine does can only make it slower. `server` is the CPU of
redis-server for both calls together.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.bench.redis import server_seconds
from tests.support.redis import PROGRAM, redis_server
from tokenomics.config.settings import Redis, Seconds
from tokenomics.policy.limits import Bill, Lease, Want
from tokenomics.policy.meters import REQUESTS, TOKENS, Limit, Limits
from tokenomics.usage import Usage
from tokenomics.usage.process import ProcessUsage
from tokenomics.usage.redis import RedisUsage
from tokenomics.usage.share import Share
from tokenomics.usage.shared import SharedUsage, create

ACCOUNT = "ab" * 32
ENDLESS = 10**12
LIMITS = Limits(
    10_000,
    [
        Limit("requests in 60 s", "requests/60/sliding", REQUESTS, ENDLESS, 60.0),
        Limit("tokens in 60 s", "tokens/60/sliding", TOKENS, ENDLESS, 60.0),
        Limit("month", "month/UTC", TOKENS, ENDLESS, period="month"),
        Limit("total", "total", TOKENS, ENDLESS),
    ],
)
WANT, BILL = Want(200, 1000), Bill(700)


@dataclass(frozen=True, slots=True)
class Home:
    """Where accounts are, and the server that keeps them, if one does."""

    usage: Usage
    server: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request, in µs: CPU here and in the server, and time from its begin to its end."""

    here_us: float
    server_us: float
    wall_us: float

    def best(self, other: Cost) -> Cost:
        """The better of each figure."""
        return Cost(
            min(self.here_us, other.here_us),
            min(self.server_us, other.server_us),
            min(self.wall_us, other.wall_us),
        )


@asynccontextmanager
async def homes(folder: Path) -> AsyncIterator[dict[str, Home]]:
    """Each home, by its name; Redis only where there is a server."""
    descriptor = create(1)
    found = {
        "process": Home(ProcessUsage(folder / "usage", print)),
        "workers": Home(SharedUsage(descriptor, 0, 1)),
    }
    try:
        if not PROGRAM:
            print("bench: no redis-server; build/test installs one", file=sys.stderr)
            yield found
            return
        async with redis_server() as server, trio.open_nursery() as nursery:
            up = trio.Event()
            settings = Redis(addr=server.addr, timeout=Seconds(5))
            share = Share(folder / "share", print)
            usage = RedisUsage(settings, share, lambda _level, _message: up.set())
            nursery.start_soon(usage.run)
            await up.wait()
            assert server.popen is not None, "it runs"
            yield {**found, "redis": Home(usage, server.popen.pid)}
            nursery.cancel_scope.cancel()
    finally:
        os.close(descriptor)


async def measure(home: Home, requests: int, parallel: int) -> Cost:
    """So many requests by so many tasks."""
    each = max(1, requests // parallel)

    async def work() -> None:
        for _ in range(each):
            lease = await home.usage.admit(ACCOUNT, LIMITS, WANT)
            assert isinstance(lease, Lease), lease
            await home.usage.settle(ACCOUNT, lease, BILL)

    there = server_seconds(home.server) if home.server else 0.0
    here, began = time.process_time(), time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(parallel):
            nursery.start_soon(work)
    took, spent = time.perf_counter() - began, time.process_time() - here
    there = (server_seconds(home.server) if home.server else 0.0) - there
    done = each * parallel
    return Cost(spent / done * 1e6, there / done * 1e6, took / each * 1e6)


async def run(args: argparse.Namespace) -> None:
    """Print a row for each home and parallelism."""
    print(f"{'home':8}{'parallel':>9}{'CPU µs':>9}{'server µs':>11}{'wall µs':>9}")
    with tempfile.TemporaryDirectory(prefix="tokenomics-bench-") as folder:
        async with homes(Path(folder)) as them:
            for name, home in them.items():
                for parallel in args.parallel:
                    await measure(home, args.requests // 10, parallel)
                    found = await measure(home, args.requests, parallel)
                    for _ in range(args.repeats - 1):
                        found = found.best(await measure(home, args.requests, parallel))
                    figures = f"{found.here_us:9.1f}{found.server_us:11.1f}{found.wall_us:9.1f}"
                    print(f"{name:8}{parallel:9}{figures}", flush=True)


def main() -> int:
    """Measure and print."""
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parallel", type=_numbers, default=[1, 50])
    trio.run(run, parser.parse_args())
    return 0


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
