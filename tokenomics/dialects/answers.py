"""Answers in OpenAI's dialect, whole and streamed: usage, texts, and whether they are whole."""

from __future__ import annotations

import json
import re
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.openai import Usage
from tokenomics.dialects.sse import Cutter, event, events

_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_NEAR = 256  # bytes at either end of a body within which its brace is looked for first
# Text that was generated, as it stands in a delta. Only its length is used, for a stream that ends
# before its usage comes.
_DELTA = re.compile(
    rb'"(?:content|reasoning_content|reasoning|refusal|arguments|text)"\s*:\s*'
    rb'"([^"\\]*(?:\\.[^"\\]*)*)"'
)
_DONE = re.compile(rb"(?m)^data: ?\[DONE\]")  # at a line's start: text may speak of it
_ERROR = re.compile(rb'(?m)^data: ?\{\s*"error"\s*:(?!\s*null)|^event: ?error')
_decoder = json.JSONDecoder()
SAMPLE_BYTES = 4096  # of a stream, by which the frame around its texts is known
MAX_TOKENS = 10**9  # a count beyond this is no count


def read_usage(value: Any) -> Usage | None:
    """The usage of a `usage` object; None if it has none that can be trusted."""
    if not isinstance(value, dict):
        return None
    input_, output = value.get("prompt_tokens", 0), value.get("completion_tokens", 0)
    for count in (input_, output):
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_TOKENS:
            return None
    if "prompt_tokens" not in value and "completion_tokens" not in value:
        return None
    return Usage(input_, output)


def usage_of(body: bytes) -> Usage | None:
    """The usage of a whole answer, parsing nothing else of it. It stands near the end."""
    end = len(body)
    while (start := body.rfind(b'"usage"', 0, end)) >= 0:
        match = _USAGE.match(body, start) if body[start - 1 : start] != b"\\" else None
        usage = _usage_at(body, match.end()) if match else None
        if usage is not None:
            return usage
        end = start
    return None


def _usage_at(body: bytes, start: int) -> Usage | None:
    try:
        value, _ = _decoder.raw_decode(str(body[start:], "utf-8"))
    except (ValueError, RecursionError):
        return None
    return read_usage(value)


def text_of(body: bytes) -> str:
    """The text of a whole chat or completion answer, for memory."""
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON:
        return ""
    return "".join(_texts(document, "message"))


def _texts(document: Any, part: str) -> list[str]:
    """The texts of the first choice: `part` is "message" or "delta"."""
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list):
        return []
    out = []
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            inner = choice.get(part)
            text = inner.get("content") if isinstance(inner, dict) else choice.get("text")
            out += [text] if isinstance(text, str) else []
    return out


def generated_in(body: bytes) -> int:
    """Output tokens of all choices and tool calls in an answer or a part of one, estimated."""
    return -(-sum(len(text) for text in _DELTA.findall(body)) // 3)


def looks_whole(body: bytes) -> bool:
    """Whether a 200 body is a JSON object: what every endpoint of this dialect answers with."""
    start = body[:_NEAR].lstrip() or body.lstrip()
    end = body[-_NEAR:].rstrip() or body.rstrip()
    return start[:1] == b"{" and end[-1:] == b"}"


class StreamReader:
    """Follows a stream: what goes on to the client, the usage, and how it ended.

    `collect` keeps the text (for memory). The chunk that carries only usage is taken out unless the
    client asked for it.
    """

    def __init__(self, *, usage_asked: bool, collect: bool) -> None:
        self._cutter = Cutter()
        self._usage_asked = usage_asked
        self._collect = collect
        self._generated = 0  # bytes of generated text, as far as it was counted
        self._sample: list[bytes] = []
        self._sample_bytes = 0
        self._frame: int | None = None  # bytes of an event that are no text
        self.usage: Usage | None = None
        self.done = False
        self.failed = False  # the upstream said so itself
        self.texts: list[str] = []

    def clear(self, block: bytes) -> int:
        """How many bytes at the beginning of `block`, which begins with an event, hold nothing that
        `feed` would have to look at. There may be chunk framing between events."""
        if self._collect or self._cutter.waiting:
            return 0
        stop = len(block)
        for mark in (b"[DONE]", b"error"):
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
        # A search for plain bytes before each pattern: 20 times cheaper, and it rarely finds any.
        if b"[DONE]" in block and _DONE.search(block):
            self.done = True
        if b"error" in block and _ERROR.search(block):
            self.failed = True
        if self._collect:
            self._keep_texts(block)
        return self._take_usage(block) if b'"usage"' in block and _USAGE.search(block) else block

    def end(self) -> bytes:
        """The upstream has ended: what came without a final blank line."""
        rest = self._cutter.rest()
        if _DONE.fullmatch(rest.strip()):
            self.done = True
            return rest + b"\n\n"
        return rest[: len(rest) - len(rest.lstrip(b"\r\n"))]  # blank lines more than one

    def generated(self) -> int:
        """Output tokens so far, estimated."""
        self._count_sample()
        return -(-self._generated // 3)

    def _count(self, block: bytes) -> None:
        """Count what whole events generated. Most streams end with their usage and nobody asks, so
        only a sample is looked at, later; its frame around each text is taken off the rest."""
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
        text = sum([len(text) for text in _DELTA.findall(block)])
        self._generated += text
        return (len(block) - text) // max(block.count(b"\n\n"), 1)

    def _take_usage(self, block: bytes) -> bytes:
        kept = []
        for raw, data in events(block):
            document = _loads(data) if b'"usage"' in data and _USAGE.search(data) else None
            usage = read_usage(document.get("usage")) if isinstance(document, dict) else None
            if usage is not None and isinstance(document, dict):
                self.usage = usage
                if not self._usage_asked and not document.get("choices"):
                    raw = raw[: len(raw) - len(raw.lstrip(b"\r\n"))]  # blank lines are not its own
            kept.append(raw)
        return b"".join(kept)

    def _keep_texts(self, block: bytes) -> None:
        for _, data in events(block):
            if data.startswith(b"{"):
                self.texts += _texts(_loads(data), "delta")


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def error_event(body: bytes) -> bytes:
    """How a stream says that it failed: the error object as an event, and no [DONE] after it."""
    return event(body)
