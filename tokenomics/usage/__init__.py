"""Where the accounts of tokens live: one interface, several homes."""

from __future__ import annotations

from typing import Protocol

from tokenomics.policy.limits import Bill, Crossing, Denied, Lease, Want
from tokenomics.policy.meters import Limits


class Usage(Protocol):
    """Takes leases and settles them, each in one step. An account is named by 64 hex digits; it is
    there when it is first asked for."""

    async def admit(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """Take everything a request needs, or nothing."""

    async def trial(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """What `admit` would say, with nothing taken."""

    async def extend(self, account: str, lease: Lease, output: int) -> int:
        """Hold up to so many more output tokens; how many there were."""

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """Let a lease hold what another target costs; None if that fits."""

    async def settle(self, account: str, lease: Lease, bill: Bill) -> list[Crossing]:
        """End a lease with what it cost; the budgets that came to a part to warn at."""
