"""The product as child processes: the built file if TOKENOMICS_PYZ names it, else the sources.

A process writes to files, so that what it said outlives it. Every wait has a deadline; only what
was started here is ended, by its id.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.support.http import PATIENCE, ask, until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "distributed-team"
PYZ = os.environ.get("TOKENOMICS_PYZ", "")
PROGRAM = [PYZ] if PYZ else [sys.executable, "-m", "tokenomics"]
_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on. It lies below those that the kernel gives to outgoing connections,
    and is given once."""
    while True:
        port = random.randrange(10_000, 32_000)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a person with an empty home. The unpacked copy of the file is shared: see
    tests/e2e/conftest.py."""
    kept = {name: os.environ[name] for name in ("PATH", "SHIV_ROOT")} | {"LANG": "C.UTF-8"}
    if not PYZ:
        kept["PYTHONPATH"] = str(ROOT)
    return {**kept, "HOME": str(home), **more}


@dataclass
class Finished:
    """A command that ended."""

    status: int
    out: str
    err: str


@dataclass
class Process:
    """A running server and the files it writes to."""

    popen: subprocess.Popen[bytes]
    out_file: Path
    err_file: Path

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    def kill(self) -> None:
        """kill -9."""
        self.popen.kill()
        self.popen.wait(PATIENCE)

    async def ended(self) -> int:
        """Wait for its end; the exit status."""
        await until(lambda: self.popen.poll() is not None, "the end of a process")
        return self.popen.returncode

    async def terminate(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; the exit status."""
        self.popen.send_signal(number)
        return await self.ended()


@dataclass
class Person:
    """Somebody at a shell: a working directory, an environment, and the program."""

    folder: Path
    env: dict[str, str]
    started: int = field(default=0)

    @classmethod
    def at(cls, folder: Path, **env: str) -> Person:
        """In an own folder with an own, empty home."""
        folder.mkdir(parents=True, exist_ok=True)
        home = folder / "home"
        home.mkdir(exist_ok=True)
        return cls(folder, environment(home, **env))

    async def bash(self, script: str, **env: str) -> Finished:
        """Run a bash script, which fails at its first failing command."""
        return await self._run(["bash", "-euo", "pipefail", "-c", script], env)

    async def run(self, *args: str, **env: str) -> Finished:
        """Run the program to its end."""
        return await self._run([*PROGRAM, *args], env)

    async def do(self, *args: str, **env: str) -> str:
        """Run the program, which must succeed; what it printed."""
        done = await self.run(*args, **env)
        assert done.status == 0, f"{args}: exit status {done.status}\n{done.err}"
        return done.out

    async def _run(self, words: list[str], env: Mapping[str, str]) -> Finished:
        with trio.fail_after(6 * PATIENCE):
            done = await trio.run_process(
                words,
                cwd=self.folder,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *args: str, **env: str) -> Process:
        """Start the program and leave it running."""
        self.started += 1
        out, err = (self.folder / f"{args[0]}-{self.started}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = subprocess.Popen(
                [*PROGRAM, *args],
                cwd=self.folder,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        return Process(popen, out, err)

    @asynccontextmanager
    async def running(
        self, *args: str, port: int, path: str = "/health", **env: str
    ) -> AsyncIterator[Process]:
        """A server that is ready, and is ended with the block."""
        process = self.start(*args, **env)
        try:
            await ready(process, port, path)
            yield process
        finally:
            if process.popen.poll() is None:
                process.kill()


async def ready(process: Process, port: int, path: str) -> None:
    """Wait until a server answers 200 at a path."""
    with trio.move_on_after(PATIENCE):
        while process.popen.poll() is None:
            try:
                if (await ask(port, "GET", path)).status == 200:
                    return
            except OSError:
                pass  # it does not listen yet
            await trio.sleep(0.01)
    raise AssertionError(f"not ready (exit status {process.popen.poll()}):\n{process.err}")


def shell_variables(text: str) -> dict[str, str]:
    """What a shell makes of `export` lines."""
    script = f"{text}\nenv -0"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env={}, check=True)
    pairs = (item.partition("=") for item in done.stdout.decode().split("\0") if item)
    return {name: value for name, _, value in pairs if name not in ("PWD", "SHLVL", "_")}


def example(name: str, changes: Mapping[str, str]) -> str:
    """A file of the example, with what every reader has to change in it. What is to be changed
    must be there."""
    text = (EXAMPLE / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


def chat(text: str = "Hello", **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}
