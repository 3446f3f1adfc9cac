"""Passing a provider's answer to the client, whole or streamed, and learning what it cost.

A whole answer is read to its end before its head goes out, so that half an answer is an error. A
stream is passed on event by event as it comes; one that breaks off, falls silent or lacks its end
gets an error event and no clean end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from tokenomics.dialects import answers
from tokenomics.dialects.ask import Ask
from tokenomics.dialects.endings import Ending, ending
from tokenomics.dialects.screened import ScreenedStream
from tokenomics.dialects.sse import EventTooLong
from tokenomics.dialects.streams import FORMS, StreamReader
from tokenomics.dialects.translate.table import TranslatedStream, Translation
from tokenomics.dialects.usage import Usage
from tokenomics.errors import Refusal
from tokenomics.gateway.inspection import beside_if_long
from tokenomics.gateway.output import Output
from tokenomics.net.client import Broken, Call, TimedOut
from tokenomics.net.coding import BadCoding, Inflate, decode
from tokenomics.net.connection import Reply
from tokenomics.net.framing import whole_chunks
from tokenomics.outcome import Outcome

MAX_ANSWER = 64 << 20  # bytes of a whole answer
PIECE_BYTES = 1024  # of a stream that may be spent
INFLATE_BYTES = 4096  # of an encoded stream that are decoded at a time
MAX_INFLATED = 8 << 20  # bytes that so many may become; deflate makes at most 1032 of one
END_SECONDS = 0.25  # for an upstream to end its body after the stream's own end
CUT = "budget_spent"  # the outcome's code of a stream that was ended for lack of budget
HEARTBEAT = b":\n\n"  # a comment: an event stream's way of saying nothing
HEARTBEAT_SECONDS = 15.0  # middleboxes cut what is silent for 30 or 60


@dataclass(slots=True)
class Receipt:
    """What an answer cost, and its text if it was kept. Filled as the answer comes, so that it is
    right whenever it is read."""

    usage: Usage | None = None
    estimated: bool = False
    text: str = ""
    complete: bool = False


class Bound(Protocol):
    """What bounds a stream as it flows."""

    @property
    def held(self) -> int:
        """Output tokens that it may have."""

    def fits(self, reader: StreamReader, more: int) -> bool:
        """Whether enough is held for what has passed and so many tokens more."""

    async def grow(self, reader: StreamReader, more: int) -> bool:
        """Hold more; whether that is enough."""


@dataclass(slots=True)
class _Passage:
    """From a provider's bytes to a client's: decoded, translated, followed, screened. `ending`
    follows it too, if it may have to be ended before its time; `last` is what went to the client
    last."""

    reply: Reply
    reader: StreamReader
    inflate: Inflate | None
    output: Output | None
    screens: ScreenedStream | None
    collect: bool
    ending: Ending | None
    bound: Bound | None
    translated: TranslatedStream | None
    spent: bool = False  # it may not go on
    texts: list[str] = field(default_factory=list)
    last: bytes = b""

    @property
    def plain(self) -> bool:
        """Whether bytes go on as they come, and nobody wants to know what they say."""
        own = self.inflate is None and self.translated is None
        return own and self.screens is None and not self.collect

    @property
    def usage(self) -> Usage | None:
        """What the provider has said of its cost."""
        return self.reader.usage if self.translated is None else self.translated.usage

    async def feed(self, data: bytes) -> None:
        """Pass on what comes, until it is spent. Raises Refusal, BadCoding, EventTooLong."""
        position = 0
        while position < len(data) and not self.spent:
            rest = data[position:] if position else data
            size = await self.piece_bytes(rest)
            piece = rest[:size]
            if self.inflate is not None:
                piece = self.inflate.feed(piece)
            if self.translated is not None:
                piece = self.translated.feed(piece)
            await self._write(self.reader.feed(piece))
            position += size

    async def piece_bytes(self, data: bytes) -> int:
        """How much of what has come may be looked at in one go: all, if enough is held for it; else
        so little that no more than is held goes out."""
        if self.inflate is not None:
            return min(len(data), INFLATE_BYTES if self.bound is None else PIECE_BYTES)
        if self.bound is None:
            return len(data)
        if self.translated is not None:
            return min(len(data), PIECE_BYTES)
        more = self.reader.most_in(data)
        if self.bound.fits(self.reader, more) or await self.bound.grow(self.reader, more):
            return len(data)
        return min(len(data), PIECE_BYTES)

    async def may_pass(self) -> bool:
        """Whether what the reader has counted may go out, now that it has been counted."""
        bound, reader = self.bound, self.reader
        if bound is not None and not reader.done and not bound.fits(reader, 0):
            self.spent = not await bound.grow(reader, 0)
        return not self.spent

    async def end(self) -> None:
        """The provider has ended: what is left, unless it broke off, when held text is not let go.
        Raises Refusal, BadCoding."""
        if self.inflate and self.reader.form.open_ended:
            self.inflate.end()
        if self.translated is not None:
            await self._write(self.reader.feed(self.translated.end()))
        await self._write(self.reader.end())
        if self.screens is not None and self.reader.done:
            await self._show(self.screens.end())
        if self.inflate and not self.reader.done:
            self.inflate.end()

    async def stop(self, usage: Usage) -> None:
        """End it as if the provider had come to the most it may write. Raises Refusal."""
        if self.screens is not None:
            await self._show(self.screens.end())
        if self.ending is not None:
            await self.reply.write(self.ending.stop(usage))

    async def _write(self, events: bytes) -> None:
        if not events or not await self.may_pass():
            return
        shown = events
        if self.output is not None and self.screens is not None:
            shown = await self.output.screened(self.screens, events)
        await self._show(shown)

    async def _show(self, shown: bytes) -> None:
        if self.ending is not None:
            self.ending.watch(shown)
        if self.collect:
            self.texts += self.reader.form.texts_in(shown)
        await self.reply.write(shown)
        self.last = shown or self.last


@dataclass(slots=True)
class Relay:
    """One answer on its way. `lines` are its header lines; `output` is what it goes through;
    `timeout` bounds each silence, in seconds; `keep_text` is for memory; `input_estimate` gives
    what is charged for input where the provider does not say; `bound` says whether a stream may go
    on, None if it always may; `way` is how it is translated, if it is. Nothing in it changes."""

    ask: Ask
    reply: Reply
    lines: bytes
    output: Output | None
    outcome: Outcome
    timeout: float
    keep_text: bool
    input_estimate: Callable[[], int]
    bound: Bound | None = None
    way: Translation | None = None

    async def run(self, call: Call, receipt: Receipt) -> None:
        """Pass an answer on. Raises Refusal if it is not whole and nothing has gone out yet."""
        head = call.answer
        if 300 <= head.status < 400:  # following it would take the key elsewhere
            raise Refusal(
                "upstream_invalid",
                f"the provider redirects (status {head.status}); check its upstream_url",
            )
        kind = head.fields.get(b"content-type", b"")
        if head.status == 200 and kind.lower().startswith(b"text/event-stream"):
            await self._stream(call, receipt)
        else:
            await self._whole(call, receipt)

    async def _whole(self, call: Call, receipt: Receipt) -> None:
        head = call.answer
        parts: list[bytes] = []
        try:
            await self._collect(call, parts)
        except BaseException:  # whoever hangs up now has had that much generated
            if head.status < 300:
                self._estimate(b"".join(parts), receipt)
            raise
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if b"content-encoding" in head.fields:
            body = self._decoded(body, head.fields[b"content-encoding"], receipt)
        if head.status < 300:
            self._settle_whole(body, receipt)
            if not self.ask.endpoint.any_answer and not answers.looks_whole(body):
                raise Refusal("upstream_invalid", "the provider's answer is not JSON")
            if self.way is not None:
                translate = partial(self.way.answer, body, int(time.time()))
                body = await beside_if_long(len(body), translate)
        if self.output is not None:
            kind = head.fields.get(b"content-type", b"").decode("latin-1")
            body = await self.output.whole(body, kind)
        if self.keep_text and head.status < 300:
            receipt.text = answers.text_of(body)
        await self.reply.send(head.status, (), body, lines=self.lines)
        receipt.complete = True

    async def _collect(self, call: Call, parts: list[bytes]) -> None:
        """Read a whole body into `parts`. Raises Refusal."""
        size = 0
        try:
            while not call.ended:
                data = await call.receive()
                parts.append(data)
                size += len(data)
                if size > MAX_ANSWER:
                    raise Broken(f"it is longer than {MAX_ANSWER} bytes", began=True)
        except TimedOut:
            raise self._silent() from None
        except Broken as e:
            raise Refusal("upstream_invalid", f"the provider's answer broke off: {e}") from None

    def _decoded(self, body: bytes, coding: bytes, receipt: Receipt) -> bytes:
        try:
            return decode(body, coding.decode("latin-1").lower(), MAX_ANSWER)
        except BadCoding as e:
            self._estimate(b"", receipt)
            raise Refusal("upstream_invalid", f"the provider's answer: {e}") from None

    def _estimate(self, body: bytes, receipt: Receipt) -> None:
        receipt.usage = Usage(self.input_estimate(), answers.generated_in(body))
        receipt.estimated = True

    def _settle_whole(self, body: bytes, receipt: Receipt) -> None:
        if self.ask.endpoint.free:
            receipt.usage = Usage(0, 0)
            return
        receipt.usage = answers.usage_of(body)
        if receipt.usage is None:
            self._estimate(body, receipt)

    async def _stream(self, call: Call, receipt: Receipt) -> None:
        name = self.ask.endpoint.dialect.name
        self._estimate(b"", receipt)  # what a stream that is refused before it begins has cost
        screens = self._screens(name)
        # What only the proxy asked for is taken out, what a provider sends unasked is not.
        usage_asked = self.ask.usage_asked or name != "openai"
        reader = StreamReader(FORMS[name], usage_asked=usage_asked)
        coding = call.answer.fields.get(b"content-encoding", b"").decode("latin-1").lower()
        try:
            inflate = Inflate(coding, MAX_INFLATED) if coding not in ("", "identity") else None
        except BadCoding as e:
            raise Refusal("upstream_invalid", f"the provider's stream: {e}") from None
        end = None
        if self.bound is not None:
            end = ending(name, self.ask.choices, usage_asked=self.ask.usage_asked)
        passage = _Passage(
            self.reply,
            reader,
            inflate,
            self.output,
            screens,
            self.keep_text,
            end,
            self.bound,
            self.way.stream(int(time.time())) if self.way is not None else None,
        )
        await self.reply.start(200, lines=self.lines, probe=HEARTBEAT)
        # What has gone out ends with an event, whenever more is waited for.
        call.in_silence(HEARTBEAT_SECONDS, lambda: self.reply.write(HEARTBEAT))
        problem: Refusal | None = None
        try:
            problem = await self._pump(call, passage)
        finally:
            receipt.usage, receipt.estimated = self._streamed(passage), not reader.done
            receipt.estimated |= passage.usage is None
            receipt.text = "".join(passage.texts)
            receipt.complete = reader.done and not reader.failed
        if problem is None and reader.done:
            if reader.failed:  # the provider ended what it says has failed
                self.outcome.code = "upstream_invalid"
            await self.reply.end()
            await call.drain(END_SECONDS)
            return
        if problem is None and passage.spent:
            problem = await self._stop(passage, receipt)
            if problem is None:
                return
        problem = problem or Refusal(
            "upstream_invalid", "the provider's stream ended without its end; it is not whole"
        )
        self.outcome.code = problem.code
        # A provider's own error event has gone out, unless a rule held it back.
        if problem.code == "content_blocked" or not reader.failed:
            error = FORMS[name].error(problem, self.outcome.id, passage.last)
            await self.reply.write(error)

    async def _stop(self, passage: _Passage, receipt: Receipt) -> Refusal | None:
        """End a stream whose budget is spent. What a rule holds against its last words is
        returned."""
        try:
            await passage.stop(receipt.usage or Usage(0, 0))
        except Refusal as e:
            return e
        self.outcome.code = CUT
        receipt.text = "".join(passage.texts)
        receipt.complete = True
        await self.reply.end()
        return None

    def _streamed(self, passage: _Passage) -> Usage:
        """What a stream has cost so far. Some providers count from the start: before the end, what
        came may be more. What came of one that is spent was held, but for the last that came."""
        reader = passage.reader
        counted = passage.usage or Usage(self.input_estimate(), 0)
        if passage.usage is not None and reader.done:
            return counted
        generated = reader.generated()
        if passage.spent and self.bound is not None:
            generated = min(generated, self.bound.held)
        return counted._replace(output=max(counted.output, generated))

    def _screens(self, name: str) -> ScreenedStream | None:
        """The screens that a stream goes through. Raises Refusal if nobody knows how."""
        if self.output is None:
            return None
        if self.ask.endpoint.name == "open" and self.output.covering:
            raise Refusal(
                "content_blocked",
                "this token's rules inspect answers, and streams of this path are not known here:"
                " ask without stream",
                param="stream",
            )
        return self.output.stream(name)

    async def _pump(self, call: Call, passage: _Passage) -> Refusal | None:
        """Pass events on until the stream ends; what went wrong is returned."""
        as_it_came = self.reply.chunked and passage.plain
        reader = passage.reader
        try:
            while not reader.done:
                if as_it_came:
                    seen = await call.peek()
                    clear = reader.clear(seen)
                    if self.bound is not None and clear:
                        clear = await passage.piece_bytes(seen[:clear])
                    size = whole_chunks(seen, b"\n\n", clear)
                    if size:
                        chunks = call.take(size)
                        reader.passed(chunks)
                        if not await passage.may_pass():
                            return None
                        if passage.ending is not None:
                            passage.ending.watch(chunks)
                        await self.reply.write_chunks(chunks)
                        passage.last = chunks
                        continue
                data = await call.receive()
                if not data:
                    break
                await passage.feed(data)
                if passage.spent:
                    return None
            await passage.end()
        except Refusal as e:  # a rule's
            return e
        except TimedOut:
            return self._silent()
        except Broken as e:
            return Refusal("upstream_invalid", f"the provider's stream broke off: {e}")
        except BadCoding as e:
            return Refusal("upstream_invalid", f"the provider's stream: {e}")
        except EventTooLong:
            return Refusal("upstream_invalid", "an event of the provider's stream is too long")
        return None

    def _silent(self) -> Refusal:
        return Refusal(
            "upstream_timeout", f"the provider was silent for {self.timeout:g} s in its answer"
        )
