"""Measure the proxy against the same upstream called directly. One command, one table:

  .venv/bin/python tests/bench/run.py
  .venv/bin/python tests/bench/run.py --cases small,100KB --seconds 1
  .venv/bin/python tests/bench/run.py --pyz dist/tokenomics.pyz --json
  .venv/bin/python tests/bench/run.py --profile

Latency is measured with one connection, one request at a time; requests/s and CPU per request with
16 that ask again as soon as they are answered. The proxy has one core, this process and the
upstream another. Each case is measured `--repeats` times and the best of each figure is shown: what
else the machine does can only make it slower. `queued` is the part of the time for which others had
the proxy's core: where it is more than 1 %, the p99 is theirs.

Cases: `small` a short chat; `100KB` a long one with a short answer; `stream` an answer of 200
events in bursts; `drip` an answer of 50 events about 1 ms apart, whose latency is that of each
event from the upstream's send to the client, and whose requests/s are the upstream's pace.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import pstats
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from os import sched_setaffinity
from pathlib import Path

from load import CASES, BadAnswer, Bound, Case, Connection, latencies, request, saturate
from world import Proxy, Trouble, cores, cpu_seconds, proxy, queued_seconds, upstream

CONNECTIONS = 16
WARM_UP = Bound(seconds=1.0, requests=50)
PROFILE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Side:
    """One way to the upstream: its latency in µs, its rate, and the CPU a proxy spent on it."""

    p50: float
    p99: float
    rate: float
    cpu_us: float = 0.0
    busy: float = 0.0  # the part of a core that a proxy used
    queued: float = 0.0  # the part of the time that a proxy waited for its core

    def best(self, other: Side) -> Side:
        """The better of each figure."""
        return Side(
            min(self.p50, other.p50),
            min(self.p99, other.p99),
            max(self.rate, other.rate),
            min(self.cpu_us, other.cpu_us),
            max(self.busy, other.busy),
            min(self.queued, other.queued),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table."""

    case: Case
    direct: Side
    through: Side

    def row(self) -> list[str]:
        """Its cells."""
        direct, through = self.direct, self.through
        pairs = [
            (direct.p50, direct.p99),
            (through.p50, through.p99),
            (through.p50 - direct.p50, through.p99 - direct.p99),
        ]
        rates = ["paced"] * 2 if self.case.paced else [f"{direct.rate:.0f}", f"{through.rate:.0f}"]
        latency = [f"{p50:.0f} / {p99:.0f}" for p50, p99 in pairs]
        return [self.case.name, *latency, *rates, *self._cpu()]

    def _cpu(self) -> list[str]:
        side = self.through
        return [f"{side.cpu_us:.0f}", f"{side.busy:.0%}", f"{side.queued:.0%}"]


COLUMNS = (
    "case",
    "direct p50/p99",
    "through p50/p99",
    "added p50/p99 µs",
    "direct req/s",
    "through req/s",
    "CPU µs/req",
    "busy",
    "queued",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    cases = [CASES[name] for name in args.cases]
    bound = Bound(args.seconds, args.requests)
    try:
        if args.profile:
            _profile(cases[0], bound)
            return 0
        with _both(args.pyz.resolve() if args.pyz else None) as (direct, proxied):
            results = [_measure(case, direct, proxied, bound, args.repeats) for case in cases]
    except (Trouble, BadAnswer, OSError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    if args.json:
        found = {
            r.case.name: {"direct": asdict(r.direct), "through": asdict(r.through)} for r in results
        }
        print(json.dumps(found, indent=2))
    else:
        print(_table([list(COLUMNS), *(result.row() for result in results)]))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--cases", type=_names, default=list(CASES), help=",".join(CASES))
    parser.add_argument("--seconds", type=float, default=1.0, help="longest time of a measurement")
    parser.add_argument("--requests", type=int, default=20_000, help="most requests of one")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each figure")
    parser.add_argument("--pyz", type=Path, help="measure this file, not the source tree")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--profile", action="store_true", help="run the first case under cProfile instead"
    )
    args = parser.parse_args(arguments)
    if args.profile and args.pyz:
        parser.error("--profile is for the source tree")
    return args


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    return names


@contextlib.contextmanager
def _both(pyz: Path | None, profile: Path | None = None) -> Iterator[tuple[int, Proxy]]:
    """The port of an upstream, and a proxy before it."""
    for_proxy, for_others = cores()
    sched_setaffinity(0, for_others)
    gc.disable()  # a collection here would show as latency there
    with (
        tempfile.TemporaryDirectory(prefix="tokenomics-bench-") as folder,
        upstream(for_others) as port,
        proxy(Path(folder), port, for_proxy, pyz, profile) as proxied,
    ):
        yield port, proxied


def _measure(case: Case, direct: int, proxied: Proxy, bound: Bound, repeats: int) -> Result:
    found: list[tuple[Side, Side]] = []
    for _ in range(repeats):  # in turn, so that a busy moment meets both
        found.append(
            (
                _side(case, direct, "", bound),
                _side(case, proxied.port, proxied.token, bound, proxied.pid),
            )
        )
    one, other = found[0]
    for again, other_again in found[1:]:
        one, other = one.best(again), other.best(other_again)
    return Result(case, one, other)


def _side(case: Case, port: int, token: str, bound: Bound, pid: int | None = None) -> Side:
    data = request(case, port, token)
    with Connection(port) as connection:
        latencies(connection, case, data, WARM_UP)
        waits = latencies(connection, case, data, bound)
    hundredths = statistics.quantiles(waits, n=100)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(port)) for _ in range(CONNECTIONS)]
        saturate(connections, data, WARM_UP)
        before = _clocks(pid)
        done, seconds = saturate(connections, data, bound)
        cpu, queued = (now - then for now, then in zip(_clocks(pid), before, strict=True))
    return Side(
        p50=hundredths[49],
        p99=hundredths[98],
        rate=done / seconds,
        cpu_us=cpu / done * 1e6,
        busy=cpu / seconds,
        queued=queued / seconds,
    )


def _clocks(pid: int | None) -> tuple[float, float]:
    return (cpu_seconds(pid), queued_seconds(pid)) if pid else (0.0, 0.0)


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return "\n".join(lines)


def _profile(case: Case, bound: Bound) -> None:
    """Where the proxy's own time goes. The profiler costs more than what it measures, most for
    small functions: read the order, not the sums."""
    with tempfile.NamedTemporaryFile(prefix="tokenomics-bench-") as file:
        with _both(None, Path(file.name)) as (_, proxied), contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(Connection(proxied.port)) for _ in range(CONNECTIONS)
            ]
            data = request(case, proxied.port, proxied.token)
            done, _ = saturate(connections, data, bound)
        print(f"{case.name}: {done} requests")
        pstats.Stats(file.name).strip_dirs().sort_stats("tottime").print_stats(PROFILE_ROWS)


if __name__ == "__main__":
    sys.exit(main())
