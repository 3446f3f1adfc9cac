"""The provider of the benchmark: OpenAI's chat answers over HTTP/1.1, made beforehand.

It prints its port and serves until it is ended. The model that is asked for picks the answer:
`bench-whole` a short one, `bench-burst` a stream in bursts, `bench-drip` a stream event by event,
each event with the time at which it was sent, `bench-slow` a stream without end, an event a second.
A client waits for its answer before it asks again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import time

BURST_EVENTS, BURSTS = 20, 10
DRIP_EVENTS, DRIP_SECONDS = 50, 0.001
SLOW_SECONDS = 1.0
STAMP_DIGITS = 20  # of a time in nanoseconds
MODEL_WITHIN = 200  # bytes of a body in which its model stands

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]+)")
_USAGE = {"prompt_tokens": 24, "completion_tokens": 200, "total_tokens": 224}
# About what api.openai.com sends, without what its front end adds.
_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 06 Jan 2025 12:00:00 GMT\r\nserver: bench\r\n"
    b"content-type: %b\r\nopenai-organization: bench\r\nopenai-processing-ms: 12\r\n"
    b"openai-version: 2020-10-01\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n%b\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(choices: list[object], **more: object) -> bytes:
    """One event as one HTTP chunk: that is how it comes from a server that flushes each."""
    kind = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1736164800}
    text = json.dumps({**kind, "model": "bench", "choices": choices, **more}, separators=(",", ":"))
    return _chunk(f"data: {text}\n\n".encode())


def _delta(text: str) -> bytes:
    return _event([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def _whole() -> bytes:
    message = {"role": "assistant", "content": "The quick brown fox jumps over the lazy dog."}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    kind = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1736164800}
    body = json.dumps({**kind, "model": "bench", "choices": choices, "usage": _USAGE}).encode()
    return _HEAD % (b"application/json", b"content-length: %d" % len(body)) + body


WHOLE = _whole()
STREAM_HEAD = _HEAD % (b"text/event-stream; charset=utf-8", b"transfer-encoding: chunked")
BURST = b"".join(_delta(f" word{i}") for i in range(BURST_EVENTS))
SLOW_EVENT = _delta(" word")
BEFORE_STAMP, AFTER_STAMP = _delta("0" * STAMP_DIGITS).split(b"0" * STAMP_DIGITS)
STREAM_END = (
    _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + _event([], usage=_USAGE)
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Provider(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body = 0  # where the body of the current request begins and ends
        self._end = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._end:
            self._body = self._buffer.find(b"\r\n\r\n") + 4
            if self._body < 4:
                return
            length = _LENGTH.search(self._buffer, 0, self._body)
            self._end = self._body + (int(length[1]) if length else 0)
        if len(self._buffer) < self._end:
            return
        beginning = bytes(self._buffer[self._body : self._body + MODEL_WITHIN])
        self._buffer.clear()
        self._end = 0
        self._answer(beginning)

    def _answer(self, beginning: bytes) -> None:
        if b"bench-burst" in beginning:
            self._transport.write(STREAM_HEAD)
            self._burst(BURSTS)
        elif b"bench-drip" in beginning:
            self._transport.write(STREAM_HEAD)
            self._drip(DRIP_EVENTS)
        elif b"bench-slow" in beginning:
            self._transport.write(STREAM_HEAD)
            self._loop.call_later(SLOW_SECONDS * random.random(), self._tick)
        else:
            self._transport.write(WHOLE)

    def _burst(self, left: int) -> None:
        self._transport.write(BURST if left else STREAM_END)
        if left:
            self._loop.call_soon(self._burst, left - 1)

    def _drip(self, left: int) -> None:
        self._transport.write(_stamped() if left else STREAM_END)
        if left:
            self._loop.call_later(DRIP_SECONDS, self._drip, left - 1)

    def _tick(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(SLOW_EVENT)
            self._loop.call_later(SLOW_SECONDS, self._tick)


def _stamped() -> bytes:
    return b"%b%0*d%b" % (BEFORE_STAMP, STAMP_DIGITS, time.monotonic_ns(), AFTER_STAMP)


async def main() -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.disable()  # a collection here would show as the proxy's latency
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
