"""What all dialects have in common: an endpoint, a request that was read, what it cost.

A dialect is a `Dialect`: a few pure functions over JSON documents. `endpoints` has the table of
paths and reads requests; `rewrite` makes the bytes for a provider, never changing the `Ask`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokenomics.dialects.forms import Form
from tokenomics.dialects.texts import MAX_TEXTS, OWN_JSON, Key, Text, walk
from tokenomics.errors import Refusal

MAX_OUTPUT = 10**9  # a client's output cap beyond this is a mistake
SAMPLE = 1024  # characters of a long text by which it is judged

Document = Mapping[str, Any]
Prompts = Sequence[tuple[str, str]]  # (role, content)


class Turns(NamedTuple):
    """Where a conversation stands in a document: the messages under `key`, their roles, and the
    index of the first that came after the assistant last spoke."""

    key: str
    roles: Sequence[str]
    first: int


def no_turns(_document: Document) -> Turns:
    """For requests that are no conversations: every text is the user's."""
    return Turns("", (), 0)


def no_prompts(_ask: Ask, _document: Document, _prompts: Prompts) -> dict[str, Any]:
    """For requests in which no model reads instructions."""
    return {}


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """How requests of one kind are read and written.

    `check` raises Refusal if the input is not of the right shape; `texts` finds every text that a
    model is shown; `choices` says how many answers are generated; `prompted` gives the top-level
    fields with a policy's prompts in front; `turns` finds the conversation; `blind` tells whether
    part of the input is no text and no JSON (token arrays); `images` counts pictures in the input.
    """

    name: str
    check: Callable[[Endpoint, Document], None]
    texts: Callable[[Endpoint, Document], list[Text]]
    choices: Callable[[Endpoint, Document], int] = lambda _endpoint, _document: 1
    prompted: Callable[[Ask, Document, Prompts], dict[str, Any]] = no_prompts
    turns: Callable[[Document], Turns] = no_turns
    blind: Callable[[Endpoint, Document], bool] = lambda _endpoint, _document: False
    images: Callable[[Document], int] = lambda _document: 0


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One governed path. `speaks` is what a provider must speak to serve it, "" if any will do.

    `required` is the key of its input; `generates` tells whether output tokens are made, `caps` are
    the keys that bound them; `hidden` are top-level keys that no model reads; `form` says that the
    body is multipart/form-data; `free` that providers charge nothing;
    `any_answer` that an answer need not be JSON; `default_model` is what the
    provider takes if none is named, "" where one must be.
    """

    name: str
    path: str
    dialect: Dialect
    speaks: str
    required: str
    generates: bool = False
    caps: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()
    form: bool = False
    free: bool = False
    any_answer: bool = False
    default_model: str = ""

    @property
    def shape(self) -> str:
        """Whose errors are sent here: "openai" or "anthropic"."""
        return "anthropic" if self.speaks == "anthropic" else "openai"


@dataclass(slots=True, eq=False)
class Ask:
    """A request that was read. `output_cap` is the client's own bound on all output tokens, None
    if it named none; of two keys it is the larger, for a provider may know only one. `blind` says
    that part of the input could not be read as text. `form` holds the files of a multipart body,
    whose other fields are the document. `address` are the path and query as far as the client chose
    them: a text that cannot be masked. Nothing in it changes after it was read."""

    endpoint: Endpoint
    model: str
    stream: bool
    usage_asked: bool
    choices: int
    output_cap: int | None
    blind: bool
    raw: bytes
    document: dict[str, Any]
    form: Form | None = None
    address: str = ""
    _texts: list[Text] | None = None
    _estimate: int | None = None

    @property
    def texts(self) -> list[Text]:
        """Every text that a model is shown, found when first asked for. Raises Refusal if there are
        more than MAX_TEXTS."""
        if self._texts is None:
            self._texts = self.endpoint.dialect.texts(self.endpoint, self.document)
            if len(self._texts) > MAX_TEXTS:
                raise wrong(f"more than {MAX_TEXTS} texts in one request", self.endpoint.required)
        return self._texts

    def estimate_input(self) -> int:
        """Input tokens, on the upper side: the texts, and some per message for its frame."""
        if self.endpoint.free:
            return 0
        if self._estimate is None:
            value = self.document.get(self.endpoint.required)
            frames = 4 * len(value) if isinstance(value, list) else 4
            # 1024 x 1024 in high detail costs 765
            images = self.endpoint.dialect.images(self.document) * 800
            numbers = len(self.raw) // 3 if self.blind else 0
            texts = sum([estimate(text.value) for text in self.texts])
            self._estimate = texts + frames + images + numbers + 3
        return self._estimate


def wrong(message: str, param: str) -> Refusal:
    """A field is not as it must be."""
    return Refusal("invalid_request", f"{param}: {message}", param=param)


def whole_number(document: Document, key: str, low: int, high: int) -> int | None:
    """A count under `key`, None if there is none. Raises Refusal."""
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(f"must be a whole number from {low} to {high}", key)
    return value


def check_messages(messages: Any, place: str) -> None:
    """Chat messages: objects with a role and a content of text or parts. Raises Refusal."""
    if not isinstance(messages, list) or not messages:
        raise wrong("must be a list of messages", place)
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong("must be an object", f"{place}[{i}]")
        if not isinstance(message.get("role"), str):
            raise wrong("must be text", f"{place}[{i}].role")
        content = message.get("content")
        if not isinstance(content, str):
            check_content(content, f"{place}[{i}].content")


def check_content(content: Any, place: str) -> None:
    """Text, a list of parts, or nothing. Raises Refusal."""
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong("must be text or a list of parts", place)
    for j, part in enumerate(content):
        if not isinstance(part, dict | str):
            raise wrong("must be an object", f"{place}[{j}]")
        if isinstance(part, dict) and not isinstance(part.get("text"), str | None):
            raise wrong("must be text", f"{place}[{j}].text")


def document_texts(
    endpoint: Endpoint,
    document: Document,
    known: frozenset[str],
    below: Callable[[str, Any], list[Text]],
) -> list[Text]:
    """Every text that a model is shown: `below` finds those under a key that is `known`. Any other
    key, and all under it, is whatever a provider may have added to the API: texts, too."""
    out: list[Text] = []
    for key, value in document.items():
        if key in endpoint.hidden:
            continue
        if key in known:
            out += below(key, value)
        else:
            out.append(Text((Key(key),), key))
            out += walk(value, (key,), OWN_JSON)
        if len(out) > MAX_TEXTS:  # whoever asked refuses that many
            break
    return out


def since_assistant(roles: Sequence[str]) -> int:
    """The index of the first message after the assistant's last."""
    return max((i + 1 for i, role in enumerate(roles) if role == "assistant"), default=0)


def estimate(text: str) -> int:
    """Tokens of a text, on the upper side: providers' own counts settle it later.

    By cl100k, measured on texts of each kind (tests/dialects/test_estimate.py): prose has about 4.3
    characters a token, digits 2 to 3, punctuation 1.5 to 2, base64 and hashes 1.4 to 1.8; scripts
    beyond Latin have up to 0.85 tokens for each byte that ASCII would not need.
    """
    size = len(text)
    sample = text if size <= SAMPLE else text[:: size // SAMPLE]
    looked = len(sample)
    if not looked:
        return 0
    plain = sample.encode("ascii", "ignore")
    others = plain.translate(None, _LETTERS)
    marks = others.translate(None, b"0123456789")
    digits, letters = len(others) - len(marks), len(plain) - len(others)
    tokens = letters / 2.9 + digits / 1.6 + len(marks) / 1.5
    if size >= 64 and sample.count(" ") * 24 <= looked:  # no words
        tokens = max(tokens, len(plain) / 1.35)
    tokens *= size / looked
    if not text.isascii():
        tokens += 0.87 * (len(text.encode("utf-8", "replace")) - size)
    return math.ceil(tokens)


_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t\r\n\v\f"
