"""What asking Redis costs: CPU of this process per call, and calls a second.

  .venv/bin/python -m tests.bench.redis
  .venv/bin/python -m tests.bench.redis --calls 50000 --parallel 1,50,500

A redis-server of its own is started, and shares the cores with this process. `PING` is the least
that a call can cost; `script` counts in three keys with ten arguments and returns four numbers,
which is about what the admission of a request does; `parallel` is how many tasks call, each again
as soon as it is answered. Each is measured `--repeats` times and the best of each figure is shown:
what else the machine does can only make it slower. `server` is the CPU of redis-server per call.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.support.redis import PROGRAM, RedisServer, redis_server
from tokenomics.config.settings import Redis
from tokenomics.net.redis import RedisClient, Script

COUNT = Script("""
local now = redis.call('TIME')
for i = 1, #KEYS do redis.call('HINCRBY', KEYS[i], 'held', ARGV[i]) end
return {1, tonumber(ARGV[1]), tonumber(now[1]), tonumber(now[2])}
""")
KEYS = ["{token}:a", "{token}:b", "{token}:c"]
ARGUMENTS = list(range(10))
_TICK = os.sysconf("SC_CLK_TCK")

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call: µs of CPU here and in the server; and calls a second."""

    here_us: float
    server_us: float
    rate: float

    def best(self, other: Cost) -> Cost:
        """The better of each figure."""
        return Cost(
            min(self.here_us, other.here_us),
            min(self.server_us, other.server_us),
            max(self.rate, other.rate),
        )


async def measure(server: RedisServer, call: Call, calls: int, parallel: int) -> Cost:
    """So many calls by so many tasks."""
    each = max(1, calls // parallel)

    async def work() -> None:
        for _ in range(each):
            await call()

    assert server.popen is not None, "it runs"
    there, here, began = server_seconds(server.popen.pid), time.process_time(), time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(parallel):
            nursery.start_soon(work)
    took, spent = time.perf_counter() - began, time.process_time() - here
    done = each * parallel
    there = server_seconds(server.popen.pid) - there
    return Cost(spent / done * 1e6, there / done * 1e6, done / took)


def server_seconds(pid: int) -> float:
    """CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


async def run(args: argparse.Namespace) -> None:
    """Print a row for each case."""
    print(f"{'call':8}{'parallel':>9}{'CPU µs':>9}{'server µs':>11}{'calls/s':>9}")
    async with redis_server() as server, trio.open_nursery() as nursery:
        up = trio.Event()
        client = RedisClient(Redis(addr=server.addr), up.set, lambda _: None)
        nursery.start_soon(client.run)
        await up.wait()
        cases: dict[str, Call] = {
            "PING": lambda: client.call("PING"),
            "script": lambda: client.script(COUNT, KEYS, ARGUMENTS),
        }
        for name, call in cases.items():
            for parallel in args.parallel:
                await measure(server, call, args.calls // 10, parallel)
                found = await measure(server, call, args.calls, parallel)
                for _ in range(args.repeats - 1):
                    found = found.best(await measure(server, call, args.calls, parallel))
                figures = f"{found.here_us:9.1f}{found.server_us:11.1f}{found.rate:9.0f}"
                print(f"{name:8}{parallel:9}{figures}", flush=True)
        nursery.cancel_scope.cancel()


def main() -> int:
    """Measure and print."""
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parallel", type=_numbers, default=[1, 50])
    args = parser.parse_args()
    if not PROGRAM:
        print("bench: no redis-server; build/test installs one", file=sys.stderr)
        return 1
    trio.run(run, args)
    return 0


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
