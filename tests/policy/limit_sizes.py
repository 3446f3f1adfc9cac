"""Policies with limits of every kind, and requests against them, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from tokenomics.policy.limits import Bill, Want
from tokenomics.policy.model import BudgetRule, Entry, Policy, RateLimit, RateRule
from tokenomics.prices import NANODOLLARS

WARN_AT = (0.5, 0.8)


def policy_of(sizes: dict[str, int]) -> Policy:
    """Rates and budgets of every kind."""
    return Policy(
        max_tokens=sizes["total"],
        budgets=(
            BudgetRule(sizes["hour"], sizes["hour cost"] / NANODOLLARS, "hour", warn_at=WARN_AT),
            BudgetRule(sizes["day"], 0, "day", "Europe/Berlin", WARN_AT),
        ),
        rate_limit=RateLimit(
            (
                RateRule(sizes["requests"], sizes["tokens"], 10.0, "sliding"),
                RateRule(sizes["requests fixed"], 0, 7.0, "fixed"),
                RateRule(0, sizes["tokens fixed"], 12.0, "fixed"),
            ),
            sizes["parallel"],
        ),
        entries=(
            Entry("a", max_tokens=sizes["a"]),
            Entry("b", budgets=(BudgetRule(0, sizes["b cost"] / NANODOLLARS, "hour"),)),
            Entry("c"),
        ),
    )


def of_limit(low: int, high: int) -> st.SearchStrategy[int]:
    """No limit, or one."""
    return st.just(0) | st.integers(low, high)


SIZES = st.fixed_dictionaries(
    {
        "total": of_limit(200, 3000),
        "hour": of_limit(50, 500),
        "hour cost": of_limit(100, 2000),
        "day": of_limit(100, 1000),
        "requests": of_limit(1, 6),
        "tokens": of_limit(50, 300),
        "requests fixed": of_limit(1, 6),
        "tokens fixed": of_limit(50, 300),
        "parallel": st.integers(0, 4),
        "a": of_limit(50, 500),
        "b cost": of_limit(100, 2000),
    }
)
COSTS = {"input_cost": st.integers(0, 200), "output_cost": st.integers(0, 5)}
BOUNDS = {
    "input": st.integers(0, 60),
    "output": st.none() | st.integers(0, 60),
    "choices": st.sampled_from([1, 1, 3]),
}
STEPS = st.sampled_from([0, 8, 20])
NO = st.just(0)
WANTS = st.builds(Want, **BOUNDS, **COSTS, step=STEPS, enough=NO) | st.builds(
    Want, **BOUNDS, **COSTS, step=NO, enough=STEPS
)
BILLS = st.builds(Bill, st.integers(0, 130), st.integers(0, 600))
