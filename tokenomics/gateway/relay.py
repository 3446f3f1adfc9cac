"""Passing a provider's answer to the client, whole or streamed, and learning what it cost.

A whole answer is read to its end before its head goes out, so that half an answer is an error. A
stream is passed on event by event as it comes; one that breaks off, falls silent or lacks its end
gets an error event and no clean end.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from dataclasses import dataclass

import trio

from tokenomics.dialects import answers
from tokenomics.dialects.openai import Ask, Usage, error_body
from tokenomics.dialects.sse import EventTooLong
from tokenomics.errors import Refusal
from tokenomics.net.client import Broken, Call
from tokenomics.net.connection import Reply, ReplyHeaders
from tokenomics.outcome import Outcome

MAX_ANSWER = 64 << 20  # bytes of a whole answer
END_SECONDS = 0.25  # for an upstream to end its body after the stream's own end
HEARTBEAT = b":\n\n"  # a comment: an event stream's way of saying nothing


@dataclass(slots=True)
class Receipt:
    """What an answer cost, and its text if it was kept. Filled as the answer comes, so that it is
    right whenever it is read."""

    usage: Usage | None = None
    estimated: bool = False
    text: str = ""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Relay:
    """One answer on its way. `timeout` bounds each silence, in seconds; `keep_text` is for memory;
    `input_estimate` is what is charged for input where the provider does not say."""

    ask: Ask
    reply: Reply
    headers: ReplyHeaders
    outcome: Outcome
    timeout: float
    keep_text: bool
    input_estimate: int

    async def run(self, call: Call, receipt: Receipt) -> None:
        """Pass an answer on. Raises Refusal if it is not whole and nothing has gone out yet."""
        kind = call.answer.fields.get(b"content-type", b"").lower()
        if 300 <= call.answer.status < 400:  # following it would take the key elsewhere
            raise Refusal(
                "upstream_invalid",
                f"the provider redirects (status {call.answer.status}); check its upstream_url",
            )
        if call.answer.status == 200 and kind.startswith(b"text/event-stream"):
            await self._stream(call, receipt)
        else:
            await self._whole(call, receipt)

    async def _whole(self, call: Call, receipt: Receipt) -> None:
        head = call.answer
        parts: list[bytes] = []
        try:
            await self._collect(call, parts)
            body = _decoded(b"".join(parts), head.fields.get(b"content-encoding", b""))
        except Broken as e:
            raise Refusal("upstream_invalid", f"the provider's answer broke off: {e}") from None
        finally:
            if head.status == 200:  # whoever hangs up now has had that much generated
                generated = answers.generated_in(b"".join(parts))
                receipt.usage = Usage(self.input_estimate, generated)
                receipt.estimated = True
        if head.status == 200:
            if not answers.looks_whole(body):
                raise Refusal("upstream_invalid", "the provider's answer is not JSON")
            self._settle_whole(body, receipt)
        await self.reply.send(head.status, self.headers, body)
        receipt.complete = True

    async def _collect(self, call: Call, parts: list[bytes]) -> None:
        """Read a whole body into `parts`. Raises Broken, or Refusal for a silence."""
        data, ended = call.receive_nowait()  # a short answer comes with its head
        parts.append(data)
        size = len(data)
        if ended:
            return
        with trio.CancelScope() as scope:
            while True:
                scope.deadline = trio.current_time() + self.timeout
                data = await call.receive()
                if not data:
                    return
                parts.append(data)
                size += len(data)
                if size > MAX_ANSWER:
                    raise Broken(f"it is longer than {MAX_ANSWER} bytes", began=True)
        raise self._silent()

    def _settle_whole(self, body: bytes, receipt: Receipt) -> None:
        usage = answers.usage_of(body)
        receipt.estimated = usage is None
        receipt.usage = usage or Usage(self.input_estimate, answers.generated_in(body))
        if self.keep_text:
            receipt.text = answers.text_of(body)

    async def _stream(self, call: Call, receipt: Receipt) -> None:
        if call.answer.fields.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal("upstream_invalid", "the provider encoded a stream without being asked")
        reader = answers.StreamReader(usage_asked=self.ask.usage_asked, collect=self.keep_text)
        await self.reply.start(200, self.headers, probe=HEARTBEAT)
        problem: Refusal | None = None
        try:
            problem = await self._pump(call, reader)
        finally:
            receipt.usage = reader.usage or Usage(self.input_estimate, reader.generated())
            receipt.estimated = reader.usage is None
            receipt.text = "".join(reader.texts)
            receipt.complete = reader.done
        if problem is None and reader.done:
            await self.reply.end()
            with trio.move_on_after(END_SECONDS):  # so that the connection can be used again
                with contextlib.suppress(Broken):
                    await call.receive()
            return
        problem = problem or Refusal(
            "upstream_invalid", "the provider's stream ended without its end; it is not whole"
        )
        self.outcome.code = problem.code
        if not reader.failed:  # else the provider's own error event has gone out
            await self.reply.write(answers.error_event(error_body(problem)))

    async def _pump(self, call: Call, reader: answers.StreamReader) -> Refusal | None:
        """Pass events on until the stream ends; what went wrong is returned."""
        with trio.CancelScope() as scope:
            try:
                while True:
                    scope.deadline = trio.current_time() + self.timeout
                    data = await call.receive()
                    if not data:
                        break
                    scope.deadline = math.inf  # a slow reader is bounded by the server's limit
                    await self.reply.write(reader.feed(data))
                    if reader.done:
                        break
                await self.reply.write(reader.end())
            except Broken as e:
                return Refusal("upstream_invalid", f"the provider's stream broke off: {e}")
            except EventTooLong:
                return Refusal("upstream_invalid", "an event of the provider's stream is too long")
        return self._silent() if scope.cancelled_caught else None

    def _silent(self) -> Refusal:
        return Refusal(
            "upstream_timeout", f"the provider was silent for {self.timeout:g} s in its answer"
        )


def _decoded(body: bytes, encoding: bytes) -> bytes:
    """A whole body without its content coding, bounded. Raises Broken."""
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise Broken(f"it is encoded as {encoding.decode('latin-1')}, unasked", began=True)
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(body, MAX_ANSWER)
    except zlib.error as e:
        raise Broken(f"its gzip coding is broken: {e}", began=True) from None
    if not unzip.eof:
        raise Broken("its gzip coding does not end, or it is too long", began=True)
    return plain
