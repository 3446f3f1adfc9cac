"""A stream of chat completions, as one of Anthropic's, event by event.

https://platform.openai.com/docs/api-reference/chat-streaming,
https://docs.anthropic.com/en/docs/build-with-claude/streaming.

Laws: one block is open at a time, and blocks are numbered as they open. What belongs to the open
block goes on in the pieces in which it comes. Whatever begins beside it waits until that is over: a
thought or a text as soon as something else begins, a call once its arguments are a whole object,
for chat may mix the pieces of several calls. The message ends at `[DONE]`, if there was a
`finish_reason`; a stream that breaks off before goes on without `message_stop`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.sse import MAX_EVENT, Cutter, EventTooLong, events, named_event
from tokenomics.dialects.translate.chat_answer import (
    arguments,
    call_id,
    error_in,
    first_choice,
    head,
    invalid,
    said_in,
    stopped,
    usage_in,
    usage_object,
)
from tokenomics.dialects.translate.loose import loads
from tokenomics.dialects.usage import Usage

Document = dict[str, Any]

# Characters of calls that are kept, to wait or to be looked at when they are whole.
MAX_KEPT = MAX_EVENT
MAX_CALLS = 1000  # of one answer, each of which is kept; models make a dozen
# Looks at a call whether it is whole, while another waits; most are at the first. They cost as much
# as the call is long. One that is not whole by then is over at the end.
MAX_LOOKS = 16

_DELTAS = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "tool_use": ("input_json_delta", "partial_json"),
}
_STARTS: dict[str, Document] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
}


@dataclass(slots=True, eq=False)
class _Block:
    """A block that waits, is open, or is over. `pieces` has what came of one that waits, and of a
    call; `looks` is how often it was looked at."""

    kind: str
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    looks: int = 0
    over: bool = False

    def start(self) -> Document:
        """The block, empty."""
        if self.kind == "tool_use":
            return {"type": self.kind, "id": self.id, "name": self.name, "input": {}}
        return {"type": self.kind, **_STARTS[self.kind]}


class Stream:
    """Translates one stream. `now` is when it began, in seconds; `usage` is what it has cost as far
    as the provider has said."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._cutter = Cutter()
        self._head: Document | None = None  # None until the message has begun
        self._open: _Block | None = None
        self._index = 0  # of the block that is open, or will be
        self._waiting: list[_Block] = []
        self._calls: dict[int, _Block] = {}  # the latest by the provider's index
        self._called = 0
        self._kept = 0
        self._refused = False
        self._finish: Document | None = None  # the choice that says why it ended
        self._done = False
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """The events that bytes of any length complete. Raises sse.EventTooLong, and Refusal
        `upstream_invalid` if an event is no JSON, or a call of no use."""
        return self._translated(self._cutter.feed(data))

    def end(self) -> bytes:
        """What is left when the provider has ended: a last event may lack its blank line."""
        rest = self._cutter.rest()
        cut = any(loads(data) is None and data.strip() != b"[DONE]" for _, data in events(rest))
        return b"" if cut else self._translated(rest)

    def _translated(self, block: bytes) -> bytes:
        return b"".join([self._event(raw, data) for raw, data in events(block) if raw.strip()])

    def _event(self, raw: bytes, data: bytes) -> bytes:
        if self._done:
            return b""
        if not data:  # comments keep a connection open
            return b":\n\n" if raw.startswith(b":") else b""
        if data.strip() == b"[DONE]":
            return self._end()
        document = loads(data)
        if not isinstance(document, dict):
            raise invalid("an event of the provider's stream is not a JSON object")
        if document.get("error") is not None:
            self._done = True
            return _written(error_in(document))
        self._count(document)
        choice = first_choice(document)  # Azure's verdict on the prompt, and the usage, have none
        return b"" if choice is None else self._chunk(document, choice)

    def _count(self, document: Document) -> None:
        """Some tell it once, at the end; some in every chunk, and it grows."""
        usage = usage_in(document)
        if usage is not None:
            before = self.usage
            self.usage = usage if before is None else Usage(*map(max, before, usage))

    # Chunks

    def _chunk(self, document: Document, choice: Document) -> bytes:
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        out = [self._start(document)]
        said = said_in(delta)
        self._refused = self._refused or bool(said.refusal)
        out.append(self._say("thinking", said.thought))
        out.append(self._say("text", said.text + said.refusal))
        calls = delta.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                out.append(self._call(call, place))
        if choice.get("finish_reason") == "error":
            raise invalid("the provider says that its answer failed")
        if choice.get("finish_reason"):
            self._finish = choice
        return b"".join(out)

    def _start(self, document: Document) -> bytes:
        if self._head is not None:
            return b""
        self._head = head(document, self._now)
        message = {**self._head, "usage": usage_object(self.usage or Usage(0, 0))}
        return _written({"type": "message_start", "message": message})

    def _say(self, kind: str, piece: str) -> bytes:
        """A piece of a thought or of a text: of the block that came last, if it is of that kind."""
        if not piece:
            return b""
        last = self._waiting[-1] if self._waiting else self._open
        block = last if last is not None and last.kind == kind else _Block(kind)
        return self._piece(block, piece)

    def _call(self, call: Document, place: int) -> bytes:
        """A piece of a call; the first has its id and its name."""
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        given = function.get("arguments")
        piece = strictjson.dumps(given).decode() if isinstance(given, dict) else str(given or "")
        block = self._called_at(call, str(function.get("name") or ""), place)
        return self._piece(block, piece)

    def _called_at(self, call: Document, name: str, place: int) -> _Block:
        """The call that a piece belongs to. Who sends a call in one piece may give no index, or the
        same to each: a second name with another id is another call."""
        index, id_ = call.get("index"), call.get("id")
        key = index if type(index) is int else place
        known = self._calls.get(key)
        other = bool(name) and isinstance(id_, str) and bool(id_)
        if known is None or (other and known.name and id_ != known.id):
            self._called += 1
            if self._called > MAX_CALLS:
                raise invalid(f"the provider's stream has more than {MAX_CALLS} tool calls")
            answer = (self._head or {}).get("id")
            known = self._calls[key] = _Block("tool_use", call_id(id_, answer, self._called - 1))
        known.name = known.name or name
        return known

    # Blocks

    def _piece(self, block: _Block, piece: str) -> bytes:
        """What goes out for a piece of a block. Raises EventTooLong if too much is kept, and
        Refusal if a call goes on after its arguments were whole."""
        if block.over and piece.strip():
            raise invalid("a tool call in the provider's stream goes on after its end")
        if block.over:
            return b""
        if block is not self._open and block not in self._waiting:
            self._waiting.append(block)
        if piece and (block is not self._open or block.kind == "tool_use"):
            block.pieces.append(piece)
            self._kept += len(piece)
            if self._kept > MAX_KEPT:
                raise EventTooLong
        if block is self._open:
            return self._delta(block, piece) if piece else b""
        return self._advance()

    def _advance(self) -> bytes:
        """Open what waits, as far as that may be."""
        out = b""
        while self._waiting and (self._open is None or self._is_over(self._open)):
            if self._waiting[0].kind == "tool_use" and not self._waiting[0].name:
                break
            out += self._close() + self._begin(self._waiting.pop(0))
        return out

    def _is_over(self, block: _Block) -> bool:
        """Whether the open block may end, for others wait. Without arguments a call may only have
        begun."""
        if block.kind != "tool_use":
            return True
        if not block.pieces or not block.pieces[-1].rstrip().endswith("}"):
            return False
        block.looks += 1
        return block.looks <= MAX_LOOKS and arguments("".join(block.pieces)) is not None

    def _begin(self, block: _Block) -> bytes:
        """Open a block, with what came of it while it waited."""
        self._open = block
        start = {"index": self._index, "content_block": block.start()}
        piece = "".join(block.pieces)
        if block.kind != "tool_use":
            block.pieces.clear()
            self._kept -= len(piece)
        delta = self._delta(block, piece) if piece else b""
        return _written({"type": "content_block_start", **start}) + delta

    def _delta(self, block: _Block, piece: str) -> bytes:
        kind, key = _DELTAS[block.kind]
        delta = {"index": self._index, "delta": {"type": kind, key: piece}}
        return _written({"type": "content_block_delta", **delta})

    def _close(self) -> bytes:
        """The open block ends. Raises Refusal if it is a call that cannot be read: one of an answer
        that was cut off is the client's to judge, as it is with Anthropic."""
        block = self._open
        if block is None:
            return b""
        cut = self._finish is not None and self._finish["finish_reason"] == "length"
        if block.kind == "tool_use" and not cut and arguments("".join(block.pieces)) is None:
            raise invalid("a tool call in the provider's stream has arguments that are no object")
        stop = {"type": "content_block_stop", "index": self._index}
        block.over = True
        self._open = None
        self._index += 1
        return _written(stop)

    def _end(self) -> bytes:
        """What waits, why it ended, and what it cost; nothing, if nobody said why."""
        self._done = True
        if self._finish is None:
            return b""
        out = [self._close()]
        for block in self._waiting:
            if block.kind == "tool_use" and not block.name:
                raise invalid("the provider's stream has a tool call without a name")
            out += [self._begin(block), self._close()]
        delta = stopped(self._finish, called=bool(self._called), refused=self._refused)
        usage = usage_object(self.usage or Usage(0, 0))
        out.append(_written({"type": "message_delta", "delta": delta, "usage": usage}))
        out.append(_written({"type": "message_stop"}))
        return b"".join(out)


def _written(document: Document) -> bytes:
    return named_event(document["type"], strictjson.dumps(document))
