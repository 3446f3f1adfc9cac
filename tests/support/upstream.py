"""A scripted provider: our own server, over real sockets, answering as each test says."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from tokenomics.net.connection import Limits, Reply, Request
from tokenomics.net.server import Server, bind
from tokenomics.net.wire import WireError

JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
PROBE = b":\n\n"  # finds out whether the proxy still reads
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Seen:
    """A request as the provider received it."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def get(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]


def delivered(seen: Sequence[Seen]) -> list[Any]:
    """The events that came to a webhook target, in order. Delivery is at least once: what is cut
    before its answer comes again, under the same id."""
    return list({event["id"]: event for event in (s.json() for s in seen)}.values())


Step = Callable[[Request, Reply], Awaitable[None]]


@dataclass
class Upstream:
    """A provider. Each request takes the next step of the script, the last one again and again."""

    script: list[Step]
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    running: int = 0
    cancelled: int = 0
    server: Server | None = None
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def app(self, request: Request, reply: Reply) -> None:
        head, body = request.head, await request.body()
        fields = tuple((n.decode(), v.decode("latin-1")) for n, v in head.headers)
        self.seen.append(Seen(head.method, head.path, head.query, fields, body))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.running += 1
        try:
            await step(request, reply)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@asynccontextmanager
async def provider(*script: Step, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """A provider that listens while the block runs."""
    upstream = Upstream(list(script) or [answers()], tls=tls)

    def report(level: str, message: str, **_: object) -> None:
        assert level != "error", message

    server = upstream.server = Server(upstream.app, Limits(), report)
    listener = bind("127.0.0.1", 0)
    upstream.port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [(listener, tls)])
        try:
            yield upstream
        finally:
            nursery.cancel_scope.cancel()


def completion(text: str = "Hello!", usage: tuple[int, int] | None = (7, 3)) -> dict[str, Any]:
    """A whole chat completion in OpenAI's format."""
    message = {"role": "assistant", "content": text}
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    if usage is not None:
        document["usage"] = usage_object(*usage)
    return document


def usage_object(prompt: int, output: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }


def chunk(content: str | None = None, finish: str | None = None, **extra: Any) -> bytes:
    """One event of a streamed chat completion."""
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return event({**_FRAME, "choices": choices, **extra})


def usage_chunk(prompt: int = 7, output: int = 3) -> bytes:
    """The event that carries only usage."""
    return event({**_FRAME, "choices": [], "usage": usage_object(prompt, output)})


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


_FRAME = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
}


def answers(
    document: Any = None, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()
) -> Step:
    """A whole JSON answer; a `bytes` document is sent as it is."""
    document = completion() if document is None else document
    body = document if isinstance(document, bytes) else json.dumps(document).encode()

    async def step(_request: Request, reply: Reply) -> None:
        await reply.send(status, [*JSON, *headers], body)

    return step


def fails(
    status: int, message: str = "no", headers: Sequence[tuple[bytes, bytes]] = (), **extra: Any
) -> Step:
    """An error in OpenAI's format."""
    error = {"message": message, "type": "provider_error", "code": "from_provider", **extra}
    return answers({"error": error}, status, headers)


def streams(*events: bytes, wait: trio.Event | None = None, after: int = 0) -> Step:
    """A stream of events; with `wait`, it pauses for it after the first `after` events. Without
    any, it says "Hello!" with usage and [DONE], as OpenAI does."""
    parts = events or (chunk("Hel"), chunk("lo!"), chunk(None, "stop"), usage_chunk(), DONE)

    async def step(_request: Request, reply: Reply) -> None:
        await reply.start(200, SSE, probe=PROBE)
        for i, part in enumerate(parts):
            if wait is not None and i == after:
                await wait.wait()
            await reply.write(part)
        await reply.end()

    return step


def streams_as_asked() -> Step:
    """A provider's usual behaviour: whole or streamed, the usage chunk only if asked for."""

    async def step(request: Request, reply: Reply) -> None:
        asked = json.loads(await request.body())
        if not asked.get("stream"):
            await answers()(request, reply)
            return
        parts = [chunk("Hel"), chunk("lo!"), chunk(None, "stop")]
        if (asked.get("stream_options") or {}).get("include_usage"):
            parts.append(usage_chunk())
        await streams(*parts, DONE)(request, reply)

    return step


def breaks_off(*events: bytes, head: Sequence[tuple[bytes, bytes]] = tuple(SSE)) -> Step:
    """A body that begins and is cut."""

    async def step(_request: Request, reply: Reply) -> None:
        await reply.start(200, list(head))
        for part in events:
            await reply.write(part)
        raise WireError("cut by the script")

    return step


async def refuses_to_speak(_request: Request, _reply: Reply) -> None:
    """The connection closes without an answer."""
    raise WireError("cut by the script")


async def hangs(_request: Request, _reply: Reply) -> None:
    """No answer ever."""
    await trio.sleep_forever()
