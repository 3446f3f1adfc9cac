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
from itertools import pairwise
from typing import Any, NamedTuple

from tokenomics import strictjson
from tokenomics.dialects.answers import WORDS, answer_texts, with_instructions, without_logprobs
from tokenomics.dialects.jsonscreen import JsonScreen, Screen
from tokenomics.dialects.names import ANSWER_KEYS
from tokenomics.dialects.sse import events
from tokenomics.dialects.texts import INSIDE, OWN_JSON, Path, masked, replaced, walk

_BOM = b"\xef\xbb\xbf"  # which a client drops before a stream's first line
_EVENT_LINE = re.compile(rb"(?m)^event:.*$")
_ID = re.compile(rb"id: ?[0-9]{1,6}")  # of an event, counted
MAX_FINE = 64  # lines that are remembered; the dialects have about so many events
_BRACKETS = re.compile(r"""\\\\.|["\[\]{}]""", re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_CHAT_TEXTS = ("content", "reasoning_content", "reasoning", "reasoning_details", "refusal")
_PART_TEXTS = ("text", "thinking", "summary")  # of those that are lists of parts
_NAMES = ("index", "type")  # they say of a piece which one it is
_UNFINISHED = (None, "", "null")  # what providers say of a choice that goes on
_BINARY_DELTAS = ("response.audio.delta", "response.output_audio.delta")


class Slot(NamedTuple):
    """A piece of a channel's text in an event, and where it stands. `json` for tool arguments."""

    channel: tuple[Hashable, ...]
    path: Path
    json: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """Where a dialect's events have pieces of texts, and which channels end with an event: those
    that begin with one of `closes`. `bare` makes of an event one that carries nothing but a text,
    which goes where the slot was."""

    slots: Callable[[Mapping[str, Any]], Iterator[Slot]]
    closes: Callable[[Mapping[str, Any]], Iterator[tuple[Hashable, ...]]]
    bare: Callable[[dict[str, Any], Slot, str], dict[str, Any]]


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
            for channel, below in _pieces(delta.get(key)):
                yield Slot((index, key, *channel), (*path, key, *below))
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


def _pieces(value: Any) -> Iterator[tuple[tuple[Hashable, ...], Path]]:
    """(channel, path) of each piece of text in a delta's text, or in its list of parts: Mistral's
    and OpenRouter's thinking comes in those."""
    if isinstance(value, str):
        yield (), ()
    for i, part in _items(value):
        for key in _PART_TEXTS:
            for channel, below in _pieces(part.get(key)):
                yield (str(part.get("index", i)), key, *channel), (i, key, *below)


def _chat_closes(document: Mapping[str, Any]) -> Iterator[tuple[Hashable, ...]]:
    for _, choice in _items(document.get("choices")):
        if choice.get("finish_reason") not in _UNFINISHED:
            yield (str(choice.get("index", 0)),)


def _chat_bare(document: dict[str, Any], slot: Slot, text: str) -> dict[str, Any]:
    choice = document["choices"][slot.path[1]]
    kept = _only(choice, slot.path[2:], text)
    kept |= {"index": choice.get("index", 0), "finish_reason": None}
    bare = {**document, "choices": [kept]}
    bare.pop("usage", None)
    return bare


def _only(node: Any, path: Path, text: str) -> Any:
    """Of `node` only what stands at `path`, where `text` stands instead; and what says of an item
    of a list which one it is."""
    if not path:
        return text
    step, inner = path[0], node[path[0]]
    if isinstance(step, str):
        return {step: _only(inner, path[1:], text)}
    named = {key: inner[key] for key in _NAMES if key in inner}
    return [{**named, **_only(inner, path[1:], text)}]


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


def _message_bare(document: dict[str, Any], slot: Slot, text: str) -> dict[str, Any]:
    key = str(slot.path[1])
    kind = next(name for name, (field_, _) in _DELTAS.items() if field_ == key)
    index = document.get("index", 0)
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}


# Responses


def _response_slots(document: Mapping[str, Any]) -> Iterator[Slot]:
    kind = str(document.get("type"))
    if not kind.endswith(".delta") or kind in _BINARY_DELTAS:
        return
    channel = _response_channel(document, kind.removesuffix(".delta"))
    if isinstance(document.get("delta"), str):
        yield Slot(channel, ("delta",), json="arguments" in kind)
    elif isinstance(document.get("delta"), dict):
        for path in _strings(document["delta"]):
            is_json = "arguments" in kind or path[-1] == "arguments"
            yield Slot((*channel, *path), ("delta", *path), is_json)


