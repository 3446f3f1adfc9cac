"""The processes that are measured: an upstream, and a proxy with one token, in a folder of its own.

Each is a context manager that ends what it started, by its process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cases import MODELS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_SECONDS = 30.0  # the one file unpacks itself on its first start
END_SECONDS = 10.0
CPUCLOCK_SCHED = 2
MAX_CONNECTIONS = 50_000  # more than any crowd: what is measured is what they cost
# Every limit is checked, and none is ever reached.
POLICY = {
    "default_provider": "openai",
    "models": list(MODELS),
    "max_tokens": 10**14,
    "rate_limit": {"rules": [{"requests": 10**12, "window": "1m"}]},
}


class Trouble(Exception):
    """A process did not do what it should."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that takes requests. `tls_port` is None where TLS is not spoken; `pid` is that of
    the process whose CPU counts, None where none does."""

    port: int
    tls_port: int | None = None
    token: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """How a proxy is run: its cores; the one file instead of the source tree; where cProfile
    writes when it ends; how many workers, None for what is the default."""

    core: set[int]
    pyz: Path | None = None
    profile: Path | None = None
    workers: int | None = None


def cores() -> tuple[set[int], set[int]]:
    """(the proxy's core, the core of everything else): the same ones where there is only one."""
    free = sorted(os.sched_getaffinity(0))
    return ({free[0]}, {free[1]}) if len(free) > 1 else (set(free), set(free))


def clocks(pid: int) -> tuple[float, float]:
    """(seconds that a process and all below it ran, seconds that their main threads were ready to
    and did not, because others had the core). A process that has ended no longer counts.

    The first is clock_getcpuclockid(3), which Python has for threads only: ~pid << 3 | 2 is what
    glibc makes. In nanoseconds where /proc/PID/stat has ticks, ended threads included. The second:
    https://docs.kernel.org/scheduler/sched-stats.html
    """
    ran = queued = 0.0
    for one in family(pid):
        with contextlib.suppress(OSError):
            ran += time.clock_gettime(~one << 3 | CPUCLOCK_SCHED)
            queued += int(Path(f"/proc/{one}/schedstat").read_text().split()[1]) / 1e9
    return ran, queued


def memory_bytes(pid: int) -> int:
    """What a process and all below it have in memory; pages they share count once for each."""
    pages = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    numbers = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()]
    parents = {number: int(stat[1]) for number in numbers if (stat := _stat(number))}
    found = [pid]
    for member in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == member]
    return found


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold spaces; none if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@contextlib.contextmanager
def running(
    command: Sequence[str], core: set[int], **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A child process on some cores, ended on leaving."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)  # inherited, so that it holds for what the child starts too
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **options)
    finally:
        os.sched_setaffinity(0, ours)
    try:
        yield process
    finally:
        members = family(process.pid)
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for member in members[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, 9)


@contextlib.contextmanager
def upstream(core: set[int]) -> Iterator[Target]:
    """A provider."""
    command = [sys.executable, str(HERE / "upstream.py")]
    with running(command, core, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None, "it is a pipe"
        port = process.stdout.readline().strip()
        if not port:
            raise Trouble("the upstream did not start")
        yield Target(int(port), pid=process.pid)


@contextlib.contextmanager
def proxy(folder: Path, upstream_port: int, setup: Setup) -> Iterator[Target]:
    """A proxy before an upstream, with one token; its certificate is in `certs` of the folder."""
    program = [sys.executable, *([str(setup.pyz)] if setup.pyz else ["-m", "tokenomics"])]
    profiler = ["-m", "cProfile", "-o", str(setup.profile)] if setup.profile else []
    config = folder / "config.yaml"  # JSON is YAML
    port, tls_port = free_ports(2)
    settings = {
        "dir": str(folder / "state"),
        "server": {
            "host": "127.0.0.1",
            "http_port": port,
            "https_port": tls_port,
            "max_connections": MAX_CONNECTIONS,
            "tls": {"cert_dir": str(folder / "certs")},
        },
        "providers": {"openai": {"upstream_url": f"http://127.0.0.1:{upstream_port}"}},
    }
    config.write_text(json.dumps(settings))
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "OPENAI_API_KEY": "sk-bench-0123456789abcdef0123456789abcdef",
        "PYTHONPATH": str(ROOT),
    }
    token = _make_token([*program, "--config", str(config)], folder, environment)
    workers = ["--workers", str(setup.workers)] if setup.workers else []
    command = [*program[:1], *profiler, *program[1:], "--config", str(config), "serve", *workers]
    with (
        open(folder / "stderr", "w+", encoding="utf-8") as errors,
        open(os.devnull, "w", encoding="utf-8") as null,
        running(
            command, setup.core, cwd=folder, env=environment, stdout=null, stderr=errors
        ) as process,
    ):
        wait_for("the proxy", process, tls_port, errors)  # the last thing it opens
        yield Target(port, tls_port, token, process.pid)


def _make_token(program: list[str], folder: Path, environment: dict[str, str]) -> str:
    made = subprocess.run(
        [*program, "--json", "token", "create", "--policy", json.dumps(POLICY)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if made.returncode:
        raise Trouble(f"no token could be made: {made.stderr}")
    token: str = json.loads(made.stdout)["token"]
    return token


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in socks]


def wait_for(name: str, process: subprocess.Popen[str], port: int, errors: IO[str]) -> None:
    """Wait until a child listens. Raises Trouble with what it wrote to `errors`."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    errors.seek(0)
    raise Trouble(f"{name} did not start: {errors.read()}")
