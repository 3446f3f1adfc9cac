"""Which endpoints can be served by a provider of another dialect, and by which translation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tokenomics import strictjson
from tokenomics.dialects.ask import Endpoint
from tokenomics.dialects.translate import (
    chat_answer,
    chat_stream,
    chat_to_messages,
    message_stream,
    messages_request,
    messages_to_chat,
)
from tokenomics.dialects.usage import Usage


class TranslatedStream(Protocol):
    """A stream on its way back. `usage` is what it has cost as far as the provider has said, with
    kinds that the client's dialect has no words for."""

    usage: Usage | None

    def feed(self, data: bytes) -> bytes:
        """The whole events that bytes of any length make. Raises sse.EventTooLong, and Refusal
        `upstream_invalid`."""

    def end(self) -> bytes:
        """What is left when the provider has ended; never an end that it has not said."""


@dataclass(frozen=True, slots=True)
class Translation:
    """There and back. `request` takes a body, the most tokens its model may write (0 if nobody
    knows) and the provider's key for such a bound, and raises Refusal where it cannot be carried;
    `answer` takes a body and a time in seconds, and raises Refusal `upstream_invalid`; `error`
    takes a body and its status; `stream` takes the time when it began."""

    request: Callable[[bytes, int, str], bytes]
    answer: Callable[[bytes, int], bytes]
    error: Callable[[bytes, int], bytes]
    stream: Callable[[int], TranslatedStream]


def _chat_to_messages(body: bytes, most: int, _cap_key: str) -> bytes:
    most = most or chat_to_messages.DEFAULT_MOST
    return strictjson.dumps(chat_to_messages.translate(strictjson.loads(body), most))


def _messages_to_chat(body: bytes, most: int, cap_key: str) -> bytes:
    return strictjson.dumps(messages_request.translate(strictjson.loads(body), most, cap_key))


# (endpoint, what the provider speaks)
_TABLE = {
    ("chat", "anthropic"): Translation(
        _chat_to_messages,
        messages_to_chat.translate,
        lambda body, _status: messages_to_chat.translate_error(body),
        chat_stream.Stream,
    ),
    ("messages", "openai"): Translation(
        _messages_to_chat,
        chat_answer.translate,
        chat_answer.translate_error,
        message_stream.Stream,
    ),
}


def translation(endpoint: Endpoint, speaks: Callable[[str], bool]) -> Translation | None:
    """How a provider that `speaks` some dialects is reached from an endpoint; None if it can be
    reached as it is, or not at all."""
    if speaks(endpoint.speaks):
        return None
    found = [way for (name, to), way in _TABLE.items() if name == endpoint.name and speaks(to)]
    return found[0] if found else None
