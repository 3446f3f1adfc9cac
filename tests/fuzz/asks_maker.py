"""Bodies for the fuzzer over requests and answers: golden ones, large ones, and mutations."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.dialects.bodies import FORM, FORM_TYPE, REQUESTS, form_body
from tests.dialects.test_answer_texts import ANSWERS
from tokenomics.dialects.ask import MAX_OUTPUT
from tokenomics.dialects.endpoints import ENDPOINTS
from tokenomics.dialects.texts import MAX_TEXTS

POOL = 400  # bodies that are kept; the oldest of them goes first

# What stands in a document for bytes that no writer of JSON makes.
RAW: dict[str, bytes] = {
    "nan": b"NaN",
    "infinity": b"-Infinity",
    "float": b"1e999",
    "digits": b"9" * 5000,
    "long": b"1" * 4300,
    "minus": b"-0",
    "zeros": b"007",
    "surrogate": b'"\\ud800"',
    "low": b'"x\\udc00y"',
    "pair": b'"\\ud83d\\ude00"',
    "bytes": b'"\xff\xfe"',
    "overlong": b'"\xc0\xaf"',
    "cesu": b'"\xed\xa0\x80"',
    "nul": b'"\\u0000"',
    "control": b'"\x01"',
    "twice": b'{"a":1,"a":2}',
    "twice-escaped": b'{"model":"m","mode\\u006c":"n"}',
    "deep": b"[" * 150 + b"]" * 150,
    "deeper": b'{"a":' * 300 + b"1" + b"}" * 300,
    "abyss": b"[" * 50_000,
    "comment": b"/* x */1",
    "bom": b"\xef\xbb\xbf1",
    "single": b"'x'",
    "comma": b"[1,]",
}
NASTY: list[Any] = [
    *(None, True, False, 0, 1, -1, 5.5, 1e300, 2**64, MAX_OUTPUT + 1, 4111111111111111),
    *("", " ", "m", "user", "x" * 2000, "\u2028", "😀", "\x7f", "0", "true", "[]", '{"a":1}'),
    *([], {}, [[]], [{}], [None], [1, 2], [[1], [2]], ["x", "y"], {"": ""}, {"type": {}}),
    *({"text": "x"}, [{"text": "x"}, {"text": "y"}], {"arguments": '{"a": ["b"]}'}),
    {"arguments": json.dumps({"arguments": json.dumps({"arguments": "[1]"})})},
    {"arguments": "[" * 190 + "5" + "]" * 190},
]
KEYS = (
    "model messages role content type text input prompt stream stream_options n max_tokens system"
    " tools arguments data format source image_url id models best_of echo variables documents query"
    " instructions background file logprobs response usage output choices name"
).split()


class Raw(str):
    """A name of RAW."""

    __slots__ = ()


@dataclass(slots=True)
class Body:
    """One thing to read: `path` of an endpoint, "open" for any path, or "answer"."""

    path: str
    document: Any  # None where only bytes are left
    data: bytes
    type: str = ""


def seeds() -> Iterator[Body]:
    """The golden bodies, each on its own path and on an open one, and large ones."""
    for path, document in REQUESTS.values():
        yield Body(path, document, b"")
        yield Body("open", document, b"")
    for document in ANSWERS.values():
        yield Body("answer", document, b"")
    form = form_body(FORM)
    for path in ("/audio/transcriptions", "/audio/translations", "/images/edits", "open"):
        yield Body(path, None, form, FORM_TYPE)
    for data in (b"", b"{}", b"[]", b"\xff", b'"x"', b"null"):
        yield from (Body(path, None, data) for path in (*ENDPOINTS, "open"))


def large() -> Iterator[Body]:
    """Bodies of many or of large values."""
    hello = {"role": "user", "content": "x"}
    for count in (MAX_TEXTS, MAX_TEXTS + 1, 100_000):
        chat = {"model": "m", "messages": [hello] * count}
        for path in ("/chat/completions", "/messages", "open"):
            yield Body(path, chat, b"")
        yield Body("/responses", {"model": "m", "input": [hello] * count}, b"")
    parts = [{"type": "text", "text": "x"}] * 50_000
    yield Body("/chat/completions", {"model": "m", "messages": [{**hello, "content": parts}]}, b"")
    yield Body("/completions", {"model": "m", "prompt": "x " * 2_000_000}, b"")
    yield Body("/completions", {"model": "m", "prompt": [1] * 140_000}, b"")
    yield Body("/embeddings", {"model": "m", "input": ["x"] * 100_000}, b"")
    arguments = json.dumps({"a": [{"b": 1}] * 30_000})
    call = {"role": "assistant", "tool_calls": [{"function": {"arguments": arguments}}]}
    yield Body("/chat/completions", {"model": "m", "messages": [call]}, b"")
    calls = [{"arguments": "[" * 190 + "]" * 190}] * 5000
    yield Body("/chat/completions", {"model": "m", "messages": [{**hello, "x": calls}]}, b"")
    keys = {f"k{i}": i for i in range(100_000)}
    yield Body("/chat/completions", {"model": "m", "messages": [hello], **keys}, b"")
    yield Body("open", keys, b"")
    yield Body("/audio/transcriptions", None, b"--bound\r\n" * 300_000, FORM_TYPE)


class Maker:
    """Mutates bodies; a seed decides all that it does."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = list(seeds())
        self._pool: list[Body] = []

    def keep(self, body: Body) -> None:
        """Mutate it further."""
        self._pool.append(body)
        if len(self._pool) > POOL:
            self._pool.pop(0)

    def body(self) -> Body:
        """The next one."""
        dice = self._random
        old = dice.choice(self._pool if self._pool and dice.random() < 0.7 else self._seeds)
        new = Body(old.path, old.document, old.data, old.type)
        if new.document is not None:
            for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
                new.document = self._changed(new.document)
            new.data = written(new.document, ascii_only=dice.random() < 0.5)
        if new.document is None or dice.random() < 0.15:
            new.document = None
            for _ in range(dice.choice((1, 1, 2, 5))):
                new.data = self._garbled(new.data)
            if new.type and dice.random() < 0.05:
                new.type = dice.choice((FORM_TYPE, "", "multipart/form-data; boundary=bounds"))
        return new

    def _changed(self, node: Any) -> Any:
        """A copy of a document with one thing changed, somewhere in it."""
        dice = self._random
        inner = isinstance(node, dict | list) and len(node) > 0
        if not inner or dice.random() < 0.12:
            return self._value(node)
        copy = node.copy()
        key = dice.choice(list(node) if isinstance(node, dict) else range(len(node)))
        change = dice.random()
        if change < 0.75:
            copy[key] = self._changed(node[key])
        elif change < 0.82:
            del copy[key]
        elif isinstance(copy, list):
            copy.insert(key, self._value(node[key]) if change < 0.9 else node[key])
        elif change < 0.92:
            copy[dice.choice(KEYS)] = self._value(node[key])
        else:
            copy[dice.choice((*KEYS, "\u00e9", "", "x y"))] = copy.pop(key)
        return copy

    def _value(self, old: Any) -> Any:
        dice = self._random
        choice = dice.random()
        if choice < 0.15:
            return Raw(dice.choice(list(RAW)))
        if choice < 0.4:
            return [old] * dice.choice((1, 2, 2, 50 if len(str(old)) < 200 else 1))
        if choice < 0.5:
            return {dice.choice(KEYS): old}
        if choice < 0.55 and not isinstance(old, Raw):
            try:
                return json.dumps(old)
            except RecursionError:
                return None
        return dice.choice(NASTY)

    def _garbled(self, data: bytes) -> bytes:
        dice = self._random
        a, b = sorted((dice.randint(0, len(data)), dice.randint(0, len(data))))
        b = min(b, a + dice.choice((0, 1, 4, 40)))
        kind = dice.randrange(4)
        if kind == 0:
            return data[:a] + data[b:]
        if kind == 1:
            return data[:b] + data[a:b] + data[b:]
        if kind == 2:
            return data[:a] + bytes([dice.randrange(256)]) + data[b:]
        pieces = (*RAW.values(), b"\r\n--bound\r\n", b"--bound--", b"\r\n\r\n", b'"', b"\\", b"}")
        return data[:a] + dice.choice(pieces) + data[b:]


def written(document: Any, *, ascii_only: bool = True) -> bytes:
    """A document as JSON, with RAW where it says so."""
    found: list[str] = []

    def named(node: Any) -> Any:
        if isinstance(node, Raw):
            found.append(str(node))
            return f"@raw {len(found) - 1}@"
        if isinstance(node, dict):
            return {key: named(value) for key, value in node.items()}
        return [named(value) for value in node] if isinstance(node, list) else node

    data = json.dumps(named(document), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for i, name in enumerate(found):
        data = data.replace(b'"@raw %d@"' % i, RAW[name])
    return data
