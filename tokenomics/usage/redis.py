"""Accounts in Redis or Valkey, so that limits hold over all proxies that ask it.

Each step is one call of one script (`account.lua`). A lease there expires unless its proxy renews
it, so what a dead proxy held is free again within LEASE_SECONDS.

While Redis is away nobody waits for it: `session.redis.on_error` says whether this proxy enforces
its own share of every limit meanwhile (local), refuses (closed), or admits everything (open). What
was spent then is charged when it is back. What was spent before is remembered here too: a Redis
that comes back empty is told.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from importlib import resources
from typing import NamedTuple

import trio

from tokenomics.config.settings import Redis
from tokenomics.errors import Refusal
from tokenomics.net.redis import Away, RedisClient, RedisError, Script
from tokenomics.policy.limits import FREE, Bill, Crossing, Denied, Hold, Lease, Want
from tokenomics.policy.meters import REQUESTS, Due, Limits
from tokenomics.usage import claims
from tokenomics.usage.claims import Look
from tokenomics.usage.share import Share

LEASE_SECONDS = 60.0
AGAIN_SECONDS = 1.0  # after Redis could not be told what it has to know
BEAT_SECONDS = 5.0  # how often each proxy says that it is there
LOOK_SECONDS = 5.0  # for a command that wants to know how accounts stand
MAX_OWED = 10_000  # settlements that wait for Redis; the oldest go first
PROXIES = "tokenomics:proxies"
EPOCH = "tokenomics:epoch"  # a database that has lost it was emptied
OPEN_ID = "open"  # of leases that nothing bounds

# What needs no knowledge of what was spent.
_WHILE_CATCHING_UP = ("settle", "restore")
_MEANWHILE = {
    "local": "this proxy enforces its own share of every limit",
    "closed": "requests of tokens with limits are refused",
    "open": "nothing is limited",
}

Say = Callable[[str, str], None]  # (level, message)
Tell = Callable[[bool, str], None]  # (whether Redis is there, why not)


class Owed(NamedTuple):
    """A settlement that Redis has yet to hear of."""

    account: str
    lease: str
    dues: tuple[Due, ...]
    bill: Bill
    force: bool
    remembered: bool = False  # it is part of what this proxy remembers as spent


class RedisUsage:
    """The accounts of every token, in one Redis for all proxies. `share` is what this proxy
    remembers, and counts in while Redis is away; a lease that it does not renew ends after `lease`
    seconds. `run` keeps it going."""

    def __init__(
        self,
        settings: Redis,
        share: Share,
        say: Say,
        tell: Tell = lambda _up, _why: None,
        *,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._lease_seconds = lease
        self._settings = settings
        self._share = share
        self._say = say
        self._tell = tell
        self._me = uuid.uuid4().hex
        self._script = account_script()
        self._client = RedisClient(settings, self._on_up, self._on_down)
        self._came_up = trio.Event()
        self._ready = False  # it is up, and knows what was spent
        self._tried = trio.Event()  # it was, or could not be reached
        self._there: bool | None = None  # as was said last
        self._why = "not connected yet"
        self._epoch = b""
        self._leases: dict[str, tuple[str, float]] = {}  # id: account, when to renew
        self._forgotten: set[str] = set()  # of the leases, those that an emptied Redis has lost
        self._owed: deque[Owed] = deque()
        self._dropped = 0

    @property
    def owes(self) -> int:
        """Settlements that Redis has yet to hear of."""
        return len(self._owed)

    # What the gateway asks for

    async def admit(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage. Raises Refusal `limits_unavailable` if Redis is away and must not be."""
        return await self._admit(account, limits, want, uuid.uuid4().hex)

    async def trial(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        return await self._admit(account, limits, want, "")

    async def _admit(self, account: str, limits: Limits, want: Want, id_: str) -> Lease | Denied:
        if not limits:
            return Lease(want, 0, None, False, [], id=OPEN_ID)
        dues = limits.due(self._share.clock.wall())
        document = claims.asked(
            parallel=limits.parallel,
            dues=claims.due_rows(dues, want),
            want=claims.want_row(want),
            ttl=self._lease_seconds,
        )
        try:
            answer = await self._ask("admit", account, document, id_)
        except Away as e:
            if id_:  # it may have been taken all the same
                self._owe(Owed(account, id_, dues, FREE, force=False))
            return await self._alone(account, limits, want, str(e), trial=not id_)
        denied = claims.read_denied(answer, dues, limits.parallel, want)
        if denied is not None:
            return denied
        if id_:
            self._leases[id_] = account, trio.current_time() + self._lease_seconds / 3
        return claims.read_lease(answer, dues, want, id_)

    async def _alone(
        self, account: str, limits: Limits, want: Want, why: str, *, trial: bool
    ) -> Lease | Denied:
        """Admit without Redis."""
        if self._settings.on_error == "closed":
            raise Refusal(
                "limits_unavailable",
                "this proxy cannot count what the token uses (session.redis), and may not go on"
                f" without: {why}",
            )
        if self._settings.on_error == "open":
            dues = limits.due(self._share.clock.wall())
            return Lease(want, 0, None, False, [Hold(due) for due in dues], id=OPEN_ID)
        home = self._share.trial if trial else self._share.admit
        return await home(account, limits, want)

    async def extend(self, account: str, lease: Lease, output: int) -> int:
        """See Usage."""
        if lease.id == OPEN_ID:
            return output
        if not lease.id:
            return await self._share.extend(account, lease, output)
        dues = tuple(hold.due for hold in lease.holds)
        rows = claims.due_rows(dues, lease.want)
        document = claims.asked(dues=rows, output=output, ttl=self._lease_seconds)
        try:
            (granted,) = await self._ask("extend", account, document, lease.id)
        except Away:
            return 0 if self._settings.on_error == "closed" else output
        lease.output += int(granted)
        return int(granted)

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """See Usage."""
        if lease.id == OPEN_ID:
            return None
        if not lease.id:
            return await self._share.move(account, lease, limits, want)
        dues = limits.due(self._share.clock.wall())
        rows, wish = claims.due_rows(dues, want), claims.want_row(want)
        document = claims.asked(dues=rows, want=wish, ttl=self._lease_seconds)
        try:
            answer = await self._ask("move", account, document, lease.id)
        except Away as e:
            return _unreachable(str(e), want) if self._settings.on_error == "closed" else None
        counted = tuple(due for due in dues if due.limit.unit != REQUESTS)
        denied = claims.read_denied(answer, counted, 0, want)
        if denied is not None or answer[0] != b"lease":
            return denied
        new = claims.read_lease(answer, counted, want, lease.id)
        kept = [hold for hold in lease.holds if hold.due.limit.unit == REQUESTS]
        stands = tuple(s for s in lease.standing if s[0].limit.unit == REQUESTS)
        lease.want, lease.output, lease.cap, lease.bounded = want, new.output, new.cap, new.bounded
        lease.holds, lease.standing = kept + new.holds, stands + new.standing
        return None

    async def settle(self, account: str, lease: Lease, bill: Bill) -> list[Crossing]:
        """See Usage. It is heard of, sooner or later, also by a Redis that is away."""
        if not lease.open:
            raise RuntimeError("a lease was settled twice")
        dues = tuple(hold.due for hold in lease.holds)
        if not lease.id:
            crossed = await self._share.settle(account, lease, bill)
            owed = Owed(account, uuid.uuid4().hex, dues, bill, force=True, remembered=True)
            self._owe(owed)
            return crossed
        lease.open = False
        self._leases.pop(lease.id, None)
        if lease.id == OPEN_ID:
            if dues:
                self._owe(Owed(account, uuid.uuid4().hex, dues, bill, force=True))
            return []
        owed = Owed(account, lease.id, dues, bill, force=lease.id in self._forgotten)
        self._forgotten.discard(lease.id)
        try:
            return await self._pay(owed)
        except Away:
            self._owe(owed)
            return []

    # Talking to Redis

    async def _ask(self, op: str, account: str, document: str, id_: str) -> list[bytes]:
        """What the script answers. Raises Away, also if Redis is there and refuses: it is full,
        read-only, or does not let us."""
        if not self._ready and op not in _WHILE_CATCHING_UP:
            if not self._tried.is_set():  # at the start
                with trio.move_on_after(self._settings.timeout):
                    await self._tried.wait()
            if not self._ready:
                raise Away(self._why)
        try:
            with trio.CancelScope(shield=True):  # else nobody would know what was taken
                words = [op, document, id_]
                answer = await self._client.script(self._script, keys_of(account), words)
        except RedisError as e:
            self._absent(f"Redis refuses: {e}")
            raise Away(str(e)) from None
        except Away as e:
            self._absent(str(e))
            raise
        if self._ready:
            self._present()
        if not isinstance(answer, list):
            raise Away("Redis answered what the script does not say")
        return [item for item in answer if isinstance(item, bytes)]

    async def _pay(self, owed: Owed) -> list[Crossing]:
        document = claims.bill_of(owed.bill, owed.dues, force=owed.force)
        answer = await self._ask("settle", owed.account, document, owed.lease)
        if answer[0] != b"settled":
            return []
        crossed, spent = claims.settled(answer, owed.dues)
        for due, total in spent:
            self._share.remember(owed.account, due, total)
        return crossed

    def _owe(self, owed: Owed) -> None:
        if len(self._owed) >= MAX_OWED:
            self._owed.popleft()
            self._dropped += 1
        self._owed.append(owed)

    # Keeping it going

    def _on_up(self) -> None:
        self._came_up.set()

    def _on_down(self, reason: str) -> None:
        self._ready = False
        self._came_up = trio.Event()
        self._tried.set()
        self._absent(reason)

    def _absent(self, why: str) -> None:
        """Say that nobody counts in Redis now, once."""
        self._why = why
        if self._there is not False:
            self._there = False
            self._say("error", f"{why}; {_MEANWHILE[self._settings.on_error]} until it is back")
            self._tell(False, why)

    def _present(self) -> None:
        """Say that limits are counted there, once."""
        if not self._there:
            self._say("info", "limits are counted in Redis")
            if self._there is False:
                self._tell(True, "")
            self._there = True

    async def run(self) -> None:
        """Keep connected, and tell Redis what it has to know; for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._client.run)
            nursery.start_soon(self._keep)

    async def _keep(self) -> None:
        while True:
            await self._came_up.wait()
            up = self._came_up
            try:
                await self._catch_up()
                while self._came_up is up:
                    await self._beat()
                    await trio.sleep(min(BEAT_SECONDS, self._lease_seconds / 6))
            except (Away, RedisError) as e:
                self._tried.set()
                self._absent(str(e))
                await trio.sleep(AGAIN_SECONDS)

    async def _catch_up(self) -> None:
        """Before it is asked: see whether it was emptied, and settle what waited."""
        was_new = await self._client.call("SET", EPOCH, uuid.uuid4().hex, "NX")
        epoch = await self._client.call("GET", EPOCH)
        if was_new is not None or (self._epoch and epoch != self._epoch):
            for account, budgets in self._share.remembered():
                await self._ask("restore", account, claims.asked(budgets=budgets), "")
            owed = [o._replace(force=True) for o in self._owed if not o.remembered]
            self._owed = deque(owed)
            self._forgotten.update(self._leases)
        self._epoch = epoch if isinstance(epoch, bytes) else b""
        await self._pay_all()
        if self._dropped:
            self._say("error", f"{self._dropped} settlements were lost while Redis was away")
            self._dropped = 0
        self._ready = True
        self._tried.set()
        self._share.forget_absence()
        self._present()

    async def _pay_all(self) -> None:
        while self._owed:
            owed = self._owed[0]
            await self._pay(owed)
            if self._owed and self._owed[0] is owed:
                self._owed.popleft()

    async def _beat(self) -> None:
        """Say that this proxy is there, see how many are, and renew what runs long."""
        seconds, _ = _pair(await self._client.call("TIME"))
        await self._client.call(
            "ZREMRANGEBYSCORE", PROXIES, "-inf", f"({seconds - 4 * BEAT_SECONDS}"
        )
        await self._client.call("ZADD", PROXIES, int(seconds), self._me)
        count = await self._client.call("ZCARD", PROXIES)
        self._share.proxies = count if isinstance(count, int) and count > 0 else 1
        await self._pay_all()
        now = trio.current_time()
        due: dict[str, list[str]] = {}
        for id_, (account, when) in self._leases.items():
            if when <= now:
                due.setdefault(account, []).append(id_)
        for account, ids in due.items():
            await self._ask("renew", account, claims.asked(ids=ids, ttl=self._lease_seconds), "")
            for id_ in ids:
                if id_ in self._leases:
                    self._leases[id_] = account, trio.current_time() + self._lease_seconds / 3


def _pair(reply: object) -> tuple[float, float]:
    match reply:
        case [bytes() as seconds, bytes() as micros]:
            return float(seconds), float(micros)
    raise Away("Redis does not tell the time")


def _unreachable(why: str, want: Want) -> Denied:
    message = f"what the fallback costs cannot be counted: {why}"
    return Denied("limits_unavailable", message, "requests", 0, 0, want.input)


def account_script() -> Script:
    """The law of limits in Lua."""
    folder = resources.files("tokenomics").joinpath("usage")
    return Script(folder.joinpath("account.lua").read_text("utf-8"))


def keys_of(account: str) -> list[str]:
    """What the script works on: one slot of a cluster."""
    tag = f"tokenomics:{{{account}}}"
    return [tag, f"{tag}:leases", f"{tag}:expiry"]


async def look_at(settings: Redis, asked: Sequence[tuple[str, tuple[Due, ...]]]) -> list[Look]:
    """How accounts stand, for a command that counts nothing itself. Raises Away."""
    up = trio.Event()
    reasons = ["no answer"]
    client = RedisClient(settings, up.set, reasons.append)
    script = account_script()
    looks: list[Look] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        with trio.move_on_after(LOOK_SECONDS):
            await up.wait()
            for account, dues in asked:
                document = claims.asked(dues=claims.due_rows(dues, Want(0, 0)))
                try:
                    answer = await client.script(script, keys_of(account), ["show", document, ""])
                except (Away, RedisError) as e:
                    reasons.append(str(e))
                    break
                looks.append(claims.read_look(answer))
        nursery.cancel_scope.cancel()
    if len(looks) < len(asked):
        raise Away(reasons[-1])
    return looks
