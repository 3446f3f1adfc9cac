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

from load import CASES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_SECONDS = 30.0  # the one file unpacks itself on its first start
END_SECONDS = 10.0
# Every limit is checked, and none is ever reached.
POLICY = {
    "default_provider": "openai",
    "models": sorted({json.loads(case.body)["model"] for case in CASES.values()}),
    "max_tokens": 10**14,
    "rate_limit": {"rules": [{"requests": 10**12, "window": "1m"}]},
}


class Trouble(Exception):
    """A process did not do what it should."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that takes requests."""

    pid: int
    port: int
    token: str


def cores() -> tuple[set[int], set[int]]:
    """(the proxy's core, the core of everything else): the same ones where there is only one."""
    free = sorted(os.sched_getaffinity(0))
    return ({free[0]}, {free[1]}) if len(free) > 1 else (set(free), set(free))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, also those that ended.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: fields 14 to 17, in ticks.
    """
    ticks = 0
    for one in family(pid):
        stat = _stat(one)
        ticks += sum(int(field) for field in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def queued_seconds(pid: int) -> float:
    """How long a process was ready to run and did not, because others had its core.

    https://docs.kernel.org/scheduler/sched-stats.html: the second field, in nanoseconds.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


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
def _running(
    command: Sequence[str], core: set[int], **options: Any
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **options)
    try:
        os.sched_setaffinity(process.pid, core)
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
def upstream(core: set[int]) -> Iterator[int]:
    """A provider; its port."""
    command = [sys.executable, str(HERE / "upstream.py")]
    with _running(command, core, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None, "it is a pipe"
        port = process.stdout.readline().strip()
        if not port:
            raise Trouble("the upstream did not start")
        yield int(port)


@contextlib.contextmanager
def proxy(
    folder: Path, upstream_port: int, core: set[int], pyz: Path | None, profile: Path | None
) -> Iterator[Proxy]:
    """A proxy before an upstream, with one token: from the source tree, or from the one file.

    `profile` is where cProfile writes when a proxy of the source tree ends.
    """
    program = [sys.executable, *([str(pyz)] if pyz else ["-m", "tokenomics"])]
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    config = folder / "config.yaml"  # JSON is YAML
    port = _free_port()
    url = f"http://127.0.0.1:{upstream_port}"
    settings = {
        "dir": str(folder / "state"),
        "server": {"host": "127.0.0.1", "http_port": port, "https_port": 0},
        "providers": {"openai": {"upstream_url": url}},
    }
    config.write_text(json.dumps(settings))
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "OPENAI_API_KEY": "sk-bench-0123456789abcdef0123456789abcdef",
        "PYTHONPATH": str(ROOT),
    }
    token = _make_token([*program, "--config", str(config)], folder, environment)
    command = [*program[:1], *profiler, *program[1:], "--config", str(config), "serve"]
    with (
        open(folder / "stderr", "w+", encoding="utf-8") as errors,
        open(os.devnull, "w", encoding="utf-8") as null,
        _running(command, core, cwd=folder, env=environment, stdout=null, stderr=errors) as process,
    ):
        _wait_for(process, port, errors)
        yield Proxy(process.pid, port, token)


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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[str], port: int, errors: IO[str]) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    errors.seek(0)
    raise Trouble(f"the proxy did not start: {errors.read()}")
