"""Memory: conversations written as Markdown, where a policy asks for it.

One task writes, in order; requests hand entries over without waiting. A full queue drops the entry
and counts it: a slow disk must not slow a request.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import trio

from tokenomics.files import make_folder
from tokenomics.logs import Log
from tokenomics.policy.model import Memory
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.units import rfc3339

QUEUE_ENTRIES = 1000  # a few seconds of a busy proxy
# Not through a link, and not waiting for whoever reads a pipe.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Turn:
    """One message to remember. `time` is epoch seconds, `content` has been masked."""

    time: float
    hash: str
    role: str
    model: str
    content: str


def file_of(memory: Memory, turn: Turn) -> Path:
    """The file a turn goes to (`tokenomics docs policies`)."""
    if not memory.file_name:
        return Path(memory.file_path)
    name = memory.file_name.replace("{token_hash}", turn.hash[:EVENT_HASH_DIGITS])
    return Path(memory.file_path) / name.replace("{date}", rfc3339(turn.time)[:10])


def render(turn: Turn) -> str:
    """A turn as Markdown. The heading's own separator and line ends are kept out of its parts."""
    parts = (rfc3339(turn.time), turn.hash[:EVENT_HASH_DIGITS], turn.role, turn.model)
    head = " | ".join(" ".join(part.split()).replace("|", "/") for part in parts)
    return f"## {head}\n\n{turn.content}\n\n---\n\n"


class MemoryWriter:
    """Takes turns, writes them in order."""

    def __init__(self, log: Log) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[Memory, list[Turn]]](
            QUEUE_ENTRIES
        )
        self._log = log
        self.dropped = 0
        self._behind = False
        self._failing: set[Path] = set()

    def remember(self, memory: Memory, turns: list[Turn]) -> None:
        """Queue the turns of one request."""
        try:
            self._send.send_nowait((memory, turns))
        except trio.WouldBlock:
            self.dropped += len(turns)
            if not self._behind:
                self._log.say("warn", "memory: the disk is too slow, entries are dropped")
            self._behind = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; what is queued then is still written."""
        task_status.started()
        try:
            async for memory, turns in self._receive:
                with trio.CancelScope(shield=True):  # a cancel before the thread starts loses turns
                    await trio.to_thread.run_sync(self._write, memory, turns)
                self._behind = self._behind and self._receive.statistics().current_buffer_used > 0
        finally:
            while self._receive.statistics().current_buffer_used:
                self._write(*self._receive.receive_nowait())

    def _write(self, memory: Memory, turns: list[Turn]) -> None:
        for turn in turns:
            path = file_of(memory, turn)
            try:
                make_folder(path.parent)
                _append(path, render(turn).encode())
                self._failing.discard(path)
            except (OSError, ValueError) as e:  # ValueError: a name that holds a NUL
                self.dropped += 1
                if path not in self._failing:
                    self._failing.add(path)
                    problem = e.strerror if isinstance(e, OSError) else e
                    self._log.say("error", f"memory: {path}: {problem}; entries are dropped")


def _append(path: Path, data: bytes) -> None:
    """In one go where the system lets it: another worker may write to the same file. Raises
    OSError."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
