"""What one request is answered with, before a dialect says it.

Every dialect answers with the same words: the user's last text said back, or what a directive
asks for, cut at the client's own cap. One word is one token.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.ask import Ask
from tokenomics.echo.wish import MAX_WORDS, Wish, read_wish

MAX_SAID = 1 << 16  # characters of the last text that are looked at and said back
_WORD = re.compile(r"\s*\S+")
_MODEL_SIDE = frozenset("assistant system developer".split())
_INPUT_KEYS = {"audio": "prompt", "images": "prompt"}  # whose `required` is a file


@dataclass(frozen=True, slots=True)
class Body:
    """A whole answer."""

    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Events:
    """A stream: its server-sent events, made as they are sent."""

    chunks: Iterator[bytes]


Answer = Body | Events
JSON = "application/json"


def json_body(document: Any) -> Body:
    """A whole answer that is JSON."""
    return Body(JSON, strictjson.dumps(document))


@dataclass(frozen=True, slots=True)
class Plan:
    """`words` are the answer's, each with the blanks before it; `cut` says that the client's cap
    ended it; `input` counts tokens, those of `files` among them; `id` is the same for the same
    text; `now` is the epoch second; `method` and `path` are the request's own."""

    ask: Ask
    method: str
    path: str
    now: int
    wish: Wish
    words: tuple[str, ...]
    cut: bool
    input: int
    files: int
    id: str

    @property
    def document(self) -> dict[str, Any]:
        """What was asked, as JSON."""
        return self.ask.document

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.words)

    @property
    def arguments(self) -> list[str]:
        """Those of the tool call that was asked for: JSON, in as many pieces as it has words."""
        return _WORD.findall(strictjson.dumps({"text": self.text}).decode())

    @property
    def output(self) -> int:
        """Output tokens of one choice."""
        return len(self.arguments if self.wish.tool else self.words)


def make_plan(ask: Ask, method: str, path: str, now: int) -> Plan:
    """Decide on an answer. Raises BadWish, and Refusal if the texts are too many."""
    said = last_text(ask)[:MAX_SAID]
    wish, rest = read_wish(said)
    words = _words(wish, rest)
    caps = [ask.document.get(key) for key in ask.endpoint.caps]
    files = sum([part.data is not None for part in ask.form.parts]) if ask.form else 0
    # All choices together stay within what one alone may have.
    limit = min([cap for cap in caps if isinstance(cap, int)] + [max(MAX_WORDS // ask.choices, 1)])
    return Plan(
        ask=ask,
        method=method,
        path=path,
        now=now,
        wish=wish,
        words=tuple(words[:limit]),
        cut=len(words) > limit,
        input=_input_tokens(ask) + files,
        files=files,
        id=hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:24],
    )


def _words(wish: Wish, rest: str) -> list[str]:
    if wish.text is not None:
        text = wish.text
    elif wish.words is not None:
        return [f" word{i}" if i > 1 else "word1" for i in range(1, min(wish.words, MAX_WORDS) + 1)]
    else:
        text = f"You said: {rest}" if rest else "You said nothing."
    return _WORD.findall(text.rstrip())  # blanks at the end would cost their square


def _input_tokens(ask: Ask) -> int:
    words = sum([len(text.value.split()) for text in ask.texts])
    pictures = ask.endpoint.dialect.images(ask.document)
    numbers = _numbers(ask.document.get(ask.endpoint.required)) if ask.blind else 0
    return words + pictures + numbers


def _numbers(value: Any) -> int:
    """How long the token arrays of an input are."""
    if not isinstance(value, list):
        return 0
    return sum(
        [_numbers(item) if isinstance(item, list) else isinstance(item, int) for item in value]
    )


# The last text of the user


def last_text(ask: Ask) -> str:
    """What the user, or a tool, said last; "" if nothing."""
    special = _LAST.get(ask.endpoint.name)
    if special is not None:
        return special(ask)
    key = _INPUT_KEYS.get(ask.endpoint.name, ask.endpoint.required)
    value = ask.document.get(key)
    # A list holds inputs of their own (texts, token arrays), or the parts of one.
    return content_text(value[-1:] if isinstance(value, list) else value)


def content_text(content: Any) -> str:
    """The text of a message's content: a text, or a list of parts; those of tool results, too."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, dict):
            inner = part.get("text")
            part = inner if isinstance(inner, str) else content_text(part.get("content"))
        texts.append(part if isinstance(part, str) else "")
    return " ".join([text for text in texts if text])


def _of_messages(ask: Ask) -> str:
    for message in reversed(ask.document["messages"]):
        if message["role"] not in _MODEL_SIDE:
            return content_text(message.get("content"))
    return ""


def _of_items(ask: Ask) -> str:
    """A Responses input: text, or messages and what tools gave back."""
    value = ask.document.get("input")
    if not isinstance(value, list):
        return content_text(value)
    for item in reversed(value):
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") not in _MODEL_SIDE:
            return content_text(item.get("content"))
        if kind in ("function_call_output", "custom_tool_call_output"):
            return content_text(item.get("output"))
    return ""


def _anywhere(ask: Ask) -> str:
    """Where nobody knows which text is the user's: the last one that holds a directive, or the
    last."""
    texts = [text.value for text in reversed(ask.texts)]
    return next((text for text in texts if "[echo " in text), texts[0] if texts else "")


_LAST: dict[str, Callable[[Ask], str]] = {
    "chat": _of_messages,
    "messages": _of_messages,
    "count_tokens": _of_messages,
    "responses": _of_items,
    "open": _anywhere,
}
