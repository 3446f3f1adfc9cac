"""Ending a stream as its dialect does when an answer has come to the most tokens it may have.

An `Ending` looks at a stream's events as they pass, and can then say the last words in the
provider's place. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tokenomics import strictjson
from tokenomics.dialects.sse import event, named_event
from tokenomics.dialects.usage import Usage


class Ending(Protocol):
    """Follows one stream."""

    def watch(self, block: bytes) -> None:
        """Whole events that pass; there may be chunk framing between them."""

    def stop(self, usage: Usage) -> bytes:
        """The events that end it; `usage` is what it has cost."""


def _documents(block: bytes, marks: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """The documents of the lines of data that hold one of `marks`: few of many."""
    position = 0
    while True:
        found = [at for mark in marks if (at := block.find(mark, position)) >= 0]
        if not found:
            return
        at = min(found)
        start = max(block.rfind(b"\n", 0, at), block.rfind(b"\r", 0, at)) + 1
        ends = [end for line in (b"\n", b"\r") if (end := block.find(line, at)) >= 0]
        position = min(ends, default=len(block))
        if block.startswith(b"data:", start):
            document = _loads(block[start + 5 : position])
            if isinstance(document, dict):
                yield document


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class ChatEnding:
    """Chat's and completions': a chunk with `finish_reason: "length"` for each choice that has not
    finished, the usage if the client asked for it, `[DONE]`.

    https://platform.openai.com/docs/api-reference/chat-streaming
    """

    _FINISHED = (b'"finish_reason":"', b'"finish_reason": "')
    _HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")

    def __init__(self, choices: int, *, usage_asked: bool) -> None:
        self._open = set(range(choices))
        self._usage_asked = usage_asked
        self._head: dict[str, Any] = {}
        self._nothing: dict[str, Any] | None = None  # a choice that says nothing, once one was seen

    def watch(self, block: bytes) -> None:
        """See Ending."""
        if self._nothing is None:
            self._look(block)
        for document in _documents(block, self._FINISHED):
            choices = document.get("choices")
            for choice in choices if isinstance(choices, list) else []:
                if isinstance(choice, dict) and choice.get("finish_reason"):
                    self._open.discard(choice.get("index", 0))

    def _look(self, block: bytes) -> None:
        """Learn what chunks look like from the first that has a choice. What may come before it,
        comments and Azure's verdict on the prompt, has no name, or an empty one."""
        for document in _documents(block, (b'"choices"',)):
            choices = document.get("choices")
            if isinstance(choices, list) and choices and isinstance(choices[0], dict):
                self._head = {k: document[k] for k in self._HEAD if k in document}
                self._nothing = {"text": ""} if "text" in choices[0] else {"delta": {}}
                return

    def stop(self, usage: Usage) -> bytes:
        """See Ending."""
        head, nothing = self._head, self._nothing or {"delta": {}}
        out = []
        for index in sorted(self._open):
            choice = {"index": index, **nothing, "logprobs": None, "finish_reason": "length"}
            out.append(event(strictjson.dumps({**head, "choices": [choice]})))
        if self._usage_asked:
            counts = {"prompt_tokens": usage.input, "completion_tokens": usage.output}
            counts["total_tokens"] = usage.total
            out.append(event(strictjson.dumps({**head, "choices": [], "usage": counts})))
        return b"".join([*out, event(b"[DONE]")])


class MessageEnding:
    """A message's: its open block ends, then it with `stop_reason: "max_tokens"`.

    https://docs.anthropic.com/en/docs/build-with-claude/streaming
    """

    _BLOCKS = (b"content_block_start", b"content_block_stop")

    def __init__(self) -> None:
        self._block: Any = None

    def watch(self, block: bytes) -> None:
        """See Ending."""
        for document in _documents(block, self._BLOCKS):
            if document.get("type") == "content_block_start":
                self._block = document.get("index")
            elif document.get("type") == "content_block_stop":
                self._block = None

    def stop(self, usage: Usage) -> bytes:
        """See Ending."""
        ends: list[dict[str, Any]] = []
        if self._block is not None:
            ends.append({"type": "content_block_stop", "index": self._block})
        ends.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
                "usage": {"output_tokens": usage.output},
            }
        )
        ends.append({"type": "message_stop"})
        return b"".join([named_event(end["type"], strictjson.dumps(end)) for end in ends])


class ResponseEnding:
    """A response's: `response.incomplete`, with the items that were finished.

    https://platform.openai.com/docs/api-reference/responses-streaming/response/incomplete
    """

    _ITEMS = (b"response.created", b"response.output_item.done")
    _NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})')

    def __init__(self) -> None:
        self._response: Mapping[str, Any] = {"object": "response"}
        self._items: list[Any] = []
        self._last = b""

    def watch(self, block: bytes) -> None:
        """See Ending."""
        self._last = block
        for document in _documents(block, self._ITEMS):
            response = document.get("response")
            if document.get("type") == "response.created" and isinstance(response, dict):
                self._response = response
            elif document.get("type") == "response.output_item.done":
                self._items.append(document.get("item"))

    def stop(self, usage: Usage) -> bytes:
        """See Ending."""
        numbers = self._NUMBER.findall(self._last)
        counts = {"input_tokens": usage.input, "output_tokens": usage.output}
        response = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": self._items,
            "usage": {**counts, "total_tokens": usage.total},
        }
        name = "response.incomplete"
        number = int(numbers[-1]) + 1 if numbers else 0
        document = {"type": name, "sequence_number": number, "response": response}
        return named_event(name, strictjson.dumps(document))


def ending(form: str, choices: int, *, usage_asked: bool) -> Ending | None:
    """How streams of a form (see `streams.FORMS`) end by length; None for those in which no output
    tokens are made."""
    if form == "openai":
        return ChatEnding(choices, usage_asked=usage_asked)
    if form == "anthropic":
        return MessageEnding()
    return ResponseEnding() if form == "responses" else None
