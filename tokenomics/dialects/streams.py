"""Streams of every dialect: what each event means, and following one to its end. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects import anthropic, openai
from tokenomics.dialects.answers import choice_texts, strings_at
from tokenomics.dialects.sse import Cutter, event, events, named_event
from tokenomics.dialects.usage import Usage, read_usage
from tokenomics.errors import Refusal

LEAST_BYTES, MOST_BYTES = 1.5, 5  # that a token has: of a hash, and more than of prose
SAMPLE_BYTES = 4096  # of a stream, by which the frame around its texts is known
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
# In a text of the model's its quotes would be escaped.
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*([0-9]{1,15})')
_ERROR_LINE = re.compile(rb"(?m)^event: ?error\r?$")


@dataclass(frozen=True, slots=True)
class Form:
    """What a dialect's events say. `marks` are byte strings without which no event ends the stream;
    `ends` tells of an event's data, and its document if it is JSON, whether it does; `failed`
    whether the provider says that it failed; `usage` finds the usage object, `generated` the
    strings that were generated; `text` what the
    assistant says; `error` makes a refusal an event, to follow on the events that went out last;
    `open_ended` ones end with their body."""

    marks: tuple[bytes, ...]
    ends: Callable[[bytes, Any], bool]
    failed: Callable[[Mapping[str, Any]], bool]
    usage: Callable[[Mapping[str, Any]], Any]
    generated: re.Pattern[bytes]
    text: Callable[[Any], list[str]]
    error: Callable[[Refusal, str, bytes], bytes]
    open_ended: bool = False

    def texts_in(self, block: bytes) -> list[str]:
        """What the assistant says in whole events."""
        out: list[str] = []
        for _, data in events(block):
            if data.startswith(b"{"):
                out += self.text(_loads(data))
        return out


# OpenAI: https://platform.openai.com/docs/api-reference/chat-streaming


def _openai_error(refusal: Refusal, _request_id: str, _last: bytes) -> bytes:
    return event(openai.error_body(refusal))


OPENAI = Form(
    marks=(b"[DONE]",),
    ends=lambda data, _document: data.strip() == b"[DONE]",
    failed=lambda document: document.get("error") is not None,
    usage=lambda document: document.get("usage"),
    generated=strings_at("content|reasoning_content|reasoning|refusal|arguments|text"),
    text=lambda document: choice_texts(document, "delta"),
    error=_openai_error,
)

# Responses: https://platform.openai.com/docs/api-reference/responses-streaming. A response that
# failed is an end, told in full.
_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")


def _of_response(document: Mapping[str, Any]) -> Any:
    response = document.get("response")
    return response.get("usage") if isinstance(response, dict) else document.get("usage")


def _response_text(document: Any) -> list[str]:
    if isinstance(document, dict) and document.get("type") == "response.output_text.delta":
        text = document.get("delta")
        return [text] if isinstance(text, str) else []
    return []


def _response_error(refusal: Refusal, _request_id: str, last: bytes) -> bytes:
    error = {"code": refusal.code, "message": refusal.message, "param": refusal.param}
    numbers = _SEQUENCE.findall(last)
    number = int(numbers[-1]) + 1 if numbers else 0
    return named_event(
        "error", strictjson.dumps({"type": "error", **error, "sequence_number": number})
    )


RESPONSES = Form(
    marks=tuple(name.encode() for name in _RESPONSE_ENDS),
    ends=lambda _data, document: _type(document) in _RESPONSE_ENDS,
    failed=lambda document: document.get("type") == "error",
    usage=_of_response,
    generated=strings_at("delta"),
    text=_response_text,
    error=_response_error,
)

# Anthropic: https://docs.anthropic.com/en/docs/build-with-claude/streaming


def _of_message(document: Mapping[str, Any]) -> Any:
    message = document.get("message")
    return message.get("usage") if isinstance(message, dict) else document.get("usage")


def _message_text(document: Any) -> list[str]:
    delta = document.get("delta") if isinstance(document, dict) else None
    text = delta.get("text") if isinstance(delta, dict) else None
    return [text] if isinstance(text, str) else []


def _message_error(refusal: Refusal, request_id: str, _last: bytes) -> bytes:
    return named_event("error", anthropic.error_body(refusal, request_id))


ANTHROPIC = Form(
    marks=(b"message_stop",),
    ends=lambda _data, document: _type(document) == "message_stop",
    failed=lambda document: document.get("type") == "error",
    usage=_of_message,
    generated=strings_at("text|thinking|partial_json"),
    text=_message_text,
    error=_message_error,
)
# Transcripts, speech, pictures, and paths that no dialect knows: typed events, and the end of the
# body is the end. https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event
EVENTS = Form(
    marks=(),
    ends=lambda data, _document: data.strip() == b"[DONE]",
    failed=lambda document: document.get("type") == "error" or document.get("error") is not None,
    usage=lambda document: document.get("usage"),
    generated=strings_at("delta|text"),
    text=lambda document: [],
    error=_openai_error,
    open_ended=True,
)
FORMS = {"openai": OPENAI, "responses": RESPONSES, "anthropic": ANTHROPIC, "events": EVENTS}


def _type(document: Any) -> Any:
    return document.get("type") if isinstance(document, dict) else None


class StreamReader:
    """Follows a stream: what goes on to the client, the usage, and how it ended.

    A chunk that carries only usage is taken out unless the client asked for it (`usage_asked`).
    """

    def __init__(self, form: Form, *, usage_asked: bool) -> None:
        self.form = form
        self._marks = (*form.marks, b"error")
        self._cutter = Cutter()
        self._usage_asked = usage_asked
        self._generated = 0  # bytes of generated text, as far as it was counted
        self._sample: list[bytes] = []
        self._sample_bytes = 0
        self._frame: int | None = None  # bytes of an event that are no text
        self._events = 0
        self.usage: Usage | None = None
        self.done = False
        self.failed = False  # the upstream said so itself

    def clear(self, block: bytes) -> int:
        """How many bytes at the beginning of `block`, which begins with an event, hold nothing that
        `feed` would have to look at. There may be chunk framing between events."""
        if self._cutter.waiting:
            return 0
        stop = len(block)
        for mark in self._marks:
            found = block.find(mark, 0, stop)
            stop = found if found >= 0 else stop
        if b'"usage"' in block:  # mostly there as null
            match = _USAGE.search(block, 0, stop)
            stop = match.start() if match else stop
        return stop

    def passed(self, block: bytes) -> None:
        """Events that were `clear` went on as they came; they count as generated."""
        self._count(block)

    def feed(self, data: bytes) -> bytes:
        """What may go on to the client. Raises sse.EventTooLong."""
        block = self._cutter.feed(data)
        if not block:
            return b""
        self._count(block)
        # A search for plain bytes before each look inside: it rarely finds any.
        if any(mark in block for mark in self._marks):
            self._look(block)
        return self._take_usage(block) if b'"usage"' in block and _USAGE.search(block) else block

    def end(self) -> bytes:
        """The upstream has ended: what came without a final blank line."""
        rest = self._cutter.rest()
        if self.form.open_ended:
            self.done = True
            return rest
        for _, data in events(rest):
            if self.form.ends(data, _loads(data)):
                self.done = True
                return rest.rstrip(b"\r\n") + b"\n\n"
        return rest[: len(rest) - len(rest.lstrip(b"\r\n"))]  # blank lines more than one

    def generated(self) -> int:
        """Output tokens so far, estimated."""
        return -(-self._counted() // 3)

    def generated_at_least(self) -> int:
        """The same on the lower side."""
        return self._counted() // MOST_BYTES

    def generated_at_most(self) -> int:
        """The same on the upper side; few providers send less than a token in an event."""
        return max(self._events, math.ceil(self._counted() / LEAST_BYTES))

    def most_in(self, block: bytes) -> int:
        """Output tokens in what has come and is not counted yet, on the upper side."""
        number = block.count(b"\n\n")
        if self._frame is None:
            text = sum([len(text) for text in self.form.generated.findall(block)])
        else:
            text = max(len(block) - number * self._frame, 0)
        return max(number, math.ceil(text / LEAST_BYTES))

    def _counted(self) -> int:
        if self._sample:
            self._count_sample()
        return self._generated

    def _look(self, block: bytes) -> None:
        for raw, data in events(block):
            if not any(mark in raw for mark in self._marks):
                continue
            document = _loads(data) if data[:1] == b"{" else None
            if self.form.ends(data, document):
                self.done = True
            said = isinstance(document, dict) and self.form.failed(document)
            if said or _ERROR_LINE.search(raw):
                self.failed = True

    def _count(self, block: bytes) -> None:
        """Count what whole events generated. Most streams end with their usage and nobody asks, so
        only a sample is looked at, later; its frame around each text is taken off the rest."""
        self._events += block.count(b"\n\n")
        if self._frame is None:
            self._sample.append(block)
            self._sample_bytes += len(block)
            if self._sample_bytes > SAMPLE_BYTES:
                self._frame = self._count_sample()
        else:
            self._generated += max(len(block) - block.count(b"\n\n") * self._frame, 0)

    def _count_sample(self) -> int:
        """Count the sample, once; the bytes of an event that are no text."""
        block = b"".join(self._sample)
        self._sample.clear()
        text = sum([len(text) for text in self.form.generated.findall(block)])
        self._generated += text
        return (len(block) - text) // max(block.count(b"\n\n"), 1)

    def _take_usage(self, block: bytes) -> bytes:
        kept = []
        for raw, data in events(block):
            document = _loads(data) if b'"usage"' in data and _USAGE.search(data) else None
            usage = read_usage(self.form.usage(document)) if isinstance(document, dict) else None
            if usage is not None and isinstance(document, dict):
                self.usage = _joined(self.usage, usage)
                if not self._usage_asked and not document.get("choices"):
                    raw = raw[: len(raw) - len(raw.lstrip(b"\r\n"))]  # blank lines are not its own
            kept.append(raw)
        return b"".join(kept)


def _joined(before: Usage | None, now: Usage) -> Usage:
    """Counts grow: Anthropic tells the input at the start and the output at the end."""
    return now if before is None else Usage(*map(max, before, now))


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
