"""A journal file: appended under a lock, durable when `append` returns, followed by readers.

Any number of processes read; writers take turns by `flock` on `<path>.lock`. The first frame is a
header with the file's identity; every later payload is `[chain, value]`, where chain is the first
16 bytes of the SHA-256 of the payload before it, so that no record can be taken out unnoticed.

A torn tail is what a writer that died left: it was never acknowledged, so the next writer cuts it
and says so. Any other damage is reported with its offset, and nothing is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenomics.errors import Failed, Invalid
from tokenomics.files import make_folder, write_private
from tokenomics.store.frames import HEAD_BYTES, MAGIC, Damaged, frame, pack, scan, unpack

CHAIN_BYTES = 16
FORMAT = 1
LOCK_SECONDS = 10.0  # longest wait for another writer; a write takes milliseconds
_LOCK_STEP_SECONDS = 0.01

Say = Callable[[str], None]


class Locked(Failed):
    """Another process is the writer."""


@dataclass(frozen=True, slots=True)
class Header:
    """A file's identity. `id` is 32 hex digits; `generation` counts rewrites; `salt` and
    `key_check` belong to encryption and are empty without it."""

    id: str
    generation: int
    salt: bytes = b""
    key_check: bytes = b""

    def row(self) -> dict[str, Any]:
        """What is written."""
        return {
            "format": FORMAT,
            "id": self.id,
            "generation": self.generation,
            "salt": self.salt,
            "key_check": self.key_check,
        }

    @classmethod
    def of(cls, row: Any) -> Header:
        """The header of a row. Raises ValueError if this version cannot read it."""
        match row:
            case {"format": int(format_)} if format_ > FORMAT:
                raise ValueError(f"written by a newer version (format {format_})")
            case {
                "format": int(),
                "id": str(id_),
                "generation": int(generation),
                "salt": bytes(salt),
                "key_check": bytes(check),
            }:
                return cls(id_, generation, salt, check)
        raise ValueError("the header cannot be read")


def _chain(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()[:CHAIN_BYTES]


def _linked(tail: bytes, values: list[Any]) -> list[bytes]:
    """The frames of `values`, each chained to the one before; the first follows `tail`."""
    frames = [tail]
    for value in values:
        frames.append(frame(pack([_chain(frames[-1][HEAD_BYTES:]), value])))
    return frames[1:]


class Journal:
    """One file. Not shared between threads. `say` gets what a person should know (a cut tail)."""

    def __init__(self, path: Path, say: Say) -> None:
        self.path = path
        self.header: Header | None = None
        self._say = say
        self._signature: tuple[int, ...] = ()
        self._end = 0
        self._tail = b""  # the frame before `_end`; its chain value stands for all before it
        self._inode = 0

    @property
    def size(self) -> int:
        """Bytes that were read or written so far."""
        return self._end

    # Reading

    def changed(self) -> bool:
        """Whether the file looks different from when it was last read: one `stat`."""
        return self._stat() != self._signature

    def _stat(self) -> tuple[int, ...]:
        try:
            s = os.stat(self.path)
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise Failed(f"{self.path}: {e.strerror}") from None
        return (s.st_ino, s.st_size, s.st_mtime_ns)

    def read(self) -> tuple[bool, list[Any]]:
        """(start over, values): what was appended since the last call; `start over` means that the
        file is another one now and the values are all of it.

        Raises Invalid for a foreign, newer or damaged file, Failed if it cannot be read.
        """
        signature = self._stat()
        if not signature:
            vanished, self.header, self._signature = bool(self._signature), None, ()
            return vanished, []
        try:
            with open(self.path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                size = os.fstat(file.fileno()).st_size
                again = self.header is None or inode != self._inode or size < self._end
                if not again:  # unless it was overwritten in place, or has a dead file's inode
                    file.seek(self._end - len(self._tail))
                    again = file.read(len(self._tail)) != self._tail
                start = 0 if again else self._end
                file.seek(start)
                data = file.read()
        except OSError as e:
            raise Failed(f"{self.path}: {e.strerror}") from None
        try:
            values = self._take(data, start)
        except Damaged as e:
            raise Invalid(f"{self.path}: {e}; see `tokenomics db verify`") from None
        self._signature, self._inode = signature, inode
        return again, values

    def _take(self, data: bytes, start: int) -> list[Any]:
        tail, header = self._tail, self.header
        if start == 0:
            header, tail = self._take_header(data)
            start = len(MAGIC) + len(tail)
            data = data[start:]
        found = scan(data, start)
        last = _chain(tail[HEAD_BYTES:])
        values = []
        for offset, payload in found.payloads:
            row = unpack(payload, offset)
            if not isinstance(row, list) or len(row) != 2 or row[0] != last:
                raise Damaged(offset, "a record does not follow the one before it")
            values.append(row[1])
            last = _chain(payload)
        if found.payloads:
            tail = data[found.payloads[-1][0] - start : found.end - start]
        self.header, self._tail, self._end = header, tail, found.end
        return values

    def _take_header(self, data: bytes) -> tuple[Header, bytes]:
        if not data.startswith(MAGIC):
            raise Damaged(0, "this is not a tokenomics data file")
        found = scan(data[len(MAGIC) :], len(MAGIC))
        if not found.payloads:
            raise Damaged(len(MAGIC), "the header is missing")
        offset, payload = found.payloads[0]
        try:
            return Header.of(unpack(payload, offset)), frame(payload)
        except ValueError as e:
            raise Damaged(offset, str(e)) from None

    def forget(self) -> None:
        """Read everything again next time: what was read could not be used."""
        self.header, self._signature = None, (0,)

    # Writing

    @contextlib.contextmanager
    def lock(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Be the only writer. Raises Locked if another is for `seconds`, Failed if the lock cannot
        be made."""
        try:
            make_folder(self.path.parent)
            descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise Failed(f"{self.path}.lock cannot be made: {e.strerror}") from None
        try:
            _wait_for(descriptor, self.path, seconds)
            yield
        finally:
            os.close(descriptor)  # gives the lock back

    def create(self, header: Header) -> None:
        """Make the file with its header alone. The lock must be held. Raises Failed."""
        self.rewrite(header, [])

    def rewrite(self, header: Header, values: list[Any]) -> None:
        """Replace the whole file, by rename. The lock must be held. Raises Failed."""
        head = frame(pack(header.row()))
        frames = [head, *_linked(head, values)]
        data = MAGIC + b"".join(frames)
        try:
            write_private(self.path, data)
        except OSError as e:
            raise Failed(f"{self.path} cannot be written: {e.strerror}") from None
        self.header, self._tail, self._end = header, frames[-1], len(data)
        self._signature = self._stat()
        self._inode = self._signature[0]

    def append(self, values: list[Any], *, durable: bool = True) -> None:
        """Append values, on disk when this returns (with `durable`). The lock must be held and the
        file read to its end. Raises Failed; the file is then as it was."""
        frames = _linked(self._tail, values)
        data = b"".join(frames)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as e:
            raise Failed(f"{self.path} cannot be written: {e.strerror}") from None
        try:
            self._cut_tail(descriptor)
            _write_all(descriptor, data, self._end)
            if durable:
                os.fsync(descriptor)
        except OSError as e:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._end)
            raise Failed(f"{self.path} cannot be written: {e.strerror}") from None
        finally:
            os.close(descriptor)
        self._tail = frames[-1] if frames else self._tail
        self._end += len(data)
        self._signature = self._stat()

    def _cut_tail(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size > self._end:
            os.ftruncate(descriptor, self._end)
            self._say(
                f"{self.path}: cut {size - self._end} bytes at offset {self._end} that a write"
                " which never finished had left"
            )


def _wait_for(descriptor: int, path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Locked(
                    f"{path} is locked by another process (waited {seconds:.0f} s)"
                ) from None
            time.sleep(_LOCK_STEP_SECONDS)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
