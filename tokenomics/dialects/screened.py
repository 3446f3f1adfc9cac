"""A stream whose texts are screened: events go in whole, and come out with what may be shown.

The deltas of one text are a channel with a screen of its own; a screen may hold back the end of
what came. An event whose text is held goes out with less text, or none, so that ids, order and
count of events stay as they were. What a screen still holds when its channel ends goes out in one
more delta, made after the channel's last. Every other text of an event (the whole text that
Responses repeats at the end, titles, search results) is looked at by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tokenomics import strictjson
from tokenomics.dialects.answers import answer_texts, with_instructions, without_logprobs
from tokenomics.dialects.jsonscreen import JsonScreen, Screen
from tokenomics.dialects.sse import event, events
from tokenomics.dialects.texts import Path, masked, replaced

_DATA_LINE = re.compile(rb"^data:.*$\r?\n?", re.MULTILINE)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_CHAT_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_BINARY_DELTAS = ("response.audio.delta", "response.output_audio.delta")


class Slot(NamedTuple):
    """A piece of a channel's text in an event, and where it stands. `json` for tool arguments."""

    channel: tuple[Hashable, ...]
    path: Path
    json: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """Where a dialect's events have pieces of texts, and which channels end with an event: those
    that begin with one of `closes`. `bare` makes of a delta one that carries nothing else."""

    slots: Callable[[Mapping[str, Any]], Iterator[Slot]]
    closes: Callable[[Mapping[str, Any]], Iterator[tuple[Hashable, ...]]]
    bare: Callable[[dict[str, Any], Slot], dict[str, Any]]


# OpenAI: chat and completions


def _items(value: Any) -> Iterator[tuple[int, Any]]:
    for i, item in enumerate(value) if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield i, item


def _chat_slots(document: Mapping[str, Any]) -> Iterator[Slot]:
    for i, choice in _items(document.get("choices")):
        index = str(choice.get("index", 0))
        if isinstance(choice.get("text"), str):
            yield Slot((index, "text"), ("choices", i, "text"))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            continue
        path: Path = ("choices", i, "delta")
        for key in _CHAT_TEXTS:
            if isinstance(delta.get(key), str):
                yield Slot((index, key), (*path, key))
        if isinstance(delta.get("audio"), dict) and isinstance(
            delta["audio"].get("transcript"), str
        ):
            yield Slot((index, "audio"), (*path, "audio", "transcript"))
        calls = [((*path, "tool_calls", j), call) for j, call in _items(delta.get("tool_calls"))]
        for place, call in calls:
            inner = call.get("function")
            if isinstance(inner, dict) and isinstance(inner.get("arguments"), str):
                channel = (index, "call", str(call.get("index", 0)))
                yield Slot(channel, (*place, "function", "arguments"), json=True)
        old = delta.get("function_call")
        if isinstance(old, dict) and isinstance(old.get("arguments"), str):
            yield Slot((index, "call", ""), (*path, "function_call", "arguments"), json=True)


def _chat_closes(document: Mapping[str, Any]) -> Iterator[tuple[Hashable, ...]]:
    for _, choice in _items(document.get("choices")):
        if choice.get("finish_reason") is not None:
            yield (str(choice.get("index", 0)),)


def _chat_bare(document: dict[str, Any], slot: Slot) -> dict[str, Any]:
    choice = document["choices"][slot.path[1]]
    kept = {key: choice[key] for key in ("index", "delta", "text") if key in choice}
    if "delta" in kept:
        step = slot.path[3]
        inner = kept["delta"][step]
        if step == "tool_calls":
            call = inner[slot.path[4]]
            function = {"arguments": call["function"]["arguments"]}
            inner = [{"index": call.get("index", 0), "function": function}]
        elif step == "audio":
            inner = {"transcript": inner["transcript"]}
        elif step == "function_call":
            inner = {"arguments": inner["arguments"]}
        kept["delta"] = {step: inner}
    bare = {**document, "choices": [{**kept, "finish_reason": None}]}
    bare.pop("usage", None)
    return bare


