"""The limits that a policy sets, what they are counted under, and the periods they are in."""

from __future__ import annotations

import math

import pytest

from tokenomics.policy.flat import NAME_BYTES
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Limit, Limits, dollars, limits_of
from tokenomics.policy.model import BudgetRule, Entry, ModelSet, Policy, RateLimit, RateRule

ENTRY = Entry("openai", models=ModelSet("gpt"))
HOUR, DAY = 3600.0, 86400.0


def rows(policy: Policy, entry: Entry = ENTRY) -> list[tuple[str, str, str, int]]:
    """What bounds a request, as name, key, unit, most."""
    return [(x.name, x.key, x.unit, x.most) for x in limits_of(policy, entry).each]


def test_no_limits_bound_nothing() -> None:
    limits = limits_of(Policy(), ENTRY)
    assert (bool(limits), limits.bounded, limits.due(0.0)) == (False, False, ())
    assert limits == Limits()


def test_every_kind_of_limit_has_a_name_and_a_key_of_its_own() -> None:
    policy = Policy(
        max_tokens=1,
        budgets=(BudgetRule(2, 0.5, "day", "Europe/Berlin"), BudgetRule(0, 3.0)),
        rate_limit=RateLimit((RateRule(4, 5, 60.0, "sliding"), RateRule(6, 0, 0.5, "fixed")), 7),
    )
    entry = Entry(
        "openai",
        models=ModelSet("gpt"),
        max_tokens=8,
        budgets=(BudgetRule(9, 0.000000001, "week"),),
    )
    assert rows(policy, entry) == [
        ("requests in 60 s", "requests/60/sliding", REQUESTS, 4),
        ("tokens in 60 s", "tokens/60/sliding", TOKENS, 5),
        ("requests in 0.5 s", "requests/0.5/fixed", REQUESTS, 6),
        ("total", "total", TOKENS, 1),
        ("day", "day/Europe/Berlin", TOKENS, 2),
        ("day cost", "day/Europe/Berlin/cost", COST, 500_000_000),
        ("total cost", "total/cost", COST, 3_000_000_000),
        ("openai:gpt", "openai:gpt", TOKENS, 8),
        ("openai:gpt week", "openai:gpt/week/UTC", TOKENS, 9),
        ("openai:gpt week cost", "openai:gpt/week/UTC/cost", COST, 1),
    ]
    assert limits_of(policy, entry).parallel == 7


def test_of_limits_that_count_the_same_the_smallest_holds() -> None:
    policy = Policy(
        max_tokens=500,
        budgets=(BudgetRule(300), BudgetRule(400)),
        rate_limit=RateLimit((RateRule(3, 0, 10.0, "sliding"), RateRule(5, 0, 10.0, "sliding"))),
    )
    assert [(key, most) for _, key, _, most in rows(policy)] == [
        ("requests/10/sliding", 3),
        ("total", 300),
    ]


def test_windows_of_almost_the_same_length_are_kept_apart() -> None:
    rules = tuple(RateRule(9, 0, seconds, "sliding") for seconds in (1209600.0, 1209601.0))
    assert len(rows(Policy(rate_limit=RateLimit(rules)))) == 2


@pytest.mark.parametrize(
    ("policy", "bounded"),
    [
        (Policy(rate_limit=RateLimit((RateRule(1, 0, 1.0, "fixed"),), 1)), False),
        (Policy(rate_limit=RateLimit((RateRule(0, 1, 1.0, "fixed"),))), True),
        (Policy(max_tokens=1), True),
        (Policy(budgets=(BudgetRule(0, 1.0),)), True),
    ],
    ids=["requests", "tokens", "budget", "cost"],
)
def test_what_counts_an_answer_is_told_apart(policy: Policy, bounded: bool) -> None:
    limits = limits_of(policy, ENTRY)
    assert (bool(limits), limits.bounded) == (True, bounded)


def test_the_longest_key_fits_where_workers_count() -> None:
    entry = Entry(
        "openai",
        models=ModelSet("é" * 500),
        budgets=(BudgetRule(1, 0, "month", "America/Argentina/ComodRivadavia"),),
    )
    (due,) = limits_of(Policy(), entry).due(2e9)
    assert len(due.key.encode()) <= NAME_BYTES


def test_parts_to_warn_at_come_in_rising_order() -> None:
    (limit,) = limits_of(Policy(budgets=(BudgetRule(1, warn_at=(0.9, 0.5)),)), ENTRY).each
    assert limit.warn_at == (0.5, 0.9)


# Periods

EACH = (
    Limit("total", "total", TOKENS, 1),
    Limit("hour", "hour", TOKENS, 1, period="hour"),
    Limit("day", "day", TOKENS, 1, period="day"),
    Limit("window", "window", TOKENS, 1, 60.0),
)


@pytest.mark.parametrize(
    ("moment", "hour", "day"),
    [
        (0.0, 0, 0),
        (HOUR - 0.001, 0, 0),
        (HOUR, 3600, 0),
        (DAY, 86400, 86400),
    ],
)
def test_a_budgets_key_and_end_are_those_of_its_period(moment: float, hour: int, day: int) -> None:
    expected = [
        ("total", math.inf),
        (f"hour@{hour}", hour + HOUR),
        (f"day@{day}", day + DAY),
        ("window", math.inf),
    ]
    assert [(due.key, due.ends) for due in Limits(each=EACH).due(moment)] == expected


def test_periods_are_looked_up_anew_whenever_one_begins_or_the_wall_is_set() -> None:
    limits = Limits(each=EACH)
    for moment in (0.0, 3599.0, 3600.0, 3599.0, 90_000.0, -1.0, 0.0):
        assert limits.due(moment) == Limits(each=EACH).due(moment)


# Words


@pytest.mark.parametrize(
    ("nanodollars", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_234_567, "$0.00123"),
        (250_000_000, "$0.250"),
        (12_500_000, "$0.0125"),
        (1_250_000_000, "$1.25"),
        (10**15, "$1000000.00"),
    ],
)
def test_small_amounts_of_money_have_as_many_digits_as_they_need(
    nanodollars: int, text: str
) -> None:
    assert dollars(nanodollars) == text
    assert Limit("cost", "cost", COST, 1).amount(nanodollars) == text


def test_amounts_of_tokens_are_whole() -> None:
    assert EACH[0].amount(1234.0) == "1234"
