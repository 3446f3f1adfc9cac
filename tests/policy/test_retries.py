"""What error answers say of trying again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenomics.policy.model import Retry
from tokenomics.policy.retries import (
    MAX_BACKOFF_SECONDS,
    backoff,
    key_refusal,
    try_again,
    wanted_wait,
)

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110


@pytest.mark.parametrize(
    ("status", "said", "again"),
    [
        (429, None, True),
        (503, None, True),
        (400, None, False),
        (400, b"true", True),
        (409, b"TRUE", True),
        (429, b"false", False),
        (503, b"maybe", True),
    ],
)
def test_the_provider_s_word_beats_the_list(status: int, said: bytes | None, again: bool) -> None:
    fields = {} if said is None else {b"x-should-retry": said}
    assert try_again(status, fields, Retry()) is again


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 0),
        ({b"retry-after": b"7"}, 7),
        ({b"retry-after": b"1.5"}, 1.5),
        ({b"retry-after": b"-1"}, 0),
        ({b"retry-after": b"soon"}, 0),
        ({b"retry-after": b"1e9"}, 0),
        ({b"retry-after-ms": b"250"}, 0.25),
        ({b"retry-after-ms": b"250", b"retry-after": b"7"}, 0.25),
        ({b"retry-after-ms": b"x", b"retry-after": b"7"}, 7),
        ({b"retry-after": b"Sun, 06 Nov 1994 08:49:47 GMT"}, 10),
        ({b"retry-after": b"Sun, 06 Nov 1994 08:49:07 GMT"}, 0),
        ({b"retry-after": b"Sun, 31 Feb 1994 08:49:47 GMT"}, 0),
        ({b"retry-after": b"Sun, 06 Nov 1994 25:49:47 GMT"}, 0),
        ({b"retry-after": b"Sunday, 06-Nov-94 08:49:47 GMT"}, 0),
    ],
)
def test_the_wait_a_provider_asks_for(fields: dict[bytes, bytes], seconds: float) -> None:
    assert wanted_wait(fields, NOW) == seconds


def test_backoff_doubles_up_to_a_bound_and_is_left_to_chance() -> None:
    assert [backoff(n, 1.0) for n in range(1, 5)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff(60, 1.0) == MAX_BACKOFF_SECONDS
    assert backoff(3, 0.0) == 0


QUOTA: dict[str, Any] = {"error": {"code": "insufficient_quota", "message": "pay"}}


@pytest.mark.parametrize(
    ("status", "document", "refused"),
    [
        (401, {}, True),
        (402, {}, True),
        (403, {"error": {"code": "no_model"}}, False),
        (429, {"error": {"code": "rate_limit_exceeded"}}, False),
        (429, QUOTA, True),
        (429, {"error": {"type": "insufficient_quota", "code": None}}, True),
        (429, {"error": {"message": "this is not insufficient_quota"}}, False),
        (429, {"error": "insufficient_quota"}, False),
        (429, ["insufficient_quota"], False),
        (400, QUOTA, False),
        (500, QUOTA, False),
    ],
)
def test_when_a_key_is_refused(status: int, document: Any, refused: bool) -> None:
    assert bool(key_refusal(status, json.dumps(document).encode())) is refused


def test_a_body_that_is_no_json_refuses_no_key() -> None:
    assert key_refusal(429, b"<insufficient_quota>") == ""
    assert key_refusal(429, b"[" * 100_000 + b"insufficient_quota") == ""