def _chat_path(slot: Slot) -> Path:
    """Where the text of a bare delta stands."""
    if len(slot.path) > 4 and slot.path[3] == "tool_calls":
        return ("choices", 0, "delta", "tool_calls", 0, "function", "arguments")
    return ("choices", 0, *slot.path[2:])


# Anthropic

_DELTAS = {
    "text_delta": ("text", False),
    "thinking_delta": ("thinking", False),
    "input_json_delta": ("partial_json", True),
}


def _message_slots(document: Mapping[str, Any]) -> Iterator[Slot]:
    index = str(document.get("index", 0))
    delta, block = document.get("delta"), document.get("content_block")
    if document.get("type") == "content_block_delta" and isinstance(delta, dict):
        key, is_json = _DELTAS.get(str(delta.get("type")), ("", False))
        if key and isinstance(delta.get(key), str):
            yield Slot((index, key), ("delta", key), is_json)
    elif document.get("type") == "content_block_start" and isinstance(block, dict):
        for key in ("text", "thinking"):
            if isinstance(block.get(key), str):
                yield Slot((index, key), ("content_block", key))


def _message_closes(document: Mapping[str, Any]) -> Iterator[tuple[Hashable, ...]]:
    kind = document.get("type")
    if kind == "content_block_stop":
        yield (str(document.get("index", 0)),)
    elif kind in ("message_delta", "message_stop", "error"):
        yield ()


def _message_bare(document: dict[str, Any], slot: Slot) -> dict[str, Any]:
    key = str(slot.path[1])
    kind = next(name for name, (field_, _) in _DELTAS.items() if field_ == key)
    text = document[str(slot.path[0])][key]
    index = document.get("index", 0)
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}


# Responses


def _response_slots(document: Mapping[str, Any]) -> Iterator[Slot]:
    kind = str(document.get("type"))
    if not kind.endswith(".delta") or kind in _BINARY_DELTAS:
        return
    if isinstance(document.get("delta"), str):
        channel = _response_channel(document, kind.removesuffix(".delta"))
        yield Slot(channel, ("delta",), json="arguments" in kind)


def _response_channel(document: Mapping[str, Any], kind: str) -> tuple[Hashable, ...]:
    names = ("item_id", "output_index", "content_index", "summary_index")
    return (kind, *(str(document.get(name, "")) for name in names))


def _response_closes(document: Mapping[str, Any]) -> Iterator[tuple[Hashable, ...]]:
    kind = str(document.get("type"))
    if kind in ("response.completed", "response.incomplete", "response.failed", "error"):
        yield ()
    elif kind.endswith(".done"):
        yield _response_channel(document, kind.removesuffix(".done"))


def _as_it_is(document: dict[str, Any], _slot: Slot) -> dict[str, Any]:
    return document


FORMS = {
    "openai": Form(_chat_slots, _chat_closes, _chat_bare),
    "responses": Form(_response_slots, _response_closes, _as_it_is),
    "events": Form(_response_slots, _response_closes, _as_it_is),
    "anthropic": Form(_message_slots, _message_closes, _message_bare),
}


@dataclass(slots=True)
class _Channel:
    """One text on its way, and the last event that had a piece of it."""

    screen: Screen
    slot: Slot
    document: dict[str, Any] = field(default_factory=dict)
    lines: bytes = b""  # of that event, but for its data


