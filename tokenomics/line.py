"""The line between a parent process and one of its workers: JSON messages, one per line."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import trio

from tokenomics import strictjson
from tokenomics.net.wire import SocketWire, WireError

QUEUE_MESSAGES = 10_000  # events of a second of a busy worker, several times over
MAX_LINE = 1 << 20  # bytes; an event has some hundreds

Message = dict[str, Any]


class Line:
    """One end. `send` never waits: what does not fit into the queue is dropped and counted."""

    def __init__(self, sock: socket.socket) -> None:
        """Owns the socket; `run` closes it."""
        self._wire = SocketWire(sock)
        self._send, self._receive = trio.open_memory_channel[Message](QUEUE_MESSAGES)
        self.dropped = 0

    def send(self, message: Message) -> None:
        """Say something to the other end."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            self.dropped += 1

    async def run(self, hear: Callable[[Message], None]) -> None:
        """Carry messages until the other end closes, or is gone."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak)
                await self._listen(hear)
                nursery.cancel_scope.cancel()
        finally:
            self._wire.close()

    async def _speak(self) -> None:
        try:
            async for message in self._receive:
                data = strictjson.dumps(message) + b"\n"
                rest = self._wire.try_send(data)
                if rest:
                    await self._wire.send_rest(rest, lambda: None)
        except WireError:
            return  # the other end is gone, which the listener sees too

    async def _listen(self, hear: Callable[[Message], None]) -> None:
        buffer = b""
        while len(buffer) < MAX_LINE:
            try:
                data = await self._wire.receive()
            except WireError:
                return
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                hear(strictjson.loads(line))
