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
import re
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, TextIO

from tests.fuzz.asks_maker import Body, Maker, large, seeds, written
from tokenomics import strictjson
from tokenomics.dialects import answers
from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.dialects.rewrite import rewrite
from tokenomics.dialects.texts import Key, Text, joins, masked
from tokenomics.errors import Refusal

SHOWN = 5  # faults that are printed
KEPT_BYTES = 12_000  # of a body that is mutated further: they grow, and the pool with them
PROGRESS = 20_000  # bodies
SLOW_SECONDS = 5.0  # for one body; the largest here have some megabytes
PROMPTS = [("system", "one"), ("user", "two"), ("assistant", "three")]
REFUSED = "refused"  # how such a judgement begins
ODD = '[X"\\\n]'

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
    # Moderations have a model where none, or an empty one, is named.
    again = {**ask.document, **({"model": ask.model} if ask.model else {})}
    asks_usage = endpoint.generates and endpoint.dialect.name == "openai"
    if asks_usage and ask.stream and not ask.usage_asked:
        again["stream_options"] = {**(again.get("stream_options") or {}), "include_usage": True}
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
    """Each text as ODD, but for those on which it depends how a document is read."""
    return [text.value if _decides(text) else ODD for text in texts]


def _decides(text: Text) -> bool:
    """Whether it is a key, a kind, or nothing: `models` may be empty and nothing else."""
    step = text.path[-1] if text.path else None
    return isinstance(step, Key) or step == "type" or not text.value


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
        if judge(body, totals, out) and len(body.data) < KEPT_BYTES:
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
