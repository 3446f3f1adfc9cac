"""What the script of accounts in Redis is asked, and how its answers are read."""

from __future__ import annotations

import json

import pytest

from tokenomics.policy.limits import Bill, Crossing, Lease, Want
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Limit, Limits
from tokenomics.usage import claims

RATE = Limit("rate", "requests/60/fixed", REQUESTS, 3, 60.0, fixed=True)
HOUR = Limit("hour", "hour/UTC", TOKENS, 100, period="hour", warn_at=(0.5, 0.8))
MONEY = Limit("money", "cost", COST, 9 * 10**15)
DUES = Limits(4, [RATE, HOUR, MONEY]).due(3600.0)
WANT = Want(5, None, choices=2, step=8, input_cost=7, output_cost=3)


def test_limits_are_rows_with_what_a_request_takes_of_them() -> None:
    assert claims.due_rows(DUES, WANT) == [
        ["requests/60/fixed", "requests", 3, 60.0, True, 0, 1, 0],
        ["hour/UTC@3600", "tokens", 100, 0.0, False, 7200.0, 5, 1],
        ["cost", "cost", 9 * 10**15, 0.0, False, 0, 7, 3],
    ]


def test_a_wish_is_what_can_come_and_the_least_of_it() -> None:
    assert claims.want_row(WANT) == {"whole": 32768, "least": 32, "step": 8, "enough": 0}
    assert claims.want_row(Want(5, 3, enough=2))["least"] == 3


def test_a_question_is_plain_json_without_infinity() -> None:
    text = claims.asked(dues=claims.due_rows(DUES, WANT), ttl=60.0)
    assert json.loads(text, parse_constant=pytest.fail)["ttl"] == 60.0


@pytest.mark.parametrize(
    ("answer", "code", "used", "wait"),
    [
        ([b"parallel", b"4"], "too_many_parallel", 4, 1.0),
        ([b"full", b"0", b"3", b"1", b"41.5"], "rate_limit_exceeded", 3, 41.5),
        ([b"full", b"0", b"0", b"4", b"-1"], "rate_limit_exceeded", 0, None),
        ([b"full", b"1", b"98", b"37", b"-1"], "insufficient_quota", 98, None),
        ([b"held", b"2", b"8999999999999999"], "rate_limit_exceeded", 8_999_999_999_999_999, 1.0),
    ],
)
def test_a_denial_is_read(answer: list[bytes], code: str, used: int, wait: float | None) -> None:
    denied = claims.read_denied(answer, DUES, 4, WANT)
    assert denied is not None
    assert (denied.code, denied.used, denied.retry_after) == (code, used, wait)


def test_a_lease_is_read_with_where_its_limits_stand() -> None:
    answer = [b"lease", b"8", b"-1", b"1", b"13", b"31"]
    assert claims.read_denied(answer, DUES, 4, WANT) is None
    lease = claims.read_lease(answer, DUES, WANT, "name")
    assert isinstance(lease, Lease)
    assert (lease.output, lease.cap, lease.bounded, lease.id) == (8, None, True, "name")
    assert [total for _, total in lease.standing] == [1, 13, 31]
    assert [hold.due for hold in lease.holds] == list(DUES)


def test_a_settlement_tells_what_is_spent_and_the_part_to_warn_at() -> None:
    _, hour, money = DUES
    crossed, spent = claims.settled([b"settled", b"40", b"85", b"0", b"21"], DUES)
    assert crossed == [Crossing(HOUR, 0.8, 85)]
    assert spent == [(hour, 85), (money, 21)]


def test_a_bill_is_told_with_what_is_charged_by_force() -> None:
    told = json.loads(claims.bill_of(Bill(10, 21), DUES, force=True))
    assert (told["tokens"], told["cost"], told["force"], len(told["dues"])) == (10, 21, True, 3)
