"""Accounts in Redis or Valkey, so that limits hold over all proxies that ask it.

Each step is one call of one script (`account.lua`). A lease there expires unless its proxy renews
it, so what a dead proxy held is free again within LEASE_SECONDS.

While Redis is away nobody waits for it: `session.redis.on_error` says whether this proxy enforces
its own share of every limit meanwhile (local), refuses (closed), or admits everything (open). What
was spent then is charged when it is back. What was spent before is remembered here too: a Redis
that comes back empty is told.

Redis counts (`_ready`) from when it was told all that, until a call fails: then it is asked for
nothing before it was told again. So requests do not try out, one by one, whether it is back.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import trio

from tokenomics.config.settings import Redis
from tokenomics.errors import Refusal
from tokenomics.net.redis import Away, RedisClient, RedisError, Script
from tokenomics.policy.limits import FREE, Bill, Crossing, Denied, Hold, Lease, Want
from tokenomics.policy.meters import REQUESTS, Due, Limits
from tokenomics.usage import claims
from tokenomics.usage.redis_calls import Absent, Busy, Calls, account_script
from tokenomics.usage.share import Share

LEASE_SECONDS = 60.0
# In that time:
RENEWALS = 3
BEATS = 12  # each proxy says so often that it is there
TRIES = 60  # a Redis that refuses is asked so often
MISSED_BEATS = 4  # a proxy that has missed so many is not there
PROXIES = "tokenomics:proxies"
EPOCH = "tokenomics:epoch"  # a database that has lost it was emptied
OPEN_ID = "open"  # of leases that nothing bounds

_MEANWHILE = {
    "local": "this proxy enforces its own share of every limit",
    "closed": "requests of tokens with limits are refused",
    "open": "nothing is limited",
}

Say = Callable[[str, str], None]  # (level, message)
Tell = Callable[[bool, str], None]  # (whether Redis is there, why not)


class Owed(NamedTuple):
    """A settlement that Redis has yet to hear of. `force` charges a lease that it does not know:
    else that one was settled by a call whose answer was lost. `alone`: what was spent without
    Redis, under a name of its own."""

    account: str
    lease: str
    dues: tuple[Due, ...]
    bill: Bill
    force: bool
    alone: bool = False


class RedisUsage:
    """The accounts of every token, in one Redis for all proxies. `share` is what this proxy
    remembers, and counts in while Redis is away. `run` keeps it going.

    `say` is told what a person should know, `tell` what is an event: away and back. Leases of a
    proxy that is gone lapse after `lease_seconds`.
    """

    def __init__(
        self,
        settings: Redis,
        share: Share,
        say: Say,
        tell: Tell = lambda _up, _why: None,
        *,
        lease_seconds: float = LEASE_SECONDS,
        script: Script | None = None,
    ) -> None:
        self._settings = settings
        self._share = share
        self._say = say
        self._tell = tell
        self._ttl = lease_seconds
        self._me = uuid.uuid4().hex
        self._client = RedisClient(settings, self._on_up, self._on_down)
        self._calls = Calls(self._client, script or account_script(), settings.timeout)
        self._came_up = trio.Event()
        self._ready = False
        self._unready = trio.Event()  # set while it is not
        self._tried = trio.Event()  # it was ready, or could not be
        self._there: bool | None = None  # as was said last
        self._why = "not connected yet"
        self._leases: dict[str, tuple[str, float]] = {}  # id: account, when to renew
        self._idle = trio.Event()  # set as the last of them ends
        self._owed: deque[Owed] = deque()
        self._spent: dict[tuple[str, tuple[Due, ...]], Bill] = {}  # without Redis

    @property
    def owes(self) -> int:
        """What Redis has yet to hear of."""
        return len(self._owed) + len(self._spent)

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
            ttl=self._ttl,
        )
        try:
            answer = await self._ask("admit", account, document, id_)
        except Absent as e:
            if id_ and e.unsure:
                self._owed.append(Owed(account, id_, dues, FREE, force=False))
            return await self._alone(account, limits, want, str(e), trial=not id_)
        denied = claims.read_denied(answer, dues, limits.parallel, want)
        if denied is not None:
            return denied
        if id_:
            self._leases[id_] = account, self._renew_at()
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
        """See Usage. Without Redis more is given, unless that must not be; it is not held."""
        if lease.id == OPEN_ID:
            return output
        if not lease.id:
            return await self._share.extend(account, lease, output)
        dues = tuple(hold.due for hold in lease.holds)
        rows = claims.due_rows(dues, lease.want)
        document = claims.asked(dues=rows, output=output, had=lease.output, ttl=self._ttl)
        try:
            (granted,) = await self._ask("extend", account, document, lease.id)
        except Absent:
            return 0 if self._settings.on_error == "closed" else output
        lease.output += int(granted)
        return int(granted)

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """See Usage. Without Redis it fits, unless that must not be."""
        if lease.id == OPEN_ID:
            return None
        if not lease.id:
            return await self._share.move(account, lease, limits, want)
        dues = limits.due(self._share.clock.wall())
        counted = tuple(due for due in dues if due.limit.unit != REQUESTS)
        rows, wish = claims.due_rows(counted, want), claims.want_row(want)
        document = claims.asked(dues=rows, want=wish, ttl=self._ttl)
        try:
            answer = await self._ask("move", account, document, lease.id)
        except Absent as e:
            if self._settings.on_error == "closed":
                return _unreachable(str(e), want)
            new = Lease(want, lease.output, None, bool(counted), [Hold(due) for due in counted])
        else:
            denied = claims.read_denied(answer, counted, 0, want)
            if denied is not None:
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
        dues = tuple(h.due for h in lease.holds if h.due.limit.unit != REQUESTS)
        if not lease.id:
            crossed = await self._share.settle(account, lease, bill)
            await self._spend(account, dues, bill)
            return crossed
        lease.open = False
        if lease.id == OPEN_ID:
            await self._spend(account, dues, bill)
            return []
        owed = Owed(account, lease.id, dues, bill, force=True)
        try:
            if self._ready:
                return await self._pay(owed)
            self._owed.append(owed)
        except Absent as e:
            self._owed.append(owed._replace(force=not e.unsure))
        finally:
            self._leases.pop(lease.id, None)
            if not self._leases:
                self._idle.set()
        return []

    # Talking to Redis

    async def _ask(self, op: str, account: str, document: str, id_: str) -> list[bytes]:
        """What the script answers. Raises Absent."""
        if not self._tried.is_set():  # at the start
            with trio.move_on_after(self._settings.timeout):
                await self._tried.wait()
        if not self._ready:
            raise Absent(self._why)
        return await self._call(op, account, document, id_)

    async def _call(self, op: str, account: str, document: str, id_: str) -> list[bytes]:
        """The same, ready or not."""
        try:
            return await self._calls.ask(op, account, document, id_)
        except Busy:
            raise
        except Absent as e:
            self._absent(str(e))
            raise

    async def _pay(self, owed: Owed) -> list[Crossing]:
        """Tell Redis of a settlement. Raises Absent."""
        document = claims.bill_of(owed.bill, owed.dues, force=owed.force)
        answer = await self._call("settle", owed.account, document, owed.lease)
        if owed.alone:
            self._share.told(owed.account, owed.dues, owed.bill)
        if answer[0] != b"settled":
            return []
        crossed, spent = claims.settled(answer, owed.dues)
        for due, total in spent:
            self._share.remember(owed.account, due, total)
        return crossed

    async def _spend(self, account: str, dues: tuple[Due, ...], bill: Bill) -> None:
        """Let Redis hear what was spent without it: as one sum, for an absence may be long."""
        if not dues or bill == FREE:
            return
        tokens, cost = self._spent.get((account, dues), FREE)
        self._spent[account, dues] = Bill(tokens + bill.tokens, cost + bill.cost)
        if self._ready:
            try:
                await self._pay_all()
            except Absent:
                return  # it is owed

    async def _pay_all(self) -> None:
        """Tell Redis all that it has yet to hear of. Raises Absent."""
        for (account, dues), bill in self._spent.items():
            self._owed.append(Owed(account, uuid.uuid4().hex, dues, bill, force=True, alone=True))
        self._spent.clear()
        while self._owed:
            owed = self._owed.popleft()
            try:
                await self._pay(owed)
            except Absent as e:
                again = owed.force and (owed.alone or not e.unsure)
                self._owed.appendleft(owed._replace(force=again))
                raise

    # Keeping it going

    def _on_up(self) -> None:
        self._came_up.set()

    def _on_down(self, reason: str) -> None:
        if self._came_up.is_set():  # else somebody waits for this one
            self._came_up = trio.Event()
        self._absent(reason)

    def _absent(self, why: str) -> None:
        """Nobody counts in Redis now; say so once."""
        self._why = why
        self._ready = False
        self._unready.set()
        self._tried.set()
        if self._there is not False:
            self._there = False
            self._say("error", f"{why}; {_MEANWHILE[self._settings.on_error]} until it is back")
            self._tell(False, why)

    def _present(self) -> None:
        """Limits are counted there; say so once."""
        self._ready = True
        self._unready = trio.Event()
        self._tried.set()
        self._share.forget_absence()
        if not self._there:
            self._say("info", "limits are counted in Redis")
            if self._there is False:
                self._tell(True, "")
            self._there = True

    async def run(self) -> None:
        """Keep connected, and tell Redis what it has to know; for ever. Cancelled, it goes on until
        the requests that are cancelled with it have been settled, for `timeout` at most."""
        async with trio.open_nursery() as nursery:
            talking = trio.CancelScope(shield=True)
            nursery.start_soon(self._talk, talking)
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(self._settings.timeout, shield=True):
                    while self._leases and self._ready:
                        self._idle = trio.Event()
                        await self._idle.wait()
                talking.cancel()

    async def _talk(self, until: trio.CancelScope) -> None:
        with until:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._client.run)
                nursery.start_soon(self._keep)

    async def _keep(self) -> None:
        while True:
            await self._came_up.wait()
            try:
                await self._catch_up()
                while self._ready:
                    await self._beat()
                    with trio.move_on_after(self._ttl / BEATS):
                        await self._unready.wait()
            except (Absent, Away, RedisError) as e:
                self._absent(str(e))
            if self._came_up.is_set():  # it is there, and refuses
                await trio.sleep(self._ttl / TRIES)

    async def _catch_up(self) -> None:
        """Before it is asked: see that it does what it is asked for and whether it was emptied, and
        pay what is owed. Raises Absent, Away, RedisError."""
        await self._probe()
        await self._client.call("SET", EPOCH, uuid.uuid4().hex, "NX")
        database = await self._database()
        if database != self._share.database:
            for account, budgets in self._share.remembered():
                await self._call("restore", account, claims.asked(budgets=budgets), "")
            if self._share.database:
                self._owed = deque(o._replace(force=True) for o in self._owed if o.bill != FREE)
            self._share.database = database
        await self._pay_all()
        if not self._came_up.is_set():
            raise Away(self._why)
        self._present()

    async def _probe(self) -> None:
        """A request that costs nothing, from beginning to end."""
        account, nothing = f"probe-{self._me}", claims.want_row(Want(0, 0))
        asked = claims.asked(parallel=0, dues=[], want=nothing, ttl=self._ttl)
        await self._call("admit", account, asked, self._me)
        await self._call("settle", account, claims.bill_of(FREE, (), force=False), self._me)

    async def _database(self) -> str:
        """What tells a database from what it is once it was emptied."""
        found = await self._client.call("GET", EPOCH)
        return found.decode("ascii", "replace") if isinstance(found, bytes) else ""

    async def _beat(self) -> None:
        """Say that this proxy is there, see how many are, and renew what runs long. Raises Absent,
        Away, RedisError."""
        if await self._database() != self._share.database:
            self._ready, self._why = False, "it is told what was spent"
            await self._catch_up()
        now = _seconds(await self._client.call("TIME"))
        gone = now - MISSED_BEATS * self._ttl / BEATS
        await self._client.call("ZREMRANGEBYSCORE", PROXIES, "-inf", f"({gone:.6f}")
        await self._client.call("ZADD", PROXIES, f"{now:.6f}", self._me)
        count = await self._client.call("ZCARD", PROXIES)
        self._share.proxies = count if isinstance(count, int) and count > 0 else 1
        await self._pay_all()
        await self._renew()

    async def _renew(self) -> None:
        due: dict[str, list[str]] = {}
        for id_, (account, when) in self._leases.items():
            if when <= trio.current_time():
                due.setdefault(account, []).append(id_)
        for account, ids in due.items():
            await self._call("renew", account, claims.asked(ids=ids, ttl=self._ttl), "")
            for id_ in ids:
                if id_ in self._leases:
                    self._leases[id_] = account, self._renew_at()

    def _renew_at(self) -> float:
        return trio.current_time() + self._ttl / RENEWALS


def _seconds(reply: object) -> float:
    match reply:
        case [bytes() as seconds, bytes() as micros]:
            return float(seconds) + float(micros) / 1_000_000
    raise Away("Redis does not tell the time")


def _unreachable(why: str, want: Want) -> Denied:
    message = f"what the fallback costs cannot be counted: {why}"
    return Denied("limits_unavailable", message, "requests", 0, 0, want.input)
