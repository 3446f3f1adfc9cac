"""For every request body, on every path: it is read, or refused with 400 and a reason; nothing else
comes out. What is read has texts that can all be masked; what goes on to a provider is JSON, or a
form, that reads the same, with what was masked, and nothing but that, changed. Answers likewise.

  .venv/bin/python -m tests.fuzz.asks --minutes 60
  .venv/bin/python -m tests.fuzz.asks --runs 100000 --seed 7

Bodies are the golden ones, mutated as JSON and as bytes; those that are judged in a new way are
kept and mutated further. The exit status is 1 if anything was wrong; the bytes are printed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from tests.dialects.bodies import FORM, FORM_TYPE, REQUESTS, form_body
from tests.dialects.test_answer_texts import ANSWERS
from tokenomics import strictjson
from tokenomics.dialects import answers
from tokenomics.dialects.ask import MAX_OUTPUT, Ask, Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.dialects.rewrite import rewrite
from tokenomics.dialects.texts import MAX_TEXTS, Key, Text, joins, masked
from tokenomics.errors import Refusal

POOL = 400  # bodies that are kept; the oldest of them goes first
SHOWN = 5  # faults that are printed
PROGRESS = 20_000  # bodies
SLOW_SECONDS = 5.0  # for one body; the largest here have some megabytes
PROMPTS = [("system", "one"), ("user", "two"), ("assistant", "three")]
REFUSED = "refused"  # how such a judgement begins
ODD = '[X"\\\n]'

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


class _Raw(str):
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


# Making bodies.


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
            return _Raw(dice.choice(list(RAW)))
        if choice < 0.4:
            return [old] * dice.choice((1, 2, 50))
        if choice < 0.5:
            return {dice.choice(KEYS): old}
        if choice < 0.55 and not isinstance(old, _Raw):
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
        if isinstance(node, _Raw):
            found.append(str(node))
            return f"@raw {len(found) - 1}@"
        if isinstance(node, dict):
            return {key: named(value) for key, value in node.items()}
        return [named(value) for value in node] if isinstance(node, list) else node

    data = json.dumps(named(document), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for i, name in enumerate(found):
        data = data.replace(b'"@raw %d@"' % i, RAW[name])
    return data


# Judging them.


class Wrong(Exception):
    """The invariant does not hold."""


def expect(holds: bool, what: str) -> None:
    """Raises Wrong."""
    if not holds:
        raise Wrong(what)


def look(body: Body) -> str:
    """Read a body in every way; how it was judged. Raises Wrong, or whatever came out."""
    if body.path == "answer":
        return _look_at_answer(body.data)
    endpoint = open_endpoint("/other") if body.path == "open" else ENDPOINTS[body.path]
    try:
        ask = read(endpoint, body.data, body.type)
        texts = ask.texts
        ask.estimate_input()
    except Refusal as e:
        expect(e.status == 400 and len(e.message) > 10, f"refused with {e.status}: {e.message}")
        return re.sub("[0-9]+", "0", f"{REFUSED} {endpoint.path} {e.code} {e.message[:60]}")
    joins(texts)
    turns = endpoint.dialect.turns(ask.document)
    expect(0 <= turns.first <= len(turns.roles), "turns")
    shown = [text.value for text in texts]
    same = _sent(ask, shown)
    again = {"model": ask.model} if ask.model and "model" not in ask.document else {}
    again |= ask.document
    expect(_read_again(endpoint, same).document == again, "what is sent reads differently")
    _look_at_masked(ask, endpoint)
    _look_at_prompted(ask, endpoint)
    kinds = sorted({str(text.path[-1]) for text in texts[:50]})
    return f"{endpoint.path} {ask.stream} {ask.blind} {ask.choices} {kinds}"


def _sent(ask: Ask, masked_: list[str] | None, **changes: Any) -> tuple[bytes, str]:
    values: dict[str, Any] = {"model": ask.model, "prompts": [], "cap": None, "bounded": False}
    values |= {"cap_key": "max_tokens", **changes}
    return rewrite(ask, masked=masked_, **values)


def _read_again(endpoint: Endpoint, sent: tuple[bytes, str]) -> Ask:
    body, type_ = sent
    try:
        return read(endpoint, body, type_)
    except Refusal as e:
        raise Wrong(f"what is sent would be refused: {e.message}") from None


def _values_masked(texts: list[Text]) -> list[str]:
    """Each text but keys and kinds as ODD: how a document is read depends on those."""
    kept = [isinstance(t.path[-1], Key) or t.path[-1] == "type" if t.path else False for t in texts]
    return [t.value if keep else ODD for t, keep in zip(texts, kept, strict=True)]


def _size(node: Any) -> int:
    """How many values there are."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return 1 + sum(map(_size, inner))


