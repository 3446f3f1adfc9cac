"""Measure the proxy against the same upstream called directly. One command, one table:

  .venv/bin/python tests/bench/run.py
  .venv/bin/python tests/bench/run.py --cases small,tls --seconds 1 --repeats 1
  .venv/bin/python tests/bench/run.py --pyz dist/tokenomics.pyz --json
  .venv/bin/python tests/bench/run.py --scaling            (see scaling.py)
  .venv/bin/python tests/bench/run.py --profile
  .venv/bin/python tests/bench/crowd.py                    (many connections: see there)

All of it takes about three minutes. Latency is in µs, with one connection and one request at a
time; requests/s and CPU per request are with 16 connections (1MB, drip: 4) that ask again as soon
as they are answered. The proxy has one core, this process and the upstream another. CPU is what the
scheduler gave to the proxy's processes, system calls included. Each case is measured `--repeats`
times and the best of each figure is shown: what else the machine does can only make it slower.
`queued` is the part of the time for which the proxy waited for its core: what its own threads wait
for each other counts, but where it is more than 1 %, the p99 is mostly others'.

Where nginx is installed, it passes the same requests to the same upstream from the proxy's core,
with one worker and kept connections: `nginx CPU` is its µs per request, `ratio` the proxy's to it.

Cases: `small` a short chat; `100KB` a long one with a short answer; `1MB` one with a picture
inline; `stream` an answer of 200 events in bursts; `drip` an answer of 50 events 1 to 2 ms apart,
whose latency is that of each event from the upstream's send to the client, and whose requests/s are
the upstream's pace; `tls` the small one over a kept TLS connection; `new` and `tls-new` the small
one over a connection of its own. There is no TLS in `direct`, so what that adds is in `added`.
`CPU also`: the CPU per event where an answer has some (its request's part is in it), the difference
to another case where TLS or connections are what is asked about.
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
from os import sched_setaffinity
from pathlib import Path

import nginx
import scaling
from cases import CASES, Case, request
from figures import Result, Side, report
from load import BadAnswer, Bound, Connection, latencies, saturate
from world import Setup, Target, Trouble, clocks, cores, proxy, upstream

WARM_UP = Bound(seconds=1.0, requests=50)
PROFILE_ROWS = 40
WORKERS = 2  # of --scaling


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    cases = [CASES[name] for name in args.cases]
    bound = Bound(args.seconds, args.requests)
    try:
        if args.profile:
            _profile(cases[0], bound)
        elif args.scaling:
            found = scaling.measure(args.pyz, args.workers or WORKERS, args.seconds, args.repeats)
            print(json.dumps(found.as_json(), indent=2) if args.json else found.report())
        else:
            _compare(cases, bound, args)
    except (Trouble, BadAnswer, OSError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--cases", type=_names, default=list(CASES), help=",".join(CASES))
    parser.add_argument("--seconds", type=float, default=1.0, help="longest time of a measurement")
    parser.add_argument("--requests", type=int, default=20_000, help="most requests of one")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each figure")
    parser.add_argument("--pyz", type=_file, help="measure this file, not the source tree")
    parser.add_argument(
        "--workers", type=int, help="serve with so many, on all cores (default: as it comes)"
    )
    parser.add_argument("--no-nginx", action="store_true", help="leave nginx out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--scaling", action="store_true", help=f"one worker against --workers ({WORKERS}) instead"
    )
    parser.add_argument(
        "--profile", action="store_true", help="run the first case under cProfile instead"
    )
    args = parser.parse_args(arguments)
    if args.profile and (args.pyz or args.workers or args.scaling):
        parser.error("--profile is for one process of the source tree")
    return args


def _file(text: str) -> Path:
    return Path(text).resolve()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    return names


def _compare(cases: Sequence[Case], bound: Bound, args: argparse.Namespace) -> None:
    """The table of the cases."""
    for_proxy, for_others = cores()
    setup = Setup(
        for_proxy | for_others if args.workers else for_proxy, args.pyz, None, args.workers
    )
    program = None if args.no_nginx else nginx.find()
    if program is None:
        why = "left out" if args.no_nginx else "not installed"
        print(f"bench: nginx is {why}: there is nothing to compare CPU with", file=sys.stderr)
    with _targets(setup, for_proxy, for_others, program) as targets:
        results = [_measure(case, targets, bound, args.repeats) for case in cases]
    if args.json:
        by_name = {result.case.name: result for result in results}
        out = {name: result.as_json(by_name) for name, result in by_name.items()}
        print(json.dumps(out, indent=2))
    else:
        print(report(results))


@contextlib.contextmanager
def _targets(
    setup: Setup, for_proxy: set[int], for_others: set[int], program: str | None = None
) -> Iterator[list[Target]]:
    """An upstream, a proxy before it, and nginx before it if there is one."""
    sched_setaffinity(0, for_others)
    gc.disable()  # a collection here would show as latency there
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenomics-bench-"))
        folder = Path(name)
        port = stack.enter_context(upstream(for_others)).port
        proxied = stack.enter_context(proxy(folder, port, setup))
        targets = [Target(port), proxied]
        if program:
            plain = nginx.plain_proxy(program, folder, port, for_proxy, proxied)
            targets.append(stack.enter_context(plain))
        yield targets


def _measure(case: Case, targets: Sequence[Target], bound: Bound, repeats: int) -> Result:
    best = [_side(case, target, bound) for target in targets]
    for _ in range(repeats - 1):  # in turn, so that a busy moment meets all
        best = [one.best(_side(case, t, bound)) for one, t in zip(best, targets, strict=True)]
    direct, through, *plain = best
    return Result(case, direct, through, plain[0] if plain else None)


def _open(case: Case, target: Target) -> Connection:
    if case.tls and target.tls_port:
        return Connection(target.tls_port, tls=True)
    return Connection(target.port)


def _side(case: Case, target: Target, bound: Bound) -> Side:
    data = request(case, target.port, target.token)
    with _open(case, target) as connection:
        latencies(connection, case, data, WARM_UP)
        waits = latencies(connection, case, data, bound)
    hundredths = statistics.quantiles(waits, n=100)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_open(case, target)) for _ in range(case.connections)]
        saturate(connections, case, data, WARM_UP)
        before = clocks(target.pid) if target.pid else (0.0, 0.0)
        done, seconds = saturate(connections, case, data, bound)
        after = clocks(target.pid) if target.pid else before
    cpu, queued = (now - then for now, then in zip(after, before, strict=True))
    return Side(
        p50=hundredths[49],
        p99=hundredths[98],
        rate=done / seconds,
        cpu_us=cpu / done * 1e6,
        busy=cpu / seconds,
        queued=queued / seconds,
    )


def _profile(case: Case, bound: Bound) -> None:
    """Where the proxy's own time goes. The profiler costs more than what it measures, most for
    small functions: read the order, not the sums."""
    for_proxy, for_others = cores()
    with tempfile.NamedTemporaryFile(prefix="tokenomics-bench-") as file:
        setup = Setup(for_proxy, profile=Path(file.name))
        with (
            _targets(setup, for_proxy, for_others) as (_, proxied),
            contextlib.ExitStack() as stack,
        ):
            connections = [
                stack.enter_context(_open(case, proxied)) for _ in range(case.connections)
            ]
            data = request(case, proxied.port, proxied.token)
            done, _ = saturate(connections, case, data, bound)
        print(f"{case.name}: {done} requests")
        pstats.Stats(file.name).strip_dirs().sort_stats("tottime").print_stats(PROFILE_ROWS)


if __name__ == "__main__":
    sys.exit(main())