class ScreenedStream:
    """Passes events through screens. `open_screen` makes the screen of one text, `inspect` masks
    texts that come whole. `instructions` are the client's own, to be shown instead of what its
    policy put there; None leaves an answer's as they are."""

    def __init__(
        self,
        form: Form,
        open_screen: Callable[[], Screen],
        inspect: Callable[[Sequence[str]], Sequence[str]],
        instructions: tuple[str | None] | None = None,
    ) -> None:
        self._form = form
        self._open = open_screen
        self._inspect = inspect
        self._instructions = instructions
        self._channels: dict[tuple[Hashable, ...], _Channel] = {}
        self._added = 0  # events of ours, which shift the numbers of those that follow

    def feed(self, block: bytes) -> bytes:
        """Whole events, as they may go out."""
        return b"".join(self._event(raw, data) for raw, data in events(block))

    def end(self) -> bytes:
        """What the screens of texts that never ended still hold."""
        return b"".join(self._flush(()))

    def _event(self, raw: bytes, data: bytes) -> bytes:
        if not data:
            return raw
        document = _loads(data)
        if not isinstance(document, dict):
            return self.end() + self._plain(raw, data)
        lines = _DATA_LINE.sub(b"", raw).rstrip(b"\r\n")
        shown, slots = self._rewritten(document, lines)
        flushed = []
        for prefix in self._form.closes(document):
            flushed += self._flush(prefix, {slot.channel: slot for slot in slots}, shown)
        if self._instructions is not None:
            shown[0] = with_instructions(shown[0], self._instructions[0])
        return b"".join([*flushed, self._written(lines, shown[0])])

    def _rewritten(
        self, document: dict[str, Any], lines: bytes
    ) -> tuple[list[dict[str, Any]], list[Slot]]:
        """The document as it may be shown so far, in a list of one, and its slots."""
        slots = list(self._form.slots(document))
        paths = {slot.path for slot in slots}
        others = [text for text in answer_texts(document) if text.path not in paths]
        shown = document
        if others:
            shown = masked(document, others, self._inspect([text.value for text in others]))
        changes: dict[Path, Any] = {}
        for slot in slots:
            channel = self._channel(slot)
            changes[slot.path] = channel.screen.feed(_at(document, slot.path))
            channel.slot, channel.document, channel.lines = slot, document, lines
        if changes:
            shown = replaced(shown, changes)
        return [without_logprobs(shown)], slots

    def _channel(self, slot: Slot) -> _Channel:
        channel = self._channels.get(slot.channel)
        if channel is None:
            screen = JsonScreen(self._open) if slot.json else self._open()
            channel = self._channels[slot.channel] = _Channel(screen, slot)
        return channel

    def _flush(
        self,
        prefix: tuple[Hashable, ...],
        here: Mapping[tuple[Hashable, ...], Slot] | None = None,
        shown: list[dict[str, Any]] | None = None,
    ) -> list[bytes]:
        """End the channels under a prefix. What they held goes into the event that ends them if it
        has a piece of them, else into one more delta before it."""
        out = []
        for key in [key for key in self._channels if key[: len(prefix)] == prefix]:
            channel = self._channels.pop(key)
            rest = channel.screen.end()
            if not rest:
                continue
            slot = (here or {}).get(key)
            if slot is not None and shown is not None:
                shown[0] = replaced(shown[0], {slot.path: _at(shown[0], slot.path) + rest})
                continue
            bare = self._form.bare(channel.document, channel.slot)
            path = _bare_path(channel.slot)
            extra = without_logprobs(replaced(bare, {path: rest}))
            self._added += 1
            out.append(self._written(_named(channel.lines, extra), extra))
        return out

    def _plain(self, raw: bytes, data: bytes) -> bytes:
        """An event whose data is no object: `[DONE]`, or text of some kind."""
        text = data.decode("utf-8", "replace")
        shown = self._inspect([text])[0]
        return raw if shown == text else event(shown.encode())

    def _written(self, lines: bytes, document: dict[str, Any]) -> bytes:
        if self._added and isinstance(document.get("sequence_number"), int):
            number = document["sequence_number"] + self._added
            document = {**document, "sequence_number": number}
        head = lines + b"\n" if lines else b""
        return head + event(strictjson.dumps(document))


def _loads(data: bytes) -> Any:
    """The document of an event, None if it is none. Half a surrogate pair becomes a question mark:
    no text that is looked at may hold one."""
    try:
        document = json.loads(data)
        if _SURROGATE.search(data):
            text = json.dumps(document, ensure_ascii=False)
            document = json.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return document


def _named(lines: bytes, document: Mapping[str, Any]) -> bytes:
    """The lines of an event, with the name of what it has become."""
    kind = document.get("type")
    if lines.startswith(b"event:") and isinstance(kind, str):
        return b"event: " + kind.encode()
    return lines


def _bare_path(slot: Slot) -> Path:
    if slot.path[0] == "choices":
        return _chat_path(slot)
    if slot.path[0] == "content_block":
        return ("delta", slot.path[1])
    return slot.path


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