def _look_at_masked(ask: Ask, endpoint: Endpoint) -> None:
    """Mask everything, without the keys and with them."""
    model = "other" if ask.model else ""
    if endpoint.name != "open":  # there, a model is a text like any other
        masked_ = _values_masked(ask.texts)
        again = _read_again(endpoint, _sent(ask, masked_, model=model))
        expect(again.model == model, "the model is not the policy's")
        expect([text.value for text in again.texts] == masked_, "other texts than were masked")
    sent, type_ = _sent(ask, [ODD] * len(ask.texts), model=model)
    if type_ or not ask.document:
        expect(ask.form is None or read(endpoint, sent, type_) is not None, "a form")
        return
    document = strictjson.loads(sent)
    added = len(document) - len(ask.document)  # the model, where it had another key or none
    expect(_size(document) == _size(ask.document) + added <= _size(ask.document) + 1, "values")


def _look_at_prompted(ask: Ask, endpoint: Endpoint) -> None:
    try:
        sent = _sent(ask, None, prompts=PROMPTS, cap=7, bounded=True)
    except Refusal as e:
        expect(e.status == 400, f"refused with {e.status}")
        return
    if not endpoint.generates:
        return
    again = _read_again(endpoint, sent)
    # One token for each choice is the least that can be asked for.
    expect((again.output_cap or 0) <= max(7, ask.choices), f"the cap became {again.output_cap}")
    expect(b"one" in sent[0], "the prompts are not there")


def _look_at_answer(data: bytes) -> str:
    answers.usage_of(data)
    answers.text_of(data)
    answers.generated_in(data)
    try:
        document = strictjson.loads(data)
    except strictjson.BadJSON as e:
        return f"answer {str(e)[:20]}"
    texts: list[Text] = answers.answer_texts(document)
    values = _values_masked(texts)
    shown = answers.without_logprobs(masked(document, texts, values))
    again = answers.answer_texts(strictjson.loads(strictjson.dumps(shown)))
    expect(set(again) <= {Text(t.path, v) for t, v in zip(texts, values, strict=True)}, "a text")
    answers.with_instructions(shown, "own")
    return f"answer {sorted({str(text.path[-1:]) for text in texts[:50]})}"


# Running.


@dataclass
class Totals:
    """What a run saw."""

    bodies: int = 0
    refused: int = 0
    wrong: int = 0
    slowest: float = 0.0  # seconds
    slowest_bytes: int = 0  # of that body
    seen: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return (
            f"{self.bodies} bodies, {self.refused} refused, {len(self.seen)} judgements,"
            f" {self.wrong} wrong, slowest {self.slowest:.2f} s for {self.slowest_bytes} bytes"
        )


def judge(body: Body, totals: Totals, out: TextIO) -> bool:
    """Look at a body, count and print; whether it showed something new."""
    started = time.perf_counter()
    fault = None
    try:
        news = look(body)
    except Wrong as e:
        news, fault = f"wrong {e}", str(e)
    except Exception as e:  # noqa: BLE001  # the one thing that must never be
        where = traceback.extract_tb(e.__traceback__)[-1]
        news, fault = f"raised {type(e).__name__} {where.lineno}", traceback.format_exc(limit=-4)
    seconds = time.perf_counter() - started
    if fault is None and seconds > SLOW_SECONDS:
        news, fault = f"slow {body.path}", f"it took {seconds:.1f} s"
    totals.bodies += 1
    if seconds > totals.slowest:
        totals.slowest, totals.slowest_bytes = seconds, len(body.data)
    totals.refused += news.startswith(REFUSED)
    new = news not in totals.seen
    totals.seen.add(news)
    if fault is not None:
        totals.wrong += 1
        if new and totals.wrong <= SHOWN * 20:
            shown = body.data if len(body.data) < 6000 else body.data[:6000] + b"..."
            print(f"WRONG {body.path} {body.type}: {fault}\n  {shown!r}", file=out, flush=True)
    return new


def fuzz(runs: int, seed: int, out: TextIO, *, until: float | None = None) -> Totals:
    """Look at the seeds, then at `runs` bodies or until the time `until` (of time.monotonic)."""
    maker, totals = Maker(seed), Totals()
    for body in seeds():
        data = body.data if body.document is None else written(body.document)
        judge(Body(body.path, body.document, data, body.type), totals, out)
    for number in range(runs):
        if until is not None and number % 100 == 0 and time.monotonic() > until:
            break
        body = maker.body()
        if judge(body, totals, out) and len(body.data) < 20_000:
            maker.keep(body)
        if number % PROGRESS == PROGRESS - 1:
            print(totals, file=out, flush=True)
    return totals


def main(arguments: list[str]) -> int:
    """Fuzz; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description="Fuzz what reads and rewrites bodies.")
    parser.add_argument("--runs", type=int, default=10**9, help="bodies to look at")
    parser.add_argument("--minutes", type=float, help="when to stop")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    totals = Totals()
    for body in large():
        data = body.data if body.document is None else written(body.document)
        judge(Body(body.path, None, data, body.type), totals, sys.stdout)
    print(f"large ones: {totals}", flush=True)
    rest = fuzz(options.runs, options.seed, sys.stdout, until=until)
    print(rest)
    return 1 if rest.wrong or totals.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
