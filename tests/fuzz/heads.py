"""For every head, the judge that remembers, a judge that does not, and plain h11 with our listed
refusals agree: the same verdict, the same method, path, headers and length; and what we accept is
accepted by h11 with the same reading. `oracle.py` has the lists, `maker.py` makes the heads.

  .venv/bin/python tests/fuzz/heads.py --runs 1000000 --seed 7
  .venv/bin/python tests/fuzz/heads.py --answers --runs 300000

Heads are made of likely and of evil pieces and mutated; those that show something new are kept and
mutated further. One judge sees them all in sequence, siblings of a remembered head soon after it.
The exit status is 1 if anything differs; the bytes that show it are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.maker import ANSWER_PIECES, REQUEST_PIECES, Maker, Pieces
from tests.fuzz.oracle import (
    FAULTS,
    AnswerReading,
    Reading,
    Unlike,
    odd_authority,
    read_answer,
    read_request,
    tame,
    tame_value,
    without_framing,
)
from tokenomics.net.heads import (
    AnswerHead,
    BadHead,
    HeadJudge,
    RequestHead,
    judge_request,
    parse_answer,
)

RECENT = 3000  # heads among which the one is searched that made a judge remember wrongly
SHOWN = 5  # differences that are printed
PROGRESS = 100_000  # heads

Judge = Callable[[bytes], tuple[RequestHead, int | None]]
Parse = Callable[[bytes, str], AnswerHead]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one head showed: `news` is equal for heads that show the same."""

    accepted: bool
    news: Hashable
    difference: str | None


class Target(Protocol):
    """What is fuzzed: how its heads are made, and how one is judged."""

    pieces: Pieces

    def look(self, raw: bytes) -> Seen:
        """Judge a head in all ways and compare."""


# Requests.

Told = tuple[object, ...] | int  # what one of our judges says: a reading's parts, or a status


class Requests:
    """Request heads: the remembering judge, a full judgement and h11."""

    def __init__(
        self,
        remembering: Callable[[], Judge] = lambda: HeadJudge().judge,
        full: Callable[[bytes], RequestHead] = judge_request,
    ) -> None:
        self.pieces = REQUEST_PIECES
        self._remembering = remembering
        self._full = full
        self._warm = remembering()
        self._recent: deque[bytes] = deque(maxlen=RECENT)
        self._turn = 0
        self._culprits = 0

    def look(self, raw: bytes) -> Seen:
        """See Target."""
        self._turn += 1
        warm = _told(self._warm, raw)
        # A judge without a memory, and now and then one whose memory is empty.
        fresh = _told(self._judge_fully if self._turn % 4 else self._remembering(), raw)
        try:
            right = read_request(raw, body=self._turn % 4 == 1)
        except Unlike as e:
            return Seen(False, None, str(e))
        difference = None
        if warm != fresh:
            difference = f"remembered: {warm}\n  in full: {fresh}\n  after: {self._culprit(raw)!r}"
        elif isinstance(right, Reading):
            if fresh != _parts(right) and not (fresh == 400 and odd_authority(raw)):
                difference = f"ours: {fresh}\n  h11's: {_parts(right)}"
        elif isinstance(fresh, tuple):
            difference = f"accepted: {fresh}\n  although: {', '.join(sorted(right))}"
        elif not any(fresh in FAULTS[fault] for fault in right):
            difference = f"refused with {fresh} for: {', '.join(sorted(right))}"
        self._recent.append(raw)
        if isinstance(fresh, int):
            return Seen(False, (right, fresh), difference)
        method, path, _, http11, headers, keep_alive, length = fresh
        assert isinstance(headers, tuple)
        kind = length if length in (None, 0) else 1
        news = (method, path == "*", http11, keep_alive, kind, tuple(n for n, _ in headers))
        return Seen(True, news, difference)

    def _judge_fully(self, raw: bytes) -> tuple[RequestHead, int | None]:
        found = self._full(raw)
        return found, found.length

    def _culprit(self, raw: bytes) -> bytes | None:
        """The head that makes a judge say something else of `raw` once it remembers it; looked for
        a few times only."""
        self._culprits += 1
        if self._culprits > SHOWN:
            return None
        fresh = _told(self._remembering(), raw)
        for earlier in reversed(self._recent):
            judge = self._remembering()
            _told(judge, earlier)
            if _told(judge, raw) != fresh:
                return earlier
        return None


