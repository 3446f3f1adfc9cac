"""A stream of Anthropic's, as one of chat completions, event by event.

https://docs.anthropic.com/en/docs/build-with-claude/streaming,
https://platform.openai.com/docs/api-reference/chat-streaming.

A text and a thought go on in the pieces in which they come, a call's arguments too. A thought's
signature comes when it ends, in `thinking_blocks`, with the `length` of what it signs in place of
the text: that has gone out already, and would be counted twice. Nothing ends a stream but its own
end: one that breaks off goes on without `[DONE]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.sse import Cutter, event, events
from tokenomics.dialects.translate import loose
from tokenomics.dialects.translate.messages_to_chat import (
    error_object,
    finish_reason,
    head,
    refusal_of,
    usage_object,
    usage_of,
)
from tokenomics.dialects.usage import Usage
from tokenomics.errors import Refusal

Document = dict[str, Any]


@dataclass(slots=True)
class _Block:
    """A block that has begun. `call` is its number among the calls, `length` how many characters of
    thought have gone out, `written` whether any arguments have."""

    start: Document
    call: int = 0
    length: int = 0
    signature: str = ""
    written: bool = False

    @property
    def kind(self) -> str:
        """What it is one of."""
        return _text(self.start, "type")


class Stream:
    """Translates one stream. `now` is when it began, in seconds; `usage` is what it has cost as far
    as Anthropic has said."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._cutter = Cutter()
        self._head: Document = head({}, "chat.completion.chunk", now)
        self._calls = 0
        self._blocks: dict[str, _Block] = {}  # that are open, by their index
        self._thoughts = 0
        self._done = False
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """The chunks that bytes of any length complete. Raises sse.EventTooLong, and Refusal
        `upstream_invalid` if an event is no JSON."""
        return self._translated(self._cutter.feed(data))

    def end(self) -> bytes:
        """What is left when the provider has ended: a last event may lack its blank line."""
        rest = self._cutter.rest()
        cut = any(loose.loads(data) is None for _, data in events(rest))
        return b"" if cut else self._translated(rest)

    def _translated(self, block: bytes) -> bytes:
        return b"".join([self._event(raw, data) for raw, data in events(block) if raw.strip()])

    def _event(self, raw: bytes, data: bytes) -> bytes:
        if self._done:  # some who took the format over say `[DONE]`, too
            return b""
        if not data:  # comments keep a connection open
            return b":\n\n" if raw.startswith(b":") else b""
        document = loose.loads(data)
        if not isinstance(document, dict):
            message = "an event of the provider's stream is not a JSON object"
            raise Refusal("upstream_invalid", message)
        # New kinds of events may come at any time, and clients are to pass over them.
        handle = _HANDLERS.get(_text(document, "type"))
        return handle(self, document) if handle is not None else b""

    def _chunk(self, delta: Document, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(strictjson.dumps({**self._head, "choices": [choice]}))

    def _count(self, value: Any) -> None:
        """The input comes first, the output last; what is told twice has grown."""
        usage = usage_of(value)
        if usage is not None:
            before = self.usage
            self.usage = usage if before is None else Usage(*map(max, before, usage))

    # Events, in the order in which they come

    def _ping(self, _document: Document) -> bytes:
        return b":\n\n"

    def _start(self, document: Document) -> bytes:
        message = _inner(document, "message")
        self._head = head(message, "chat.completion.chunk", self._now)
        self._count(message.get("usage"))
        return self._chunk({"role": "assistant", "content": ""})

    def _block_start(self, document: Document) -> bytes:
        start = _inner(document, "content_block")
        block = self._blocks[str(document.get("index"))] = _Block(start)
        if block.kind == "text" and start.get("text"):
            return self._chunk({"content": _text(start, "text")})
        if block.kind == "thinking":
            block.signature = _text(start, "signature")
            return self._thought(block, _text(start, "thinking"))
        if block.kind != "tool_use":
            return b""
        block.call, self._calls = self._calls, self._calls + 1
        function = {"name": _text(start, "name"), "arguments": ""}
        call = {"index": block.call, "id": _text(start, "id"), "type": "function"}
        return self._chunk({"tool_calls": [{**call, "function": function}]})

    def _delta(self, document: Document) -> bytes:
        block = self._blocks.get(str(document.get("index"))) or _Block({})
        delta = _inner(document, "delta")
        kind = delta.get("type")
        if kind == "text_delta":
            return self._chunk({"content": _text(delta, "text")})
        if kind == "thinking_delta":
            return self._thought(block, _text(delta, "thinking"))
        if kind == "signature_delta":
            block.signature += _text(delta, "signature")
        if kind == "input_json_delta" and block.kind == "tool_use":
            return self._arguments(block, _text(delta, "partial_json"))
        return b""

    def _block_stop(self, document: Document) -> bytes:
        block = self._blocks.pop(str(document.get("index")), None) or _Block({})
        signed: Document
        if block.kind == "tool_use" and not block.written:  # clients parse what they are given
            return self._arguments(block, strictjson.dumps(_inner(block.start, "input")).decode())
        if block.kind == "thinking":
            signed = {"length": block.length, "signature": block.signature}
        elif block.kind == "redacted_thinking":
            signed = {"data": _text(block.start, "data")}
        else:
            return b""
        index, self._thoughts = self._thoughts, self._thoughts + 1
        return self._chunk({"thinking_blocks": [{"index": index, "type": block.kind, **signed}]})

    def _thought(self, block: _Block, piece: str) -> bytes:
        block.length += len(piece)
        return self._chunk({"reasoning_content": piece}) if piece else b""

    def _arguments(self, block: _Block, piece: str) -> bytes:
        if not piece:
            return b""
        block.written = True
        call = {"index": block.call, "function": {"arguments": piece}}
        return self._chunk({"tool_calls": [call]})

    def _message_delta(self, document: Document) -> bytes:
        self._count(document.get("usage"))
        delta = _inner(document, "delta")
        if delta.get("stop_reason") is None:
            return b""
        refusal = refusal_of(delta)
        shown = {"refusal": refusal} if refusal is not None else {}
        return self._chunk(shown, finish_reason(delta["stop_reason"]))

    def _stop(self, _document: Document) -> bytes:
        """The usage always comes: whoever has not asked for it has it taken out later."""
        self._done = True
        done = event(b"[DONE]")
        if self.usage is None:
            return done
        usage = {**self._head, "choices": [], "usage": usage_object(self.usage)}
        return event(strictjson.dumps(usage)) + done

    def _error(self, document: Document) -> bytes:
        error = error_object(document) or {"message": "the provider failed", "type": "api_error"}
        return event(strictjson.dumps({"error": error}))


_HANDLERS = {
    "ping": Stream._ping,
    "message_start": Stream._start,
    "content_block_start": Stream._block_start,
    "content_block_delta": Stream._delta,
    "content_block_stop": Stream._block_stop,
    "message_delta": Stream._message_delta,
    "message_stop": Stream._stop,
    "error": Stream._error,
}


def _inner(document: Document, key: str) -> Document:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _text(document: Document, key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""
