"""Which endpoints can be served by a provider of another dialect, and by which translation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tokenomics import strictjson
from tokenomics.dialects.ask import Endpoint
from tokenomics.dialects.translate import chat_to_messages, messages_to_chat
from tokenomics.dialects.translate.chat_stream import Stream
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
    """There and back. `request` takes a body and the most tokens its model may write, and raises
    Refusal where it cannot be carried; `answer` takes a body and a time in seconds, and raises
    Refusal `upstream_invalid`; `stream` takes the time when it began."""

    request: Callable[[bytes, int], bytes]
    answer: Callable[[bytes, int], bytes]
    error: Callable[[bytes], bytes]
    stream: Callable[[int], TranslatedStream]


def _chat_to_messages(body: bytes, most: int) -> bytes:
    return strictjson.dumps(chat_to_messages.translate(strictjson.loads(body), most))


# (endpoint, what the provider speaks)
_TABLE = {
    ("chat", "anthropic"): Translation(
        _chat_to_messages, messages_to_chat.translate, messages_to_chat.translate_error, Stream
    ),
}


def translation(endpoint: Endpoint, speaks: Callable[[str], bool]) -> Translation | None:
    """How a provider that `speaks` some dialects is reached from an endpoint; None if it can be
    reached as it is, or not at all."""
    if speaks(endpoint.speaks):
        return None
    found = [way for (name, to), way in _TABLE.items() if name == endpoint.name and speaks(to)]
    return found[0] if found else None