def _told(judge: Judge, raw: bytes) -> Told:
    """What a judge says. A remembered head's Content-Length is that of the first of its kind, so
    the length that goes with it stands there instead."""
    try:
        found, length = judge(raw)
    except BadHead as e:
        return e.status
    first: dict[bytes, bytes] = {}
    for name, value in found.headers:
        first.setdefault(name, value)
    if found.fields != first:
        return ("fields are not those of headers", found.fields, first)
    headers = found.headers
    if b"content-length" in first:
        said = b"%d" % length if length is not None else b"chunked"
        headers = tuple((n, said if n == b"content-length" else v) for n, v in headers)
    return (
        found.method,
        found.path,
        found.query,
        found.http11,
        headers,
        found.keep_alive,
        length,
    )


def _parts(right: Reading) -> tuple[object, ...]:
    return (
        right.method,
        right.path,
        right.query,
        right.http11,
        right.headers,
        right.keep_alive,
        right.length,
    )


# Answers.


class Answers:
    """Answer heads: our reading and h11's. The request's method follows from the bytes."""

    def __init__(self, parse: Parse = parse_answer) -> None:
        self.pieces = ANSWER_PIECES
        self._parse = parse

    def look(self, raw: bytes) -> Seen:
        """See Target."""
        method = ("GET", "POST", "POST", "HEAD")[zlib.crc32(raw) & 3]
        try:
            right = read_answer(raw, method)
            found = self._parse(raw, method)
            if right == frozenset({"h11"}):
                right = read_answer(tame(raw, method), method)
        except BadHead as e:
            accepted = isinstance(right, AnswerReading)
            difference = f"{method}: refused: {e}\n  h11's: {right}" if accepted else None
            return Seen(False, right if not accepted else None, difference)
        except Unlike as e:
            return Seen(False, None, str(e))
        ours = AnswerReading(
            100 if found.status == 101 and isinstance(right, AnswerReading) else found.status,
            tuple((n, tame_value(v)) for n, v in without_framing(found.headers)),
            found.keep_alive,
            found.chunked,
            found.length,
        )
        names = tuple(name for name, _ in ours.headers)
        framing = (found.status, found.keep_alive, found.chunked, found.length is None)
        difference = None
        if not isinstance(right, AnswerReading):
            reasons = ", ".join(sorted(right))
            difference = f"{method}: accepted: {ours}\n  although: {reasons}"
        elif ours != right:
            difference = f"{method}: ours: {ours}\n  h11's: {right}"
        return Seen(True, (method, framing, names), difference)


# Running.


@dataclass
class Totals:
    """What a run saw."""

    heads: int = 0
    accepted: int = 0
    refused: int = 0
    different: int = 0
    shown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.heads} heads, {self.accepted} accepted, {self.refused} refused, "
            f"{self.different} different"
        )


def fuzz(target: Target, runs: int, seed: int, out: TextIO, *, enough: int | None = None) -> Totals:
    """Look at `runs` heads, or until `enough` differ; differences and progress go to `out`."""
    maker = Maker(target.pieces, seed)
    totals = Totals()
    started = time.perf_counter()
    following: bytes | None = None
    seeds = iter(target.pieces.seeds)
    while totals.heads < runs and totals.different != enough:
        raw = following or next(seeds, None) or maker.head()
        seen = target.look(raw)
        totals.heads += 1
        totals.accepted += seen.accepted
        totals.refused += not seen.accepted
        if seen.difference is not None:
            totals.different += 1
            if len(totals.shown) < SHOWN:
                totals.shown.append(f"{raw!r}\n  {seen.difference}")
                print(f"DIFFERENT {totals.shown[-1]}", file=out)
        maker.keep(raw, seen.news)
        following = maker.sibling(raw)
        if totals.heads % PROGRESS == 0:
            rate = totals.heads / (time.perf_counter() - started)
            print(f"{totals}; {rate:.0f}/s", file=out, flush=True)
    return totals


def main(arguments: list[str]) -> int:
    """Fuzz; 1 if something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(";")[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="heads to look at")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--answers", action="store_true", help="answer heads, not request heads")
    options = parser.parse_args(arguments)
    target: Target = Answers() if options.answers else Requests()
    totals = fuzz(target, options.runs, options.seed, sys.stdout)
    print(totals)
    return 1 if totals.different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
