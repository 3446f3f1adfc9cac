"""What the tests of limits share: limits of a few kinds, and what an account says of them."""

from __future__ import annotations

from tokenomics.policy.counts import Account, Counts, History
from tokenomics.policy.limits import Denied, Lease, Want, admit, move
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Limit, Limits

TOTAL = Limit("total", "total", TOKENS, 1000)
BUDGET = Limits(each=[TOTAL])
HOUR = Limit("hour", "hour/UTC/tokens", TOKENS, 100, period="hour")
MONEY = Limit("total cost", "total/cost", COST, 1000)


def one_rule(requests: int = 0, tokens: int = 0, *, fixed: bool = False) -> Limits:
    """Limits of one rule over ten seconds."""
    strategy = "fixed" if fixed else "sliding"
    each = [
        Limit(f"{unit} in 10 s", f"{unit}/10/{strategy}", unit, most, 10.0, fixed=fixed)
        for unit, most in ((REQUESTS, requests), (TOKENS, tokens))
        if most
    ]
    return Limits(0, each)


def total(most: int, name: str = "total") -> Limits:
    return Limits(each=[Limit(name, f"{name}/tokens", TOKENS, most)])


def ask(account: Counts, limits: Limits, want: Want, now: float) -> Lease | Denied:
    return admit(account, limits.parallel, limits.due(now), want, now)


def fall_back(
    account: Account, lease: Lease, limits: Limits, want: Want, now: float = 0.0
) -> Denied | None:
    return move(account, lease, limits.due(now), want, now)


def counted(account: Account, limit: Limit, now: float = 0.0) -> History:
    (due,) = Limits(each=[limit]).due(now)
    return account.history(due, now)


def spent(account: Account) -> dict[str, int]:
    return {key: row[0] for key, row in account.dump()["budgets"].items() if row[0]}


def held(account: Account) -> dict[str, int]:
    found: dict[str, int] = account.dump()["held"]
    return found


def tokens_of(lease: Lease) -> int:
    return lease.want.input + lease.output


def admitted(got: Lease | Denied) -> Lease:
    assert isinstance(got, Lease), got
    return got


def denied(got: Lease | Denied | None) -> Denied:
    assert isinstance(got, Denied), got
    return got


def most_within(times: list[float], length: float) -> int:
    """The most events that any half-open interval of `length` seconds holds."""
    return max((sum(t <= u < t + length for u in times) for t in times), default=0)