def _strings(delta: dict[str, Any]) -> Iterator[Path]:
    """Where a delta that is an object has pieces of texts, at keys of the API's own."""
    paths = [text.path for text in walk(delta, (), WORDS)]
    whole = [path[: path.index(INSIDE)] if INSIDE in path else path for path in paths]
    for path in dict.fromkeys(whole):
        known = all(isinstance(step, int) or step in ANSWER_KEYS for step in path)
        of_objects = all(isinstance(a, str) or isinstance(b, str) for a, b in pairwise([*path, 0]))
        if known and of_objects and isinstance(_at(delta, path), str):
            yield path


def _response_channel(document: Mapping[str, Any], kind: str) -> tuple[Hashable, ...]:
    names = ("item_id", "output_index", "content_index", "summary_index")
    return (kind, *(str(document.get(name, "")) for name in names))


def _response_closes(document: Mapping[str, Any]) -> Iterator[tuple[Hashable, ...]]:
    kind = str(document.get("type"))
    if kind in ("response.completed", "response.incomplete", "response.failed", "error"):
        yield ()
    elif kind.endswith(".done"):
        yield _response_channel(document, kind.removesuffix(".done"))


def _response_bare(document: dict[str, Any], slot: Slot, text: str) -> dict[str, Any]:
    delta, path = document["delta"], slot.path[1:]
    if not path:
        return {**document, "delta": text}
    named = {key: delta[key] for key in _NAMES if key in delta}
    return {**document, "delta": {**named, **_only(delta, path, text)}}


FORMS = {
    "openai": Form(_chat_slots, _chat_closes, _chat_bare),
    "responses": Form(_response_slots, _response_closes, _response_bare),
    "events": Form(_response_slots, _response_closes, _response_bare),
    "anthropic": Form(_message_slots, _message_closes, _message_bare),
}


@dataclass(slots=True)
class _Channel:
    """One text on its way, and the last event that had a piece of it, as it was shown."""

    screen: Screen
    slot: Slot
    document: dict[str, Any] = field(default_factory=dict)
    lines: bytes = b""  # of that event, but for its data


