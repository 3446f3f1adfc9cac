"""Where the accounts of tokens live: one interface, several homes."""

from __future__ import annotations

from typing import Protocol

from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.model import RateLimit
from tokenomics.policy.route import Budget


class Usage(Protocol):
    """Takes leases and settles them, each in one step."""

    async def admit(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """Take everything a request of a token needs, or nothing."""

    async def trial(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """What `admit` would say, with nothing taken."""

    async def move(
        self, hash_: str, lease: Lease, budgets: tuple[Budget, ...], want: Want
    ) -> Denied | None:
        """Let a lease hold other budgets; None if they all have room."""

    async def settle(self, hash_: str, lease: Lease, tokens: int) -> None:
        """End a lease with what it cost. Never waits."""
