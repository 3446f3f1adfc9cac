"""What more workers give: requests/s of the small case, with one worker and with several.

Nothing is pinned: the proxy, the load and the upstream share the cores. The load is wrk and the
upstream nginx with an answer in its config, where they are installed, so that most of the cores is
the proxy's; else they are the benchmark's own, which cost as much as the proxy does, and the ratio
says little.

With one worker the proxy has a core and the rest fits on another, so the rate is 1 / (its CPU per
request). With two workers on two cores it can be no more than 2 / (its CPU + the others' CPU), so
two workers never give twice the rate here: `ceiling` is the ratio at which every core would be busy
all the time. A ratio near it says that the workers do not wait for each other; the CPU per request
of both says what sharing costs. On machines with cores to spare the ratio itself is what counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nginx
from cases import CASES, HEADERS, PATH, request
from figures import table
from load import Bound, Connection, saturate
from world import Setup, Target, Trouble, clocks, family, proxy, upstream

CASE = CASES["small"]
CONNECTIONS = 64  # so that each worker gets about its share
WARM_UP_SECONDS = 0.5
WRK_SPARE_SECONDS = 20.0
_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[%(body)s]==]
%(headers)s
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"done": %%d, "seconds": %%.6f, "failed": %%d}\\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What so many workers did; CPU in µs per request, `used` the part of all cores."""

    workers: int
    processes: int
    rate: float
    cpu_us: float
    others_us: float
    used: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """One worker against several."""

    one: Run
    several: Run
    cores: int
    load: str

    @property
    def ratio(self) -> float:
        """How much more the several did."""
        return self.several.rate / self.one.rate

    @property
    def ceiling(self) -> float:
        """What `ratio` would be with no core idle."""
        return self.ratio / self.several.used

    def report(self) -> str:
        """A table, and a line with the ratio."""
        rows = [["workers", "processes", "req/s", "CPU µs/req", "others' CPU", "cores used"]]
        for run in (self.one, self.several):
            figures = [f"{run.rate:.0f}", f"{run.cpu_us:.0f}", f"{run.others_us:.0f}"]
            rows.append([str(run.workers), str(run.processes), *figures, f"{run.used:.0%}"])
        return (
            f"{table(rows)}\nratio {self.ratio:.2f}, ceiling {self.ceiling:.2f}"
            f" ({self.cores} cores, {self.load}, {CONNECTIONS} connections)"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {**asdict(self), "ratio": self.ratio, "ceiling": self.ceiling}


def measure(pyz: Path | None, workers: int, seconds: float, repeats: int) -> Scaling:
    """The best of some measurements of each. Raises Trouble, BadAnswer or OSError."""
    count = len(os.sched_getaffinity(0))
    program, wrk = nginx.find(), shutil.which("wrk")
    one = _run(pyz, None, program, wrk, seconds, repeats)
    several = _run(pyz, workers, program, wrk, seconds, repeats)
    load = f"load by {'wrk' if wrk else 'Python'}, upstream in {'nginx' if program else 'Python'}"
    return Scaling(one, several, count, load)


def _run(
    pyz: Path | None,
    workers: int | None,
    program: str | None,
    wrk: str | None,
    seconds: float,
    repeats: int,
) -> Run:
    everywhere = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenomics-bench-"))
        folder = Path(name)
        if program:
            answers = stack.enter_context(nginx.canned(program, folder, everywhere))
        else:
            answers = stack.enter_context(upstream(everywhere))
        setup = Setup(everywhere, pyz, workers=workers)
        proxied = stack.enter_context(proxy(folder, answers.port, setup))
        _ask(wrk, folder, proxied, WARM_UP_SECONDS)
        found = [
            _once(wrk, folder, proxied, answers, seconds, workers or 1) for _ in range(repeats)
        ]
    return max(found, key=lambda run: run.rate)


def _once(
    wrk: str | None, folder: Path, proxied: Target, answers: Target, seconds: float, workers: int
) -> Run:
    assert proxied.pid is not None, "a proxy has one"
    processes = len(family(proxied.pid))
    before = clocks(proxied.pid)[0], _spent(answers)
    done, took = _ask(wrk, folder, proxied, seconds)
    cpu, rest = clocks(proxied.pid)[0] - before[0], _spent(answers) - before[1]
    used = (cpu + rest) / took / len(os.sched_getaffinity(0))
    return Run(workers, processes, done / took, cpu / done * 1e6, rest / done * 1e6, used)


def _spent(answers: Target) -> float:
    """CPU seconds of the upstream, of this process, and of every wrk."""
    assert answers.pid is not None, "an upstream has one"
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = time.process_time() + children.ru_utime + children.ru_stime
    return ours + clocks(answers.pid)[0]


def _ask(wrk: str | None, folder: Path, proxied: Target, seconds: float) -> tuple[int, float]:
    """(requests, seconds) of a load that never pauses."""
    if wrk:
        return _ask_by_wrk(wrk, folder, proxied, seconds)
    data = request(CASE, proxied.port, proxied.token)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(proxied.port)) for _ in range(CONNECTIONS)]
        return saturate(connections, CASE, data, Bound(seconds, 10**9))


def _ask_by_wrk(wrk: str, folder: Path, proxied: Target, seconds: float) -> tuple[int, float]:
    headers = [line.split(": ", 1) for line in HEADERS.format(token=proxied.token).splitlines()]
    lua = "\n".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers)
    script = folder / "wrk.lua"
    script.write_text(_SCRIPT % {"body": CASE.body.decode(), "headers": lua}, encoding="utf-8")
    whole = max(1, round(seconds))  # wrk knows whole seconds only
    url = f"http://127.0.0.1:{proxied.port}{PATH}"
    ran = subprocess.run(
        [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{whole}s", "-s", str(script), url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=whole + WRK_SPARE_SECONDS,
        check=False,
    )
    if ran.returncode:
        raise Trouble(f"wrk failed: {ran.stderr}{ran.stdout}")
    found = json.loads(ran.stdout.splitlines()[-1])
    if found["failed"] or not found["done"]:
        raise Trouble(f"wrk: {found['failed']} of {found['done']} requests failed")
    return found["done"], found["seconds"]