class ScreenedStream:
    """Passes events through screens. `open_screen` makes the screen of one text, `inspect` masks
    texts that come whole; `hides` tells whether they ever change or stop a text. `instructions` are
    the client's own, to be shown instead of what its policy put there; None leaves an answer's as
    they are. An event in which nothing changes goes on as it came."""

    def __init__(
        self,
        form: Form,
        open_screen: Callable[[], Screen],
        inspect: Callable[[Sequence[str]], Sequence[str]],
        instructions: tuple[str | None] | None = None,
        *,
        hides: bool = True,
    ) -> None:
        self._form = form
        self._open = open_screen
        self._inspect = inspect
        self._instructions = instructions
        self._hides = hides
        self._channels: dict[tuple[Hashable, ...], _Channel] = {}
        self._added = 0  # events of ours, which shift the numbers of those that follow
        self._number = 0  # of the last event that had one
        self._began = False
        self._fine: set[bytes] = set()  # lines beside data in which nothing was found

    def feed(self, block: bytes) -> bytes:
        """Whole events, as they may go out. Raises what a screen raises; then nothing of `block`
        goes out."""
        if not self._began:
            self._began, block = True, block.removeprefix(_BOM)
        return b"".join(self._event(raw, data) for raw, data in events(block))

    def end(self) -> bytes:
        """What the screens of texts that never ended still hold."""
        return b"".join(self._flush(()))

    def _event(self, raw: bytes, data: bytes) -> bytes:
        # A client takes what stands in a line of any end for the event's data, and so do we.
        own = [line for line in raw.splitlines() if line[:5] != b"data:"]
        heads = [self._head(line) for line in own]
        lines = b"\n".join([line for line in heads if line])
        if not data:
            return raw if heads == own else lines + b"\n\n"
        text = data.decode("utf-8", "replace")  # bytes that are no text must not hide the rest
        document = _loads(text)
        if not isinstance(document, dict | list):
            flushed = self._flush(()) if data.strip() == b"[DONE]" else []
            return b"".join([*flushed, self._plain(raw if heads == own else b"", lines, data)])
        # No dialect has arrays, but who reads one takes its items for events.
        items = document if isinstance(document, list) else [document]
        out: list[bytes] = []
        shown = [self._item(item, lines, out) for item in items]
        final = shown if isinstance(document, list) else shown[0]
        same = final == document and heads == own and "\ufffd" not in text
        same = same and not _SURROGATE.search(text)
        return b"".join([*out, raw if same else self._written(lines, final)])

    def _item(self, document: Any, lines: bytes, out: list[bytes]) -> Any:
        """A document as it may be shown so far; the events that go before it come to `out`."""
        if not isinstance(document, dict):
            texts = walk(document, (), OWN_JSON)
            return masked(document, texts, self._inspect([text.value for text in texts]))
        shown, slots = self._rewritten(document, lines)
        for prefix in self._form.closes(document):
            out += self._flush(prefix, {slot.channel: slot for slot in slots}, shown)
        if self._instructions is not None:
            shown[0] = with_instructions(shown[0], self._instructions[0])
        return self._numbered(shown[0])

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
        channels = [self._channel(slot) for slot in slots]
        changes: dict[Path, Any] = {
            slot.path: channel.screen.feed(_at(document, slot.path))
            for slot, channel in zip(slots, channels, strict=True)
        }
        if changes:
            shown = replaced(shown, changes)
        if self._hides:
            shown = without_logprobs(shown)
        for slot, channel in zip(slots, channels, strict=True):
            channel.slot, channel.document, channel.lines = slot, shown, lines
        return [shown], slots

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
            extra = self._form.bare(channel.document, channel.slot, rest)
            if isinstance(extra.get("sequence_number"), int):
                self._added += 1
                self._number += 1
                extra["sequence_number"] = self._number
            out.append(self._written(_named(channel.lines, extra), extra))
        return out

    def _head(self, line: bytes) -> bytes:
        """A line beside the data, as it may be shown: a comment keeps the connection open without
        what it says."""
        if not line or line in self._fine or _ID.fullmatch(line):
            return line
        text = line.decode("utf-8", "replace")
        if self._inspect([text])[0] != text:
            return line[:1] if line[:1] == b":" else b""
        if len(self._fine) < MAX_FINE:
            self._fine.add(line)
        return line

    def _plain(self, raw: bytes, lines: bytes, data: bytes) -> bytes:
        """An event whose data is no object or array: `[DONE]`, or text of some kind. `raw`
        is empty if it may not go on as it came."""
        text = data.decode("utf-8", "replace")
        shown = self._inspect([text])[0]
        if raw and shown == text:
            return raw
        return self._written(lines, *shown.replace("\r", "\n").split("\n"))

    def _numbered(self, document: dict[str, Any]) -> dict[str, Any]:
        number = document.get("sequence_number")
        if not isinstance(number, int):
            return document
        self._number = number + self._added
        return {**document, "sequence_number": self._number} if self._added else document

    @staticmethod
    def _written(lines: bytes, *data: dict[str, Any] | list[Any] | str) -> bytes:
        head = lines + b"\n" if lines else b""
        encoded = [d.encode() if isinstance(d, str) else strictjson.dumps(d) for d in data]
        return head + b"".join([b"data: " + line + b"\n" for line in encoded]) + b"\n"


def _loads(data: str) -> Any:
    """The document of an event, None if it is none, or nests deeper than a document may. Half a
    surrogate pair becomes a question mark: no text that is looked at may hold one."""
    if data.count("{") + data.count("[") > strictjson.MAX_DEPTH and _is_deep(data):
        return None
    try:
        document = json.loads(data)
        if _SURROGATE.search(data):
            text = json.dumps(document, ensure_ascii=False)
            document = json.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return document


def _is_deep(data: str) -> bool:
    depth = deepest = 0
    inside = False
    for match in _BRACKETS.finditer(data):
        char = match[0]
        if char == '"':
            inside = not inside
        elif not inside and len(char) == 1:
            depth += 1 if char in "[{" else -1
            deepest = max(depth, deepest)
    return deepest > strictjson.MAX_DEPTH


def _named(lines: bytes, document: Mapping[str, Any]) -> bytes:
    """The lines of an event, with the name of what it has become."""
    kind = document.get("type")
    if not isinstance(kind, str):
        return lines
    return _EVENT_LINE.sub(lambda _: b"event: " + kind.encode(), lines)


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
