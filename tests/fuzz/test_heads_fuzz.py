"""A short run of the fuzz target, and that it would find what it looks for."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable

import pytest

from tests.fuzz.heads import Answers, Judge, Requests, Target, fuzz
from tokenomics.net.heads import (
    AnswerHead,
    BadHead,
    RequestHead,
    judge_request,
    parse_answer,
)

RUNS = 3000  # heads: about 0.3 s
SEED = 11


def test_request_heads_are_judged_alike() -> None:
    out = io.StringIO()
    totals = fuzz(Requests(), RUNS, SEED, out)
    assert totals.different == 0, out.getvalue()
    assert totals.heads == RUNS
    assert min(totals.accepted, totals.refused) > RUNS / 10  # both kinds are looked at


def test_answer_heads_are_read_alike() -> None:
    out = io.StringIO()
    totals = fuzz(Answers(), RUNS, SEED, out)
    assert totals.different == 0, out.getvalue()
    assert totals.heads == RUNS
    assert min(totals.accepted, totals.refused) > RUNS / 10


# Judges with a mistake each, of the kinds that the fuzz target is there for.


def found(target: Target) -> str:
    """What a run prints of its first difference."""
    out = io.StringIO()
    totals = fuzz(target, RUNS, SEED, out, enough=1)
    assert totals.different == 1
    return out.getvalue()


def forgetful(pattern: bytes) -> Callable[[], Judge]:
    """Judges that remember heads under their bytes without what matches `pattern`."""

    def remembering() -> Judge:
        memo: dict[bytes, RequestHead] = {}

        def judge(head: bytes) -> tuple[RequestHead, int | None]:
            key = re.sub(pattern, b"", head)
            if key not in memo:
                memo[key] = judge_request(head)
            return memo[key], memo[key].length

        return judge

    return remembering


FORGOTTEN = {
    "length": rb"(?<=ength: )[0-9]+",
    "signs-too": rb"(?<=ength: )[^\r\n]+",
    "control": rb"[\x00-\x09]",
    "space-at-the-end": rb"[ \t]+(?=\r\n)",
    "upper-case": rb"[A-Z]",
    "last-field": rb"\r\n.*\r\n\r\n",
}


@pytest.mark.parametrize("pattern", FORGOTTEN.values(), ids=FORGOTTEN.keys())
def test_a_judge_that_remembers_too_little_is_found(pattern: bytes) -> None:
    printed = found(Requests(remembering=forgetful(pattern)))
    shown = re.search(
        r"DIFFERENT (b.*)\n  remembered: .*\n  in full: .*\n  after: (b.*)\n", printed
    )
    assert shown is not None
    raw, earlier = (ast.literal_eval(literal) for literal in shown.groups())
    assert raw != earlier
    assert re.sub(pattern, b"", raw) == re.sub(pattern, b"", earlier)  # what is printed shows it


LAX = {
    "bare-lf": (rb"\r?\n(?!\Z)", b"\r\n"),
    "folded": (rb"\r\n[ \t]+", b" "),
    "space-before-colon": (rb"[ \t]+:", b":"),
    "zeros": (rb"(?<=ength: )0(?=[0-9])", b""),
    "identity": (rb", identity\r", b"\r"),
    "version": (rb"HTTP/2.0", b"HTTP/1.1"),
    "nul": (rb"\x00", b""),
    "no-break-space": (rb"\xa0", b""),
}


@pytest.mark.parametrize(("pattern", "replacement"), LAX.values(), ids=LAX.keys())
def test_a_judge_that_mends_a_head_is_found(pattern: bytes, replacement: bytes) -> None:
    def full(head: bytes) -> RequestHead:
        return judge_request(re.sub(pattern, replacement, head))

    assert found(Requests(full=full))


def test_a_judge_that_refuses_too_much_is_found() -> None:
    def full(head: bytes) -> RequestHead:
        if b"\r\nExpect: " in head:
            raise BadHead("no expectations here")
        return judge_request(head)

    assert "in full: 400" in found(Requests(full=full))


LAX_ANSWERS = {
    "folded": (rb"\r\n[ \t]+", b" "),
    "chunked": (rb"(?i)transfer-encoding: chunked", b"X: y"),
    "list": (rb", 5\r", b"\r"),
    "first-length": (rb"(?i)(content-length: [0-9]+\r\n)content-length: [0-9]+\r\n", rb"\1"),
}


@pytest.mark.parametrize(("pattern", "replacement"), LAX_ANSWERS.values(), ids=LAX_ANSWERS.keys())
def test_a_wrong_reading_of_answers_is_found(pattern: bytes, replacement: bytes) -> None:
    def parse(head: bytes, method: str) -> AnswerHead:
        return parse_answer(re.sub(pattern, replacement, head), method)

    assert found(Answers(parse))
