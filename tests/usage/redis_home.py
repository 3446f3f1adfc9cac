"""Proxies of a test that count in one real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from tests.support.http import PATIENCE, POLL_SECONDS, until
from tests.support.redis import RedisServer
from tests.usage.homes import BUDGET, A, SetClock
from tokenomics.config.settings import Redis, Seconds
from tokenomics.net.redis import Script
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import Limits
from tokenomics.usage.redis import LEASE_SECONDS, RedisUsage
from tokenomics.usage.redis_calls import account_script
from tokenomics.usage.share import Share

TIMEOUT = 0.2  # seconds; for servers that don't answer
CLOCK = "the-clock"  # a list of seconds and microseconds
BY_THE_CLOCK = Script(
    account_script().text.replace(
        'redis.call("TIME")', f'redis.call("LRANGE", "{CLOCK}", 0, -1)', 1
    )
)


@dataclass
class Proxy:
    """One that counts in Redis, what it remembers and said. Its wall is set by a test."""

    settings: Redis
    path: Path
    lease_seconds: float = LEASE_SECONDS
    script: Script | None = None
    account: str = A
    said: list[str] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)
    running: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __post_init__(self) -> None:
        self.clock = SetClock()
        self.share = Share(self.path, self.said.append, self.clock)
        self.usage = RedisUsage(
            self.settings,
            self.share,
            lambda level, message: self.said.append(f"{level}: {message}"),
            lambda up, _why: self.told.append(up),
            lease_seconds=self.lease_seconds,
            script=self.script,
        )

    def has_said(self, what: str) -> int:
        return sum(what in line for line in self.said)

    async def up(self, count: int = 1) -> None:
        """Wait until it has begun to count there so many times."""
        await until(lambda: self.has_said("counted in Redis") >= count, f"{self.said}")

    async def away(self, count: int = 1) -> None:
        await until(lambda: self.has_said("until it is back") >= count, f"{self.said}")

    async def keep_going(self) -> None:
        with self.running:
            await self.usage.run()

    # Short words for one budget of one account

    async def ask(self, want: Want, limits: Limits = BUDGET) -> Lease | Denied:
        return await self.usage.admit(self.account, limits, want)

    async def lease(self, want: Want, limits: Limits = BUDGET) -> Lease:
        got = await self.ask(want, limits)
        assert isinstance(got, Lease), got
        return got

    async def denied(self, want: Want, limits: Limits = BUDGET) -> Denied:
        got = await self.ask(want, limits)
        assert isinstance(got, Denied), got
        return got

    async def end(self, lease: Lease, tokens: int) -> None:
        await self.usage.settle(self.account, lease, Bill(tokens, tokens))

    async def spend(self, tokens: int, limits: Limits = BUDGET) -> None:
        await self.end(await self.lease(Want(tokens, 0), limits), tokens)


def settings_of(server: RedisServer, **changes: object) -> Redis:
    base = Redis(addr=server.addr, timeout=Seconds(TIMEOUT))
    return replace(base, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def proxies(*them: Proxy) -> AsyncIterator[None]:
    """They run while the block does."""
    async with trio.open_nursery() as nursery:
        for proxy in them:
            nursery.start_soon(proxy.keep_going)
        try:
            with trio.fail_after(3 * PATIENCE):
                yield
        finally:
            nursery.cancel_scope.cancel()


async def set_clock(server: RedisServer, now: float) -> None:
    """The time for scripts that go BY_THE_CLOCK."""
    micros = round(now * 1_000_000)
    await server.do("DEL", CLOCK)
    await server.do("RPUSH", CLOCK, str(micros // 1_000_000), str(micros % 1_000_000))


async def until_counted(server: RedisServer, account: str = A, **wanted: tuple[int, int]) -> None:
    """Wait until Redis counts so much; what is not named has to be nothing."""
    want, found = {"running": (0, 0), **wanted}, {}
    with trio.move_on_after(PATIENCE):
        while found != want:
            found = await counted(server, account)
            await trio.sleep(POLL_SECONDS)
        return
    raise AssertionError(f"{found} instead of {want}")


async def counted(server: RedisServer, account: str = A) -> dict[str, tuple[int, int]]:
    """What Redis has of an account's budgets and windows: (total, held); and "running"."""
    text = await server.do("EVAL", AS_TEXT, "1", f"tokenomics:{{{account}}}")
    found = {}
    for row in text.splitlines():
        name, total, held = row.rsplit(" ", 2)
        if int(total) or name == "running":
            found[name] = int(total), int(held)
    return found


AS_TEXT = """
local packed = redis.call("GET", KEYS[1])
local account = packed and cmsgpack.unpack(packed) or {b = {}, w = {}, n = 0}
local out = {"running " .. account.n .. " 0"}
local function tell(name, total, held)
  out[#out + 1] = string.format("%s %.0f %.0f", name, total, held)
end
for key, b in pairs(account.b) do tell(key, b[1] + b[2], b[2]) end
for key, w in pairs(account.w) do tell(key, w[1], w[2]) end
return table.concat(out, "\\n")
"""
