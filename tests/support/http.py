"""A client of the tests' own: h11 over trio's streams, so that no mistake of ours is made twice."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

PATIENCE = 10.0  # seconds until a test that waits for something gives up
POLL_SECONDS = 0.005
Headers = Sequence[tuple[str, str]]


@dataclass
class Answer:
    """An answer; `whole` is false if the connection ended inside the body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = False

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code, in OpenAI's shape."""
        return str(self.json()["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json()["error"]["message"])

    @property
    def events(self) -> list[str]:
        """The data of each event of a stream."""
        return [
            line.removeprefix("data: ")
            for line in self.body.decode().splitlines()
            if line.startswith("data: ")
        ]


@dataclass
class Exchange:
    """A request that was sent, and its answer as far as it was read."""

    stream: trio.abc.Stream
    connection: h11.Connection
    answer: Answer = field(default_factory=lambda: Answer(0, {}))

    async def _event(self) -> Any:
        while True:
            event = self.connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                data = bytes(await self.stream.receive_some(65536))
            except trio.BrokenResourceError:
                data = b""
            self.connection.receive_data(data)

    async def head(self) -> Answer:
        """Read up to the end of the head."""
        with trio.fail_after(PATIENCE):
            event = await self._event()
            while isinstance(event, h11.InformationalResponse):
                event = await self._event()
        assert isinstance(event, h11.Response), event
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        self.answer = Answer(event.status_code, headers)
        return self.answer

    async def some(self) -> bytes:
        """More of the body; b"" at its end, be it whole or not."""
        try:
            with trio.fail_after(PATIENCE):
                event = await self._event()
        except h11.RemoteProtocolError:
            return b""
        if isinstance(event, h11.Data):
            self.answer.body += event.data
            return bytes(event.data)
        self.answer.whole = isinstance(event, h11.EndOfMessage)
        return b""

    async def until(self, mark: bytes) -> None:
        """Read until the body holds `mark`."""
        while mark not in self.answer.body:
            assert await self.some(), f"no {mark!r} in {self.answer.body!r}"

    async def rest(self) -> Answer:
        """Read to the end."""
        while await self.some():
            pass
        return self.answer


@asynccontextmanager
async def exchange(
    port: int,
    method: str,
    path: str,
    headers: Headers = (),
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    announced: bool = False,
) -> AsyncIterator[Exchange]:
    """Send one request on a connection of its own, which closes at the end. A body that is only
    `announced` is never sent."""
    connection = h11.Connection(h11.CLIENT)
    names = {name.lower() for name, _ in headers}
    fields = [*headers]
    fields += [] if "host" in names else [("host", f"127.0.0.1:{port}")]
    if body and "transfer-encoding" not in names:
        fields.append(("content-length", str(len(body))))
    data = connection.send(h11.Request(method=method, target=path, headers=fields)) or b""
    data += (connection.send(h11.Data(body)) or b"") if body else b""
    data += b"" if announced else connection.send(h11.EndOfMessage()) or b""
    stream: Any = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        with trio.fail_after(PATIENCE):
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_hostname="localhost")
            await stream.send_all(data)
        yield Exchange(stream, connection)
    finally:
        await trio.aclose_forcefully(stream)


async def ask(
    port: int,
    method: str,
    path: str,
    headers: Headers = (),
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request and its answer, read to its end."""
    async with exchange(port, method, path, headers, body, tls) as call:
        await call.head()
        return await call.rest()


async def until(holds: Callable[[], object], what: str = "it", seconds: float = PATIENCE) -> None:
    """Poll until something holds. Raises AssertionError after `seconds`."""
    with trio.move_on_after(seconds):
        while not holds():  # noqa: ASYNC110  files and processes have no Event
            await trio.sleep(POLL_SECONDS)
        return
    raise AssertionError(f"{what} did not come about within {seconds:g} s")
