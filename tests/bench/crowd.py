"""Measure what many clients cost the proxy that do next to nothing. One command, one table:

  .venv/bin/python tests/bench/crowd.py
  .venv/bin/python tests/bench/crowd.py --idle 2000 --streams 200 --loris 200 --seconds 2
  .venv/bin/python tests/bench/crowd.py --pyz dist/tokenomics.pyz --json

Three crowds, one after the other, each before a fresh proxy: `idle connections`, kept ones that
have done a request each; `slow streams`, whose upstream sends an event a second; `slow heads`,
clients that send one byte of a head a second, until `server.head_timeout` (30 s) ends them. All of
it takes about a minute. The proxy has one core, clients and upstream another.

For each: how long it took to open them (the clients' work is in it); the proxy's memory before and
after (resident, without what the kernel keeps for sockets) and what that is per connection; the CPU
that the proxy takes while they are there and nothing else happens; and the latency of a small
request on a kept connection, 200 a second, before and meanwhile: p50 / p99 / max in ms. `ended` are
the connections that the proxy closed.

Each stream costs the proxy two files, everything else one; a crowd that the limit of open files
(`ulimit -Hn`) doesn't allow is made smaller, and the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cases import request
from crowds import SMALL, Idle, Loris, Streams, latency
from figures import table
from load import BadAnswer, Connection
from world import Setup, Target, Trouble, clocks, cores, memory_bytes, proxy, upstream

SPARE_FILES = 500  # the proxy's own, its kept upstream connections, and the clients' own
SETTLE_SECONDS = 1.0  # until what opening a crowd caused is over
PAUSE_SECONDS = 0.005  # between two requests or two looks at a crowd
WARM_UP_REQUESTS = 300


@dataclass(frozen=True, slots=True)
class Waits:
    """Latencies in milliseconds."""

    p50: float
    p99: float
    max: float

    def cell(self) -> str:
        """For the table."""
        return f"{self.p50:.2f} / {self.p99:.2f} / {self.max:.1f}"


@dataclass(frozen=True, slots=True)
class Found:
    """What one crowd costs."""

    name: str
    wanted: int
    count: int
    opening_seconds: float
    memory_before: int  # bytes
    memory_after: int
    cpu_before: float  # of a core, with nothing to do
    cpu_meanwhile: float
    before: Waits
    meanwhile: Waits
    ended: int

    @property
    def kb_each(self) -> float:
        """What one of the crowd takes of the proxy's memory."""
        return (self.memory_after - self.memory_before) / 1024 / self.count

    def row(self) -> list[str]:
        """Its cells."""
        memory = [f"{size / (1 << 20):.0f}" for size in (self.memory_before, self.memory_after)]
        return [
            self.name,
            str(self.count),
            f"{self.opening_seconds:.1f}",
            " / ".join(memory),
            f"{self.kb_each:.1f}",
            f"{self.cpu_before * 1000:.1f} / {self.cpu_meanwhile * 1000:.1f}",
            self.before.cell(),
            self.meanwhile.cell(),
            str(self.ended),
        ]


COLUMNS = [
    "crowd",
    "count",
    "opened in s",
    "MB before/after",
    "KB each",
    "CPU ms/s before/with",
    "ms before: p50/p99/max",
    "ms meanwhile",
    "ended",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    crowds: list[tuple[type[Idle], int]] = [
        (Idle, args.idle),
        (Streams, args.streams),
        (Loris, args.loris),
    ]
    for_proxy, for_others = cores()
    os.sched_setaffinity(0, for_others)
    gc.disable()  # a collection here would show as latency there
    files = _raise_file_limit()
    setup = Setup(
        for_proxy | for_others if args.workers else for_proxy, args.pyz, None, args.workers
    )
    found: list[Found] = []
    try:
        for crowd, wanted in crowds:
            if wanted:
                with _both(setup, for_others) as target:
                    found.append(_measure(crowd, target, wanted, files, args.seconds))
    except (Trouble, BadAnswer, OSError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps([{**asdict(one), "kb_each": one.kb_each} for one in found], indent=2))
    else:
        print(table([COLUMNS, *(one.row() for one in found)]))
        for one in found:
            if one.count < one.wanted:
                print(f"{one.name}: {one.count}, not {one.wanted}, for {files} files may be open")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections, 0 for none")
    parser.add_argument("--streams", type=int, default=1_000, help="slow streams, 0 for none")
    parser.add_argument("--loris", type=int, default=1_000, help="slow heads, 0 for none")
    parser.add_argument("--seconds", type=float, default=4.0, help="time of a measurement")
    parser.add_argument(
        "--pyz", type=lambda text: Path(text).resolve(), help="measure this file, not the source"
    )
    parser.add_argument("--workers", type=int, help="serve with so many, on all cores")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _raise_file_limit() -> int:
    """How many files this process, and with it each that it starts, may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def _both(setup: Setup, for_others: set[int]) -> Iterator[Target]:
    """A proxy with an upstream behind it."""
    with (
        tempfile.TemporaryDirectory(prefix="tokenomics-bench-") as folder,
        upstream(for_others) as provider,
        proxy(Path(folder), provider.port, setup) as proxied,
    ):
        yield proxied


def _measure(kind: type[Idle], target: Target, wanted: int, files: int, seconds: float) -> Found:
    assert target.pid is not None, "a proxy has one"
    count = max(1, min(wanted, (files - SPARE_FILES) // kind.files))
    data = request(SMALL, target.port, target.token)
    with Connection(target.port) as probe, contextlib.closing(kind(target)) as crowd:
        for _ in range(WARM_UP_REQUESTS):
            latency(probe, data)
        before = _waits(probe, data, seconds / 2, crowd.tick)
        cpu_before = _cpu(target.pid, seconds / 4, crowd.tick)
        memory_before = memory_bytes(target.pid)
        begun = time.monotonic()
        crowd.open(count)
        opening = time.monotonic() - begun
        _cpu(target.pid, SETTLE_SECONDS, crowd.tick)
        memory_after = memory_bytes(target.pid)
        cpu = _cpu(target.pid, seconds, crowd.tick)
        meanwhile = _waits(probe, data, seconds, crowd.tick)
        ended = crowd.ended
    return Found(
        name=kind.name,
        wanted=wanted,
        count=count,
        opening_seconds=opening,
        memory_before=memory_before,
        memory_after=memory_after,
        cpu_before=cpu_before,
        cpu_meanwhile=cpu,
        before=before,
        meanwhile=meanwhile,
        ended=ended,
    )


def _cpu(pid: int, seconds: float, tick: Callable[[], None]) -> float:
    """The part of a core that a process takes for some time."""
    before, begun = clocks(pid)[0], time.monotonic()
    while time.monotonic() < begun + seconds:
        tick()
        time.sleep(PAUSE_SECONDS)
    return (clocks(pid)[0] - before) / (time.monotonic() - begun)


def _waits(probe: Connection, data: bytes, seconds: float, tick: Callable[[], None]) -> Waits:
    found: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found.append(latency(probe, data))
        tick()
        time.sleep(PAUSE_SECONDS)
    hundredths = statistics.quantiles(found, n=100, method="inclusive")
    return Waits(hundredths[49], hundredths[98], max(found))


if __name__ == "__main__":
    sys.exit(main())
