"""The rates and budgets that cover a request, as one list, and what each is counted under. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tokenomics.policy.model import BudgetRule, Entry, Policy, RateRule
from tokenomics.policy.periods import TOTAL, period_at
from tokenomics.prices import NANODOLLARS

REQUESTS, TOKENS, COST = "requests", "tokens", "cost"  # units; costs are nanodollars


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` of a unit.

    Of a rate rule: in `window` seconds, sliding or `fixed`. Of a budget: per `period`, which is one
    of `periods.PERIODS`; its window is 0. `key` is what it counts under in a token's account, and
    says nothing of `most`, so that a changed limit keeps what was counted; `name` is what people
    call it. `warn_at` are parts of the whole, in rising order.
    """

    name: str
    key: str
    unit: str
    most: int
    window: float = 0.0
    fixed: bool = False
    period: str = TOTAL
    timezone: str = "UTC"
    warn_at: tuple[float, ...] = ()

    def amount(self, value: float) -> str:
        """An amount in the limit's unit, for people."""
        return dollars(value) if self.unit == COST else f"{value:.0f}"


def dollars(nanodollars: float) -> str:
    """`$1.25`, with as many digits as a small amount needs."""
    amount = nanodollars / NANODOLLARS
    digits = 2 if amount >= 1 or not amount else min(2 - math.floor(math.log10(abs(amount))), 9)
    return f"${amount:.{max(digits, 2)}f}"


class Due(NamedTuple):
    """A limit at a time: the key of its present period, and when that ends (epoch seconds)."""

    limit: Limit
    key: str
    ends: float


class Limits:
    """Everything that bounds a request: requests that may run at a time (`parallel`, 0 for no
    bound), rates and budgets. Of limits that count the same, the smallest holds. `bounded` tells
    whether any counts what an answer costs, `costs` whether any counts money."""

    __slots__ = ("_dues", "_from", "_until", "bounded", "costs", "each", "parallel")

    def __init__(self, parallel: int = 0, each: Iterable[Limit] = ()) -> None:
        tightest: dict[str, Limit] = {}
        for limit in each:
            other = tightest.get(limit.key)
            if other is None or limit.most < other.most:
                tightest[limit.key] = limit
        self.parallel = parallel
        self.each = tuple(tightest.values())
        self.bounded = any(limit.unit != REQUESTS for limit in self.each)
        self.costs = any(limit.unit == COST for limit in self.each)
        self._dues: tuple[Due, ...] = ()
        self._from, self._until = math.inf, -math.inf  # when `_dues` hold

    def __bool__(self) -> bool:
        return bool(self.parallel or self.each)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Limits) and self.parallel == other.parallel
        return same and isinstance(other, Limits) and self.each == other.each

    def __hash__(self) -> int:
        return hash((self.parallel, self.each))

    def __repr__(self) -> str:
        return f"Limits({self.parallel}, {self.each})"

    def due(self, moment: float) -> tuple[Due, ...]:
        """The limits in their periods at `moment` (epoch seconds by the wall's clock)."""
        if not self._from <= moment < self._until:
            spans = [period_at(limit.period, limit.timezone, moment) for limit in self.each]
            self._dues = tuple(
                Due(limit, limit.key if math.isinf(end) else f"{limit.key}@{start:.0f}", end)
                for limit, (start, end) in zip(self.each, spans, strict=True)
            )
            self._from = max((start for start, _ in spans), default=-math.inf)
            self._until = min((end for _, end in spans), default=math.inf)
        return self._dues


def limits_of(policy: Policy, entry: Entry) -> Limits:
    """What bounds the requests that an entry of a policy serves: the token's own rates and budgets,
    and the entry's."""
    each = [limit for rule in policy.rate_limit.rules for limit in _rates(rule)]
    whole = BudgetRule(tokens=policy.max_tokens)
    each += [limit for rule in (whole, *policy.budgets) for limit in _budgets(rule, "")]
    whole = BudgetRule(tokens=entry.max_tokens)
    own = entry.budget_name
    each += [limit for rule in (whole, *entry.budgets) for limit in _budgets(rule, own)]
    return Limits(policy.rate_limit.max_parallel, each)


def _rates(rule: RateRule) -> Iterator[Limit]:
    for unit, most in ((REQUESTS, rule.requests), (TOKENS, rule.tokens)):
        if most:
            key = f"{unit}/{rule.window:.15g}/{rule.strategy}"
            name = f"{unit} in {rule.window:g} s"
            yield Limit(name, key, unit, most, rule.window, fixed=rule.strategy == "fixed")


def _budgets(rule: BudgetRule, entry: str) -> Iterator[Limit]:
    period = rule.period if rule.period == TOTAL else f"{rule.period}/{rule.timezone}"
    for unit, most in ((TOKENS, rule.tokens), (COST, round(rule.cost_usd * NANODOLLARS))):
        if most:
            whole = bool(entry) and rule.period == TOTAL
            cost = (COST,) if unit == COST else ()
            names = (entry, "" if whole else rule.period, *cost)
            keys = (entry, "" if whole else period, *cost)
            yield Limit(
                name=" ".join(name for name in names if name),
                key="/".join(key for key in keys if key),
                unit=unit,
                most=most,
                period=rule.period,
                timezone=rule.timezone,
                warn_at=tuple(sorted(rule.warn_at)),
            )
