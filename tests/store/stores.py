"""What the store's tests share: hashes, places, a full disk, other processes."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenomics.store.database import Database, Place
from tokenomics.tokens import Secret

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 20.0  # how long a test waits for another process before it fails


def hash_of(number: int) -> str:
    return f"{number:064x}"


def place(folder: Path, secret: str = "") -> Place:
    return Place(folder / "tokens.db", Secret(secret))


def put(database: Database, number: int, policy: str = "{}", name: str = "") -> None:
    with database.writing() as writer:
        writer.put(hash_of(number), policy, 1000.5, None, name)


def policies(database: Database) -> dict[str, str]:
    """Every token's policy as the database opens it."""
    return {h: database.policy_text(e) for h, e in database.table.entries.items()}


@contextlib.contextmanager
def disk_ends_at(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: a write there is cut short, the next one
    fails (setrlimit(2); Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def child(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a program; killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a child prints; "" when it ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def until(reached: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Return when `reached()`, fail when it isn't in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not happen in time"
