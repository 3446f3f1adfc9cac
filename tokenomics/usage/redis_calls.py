"""Calls of the script that counts in Redis, each to its end: done, not done, or nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import trio

from tokenomics.config.settings import Redis
from tokenomics.net.redis import Away, RedisClient, RedisError, Script
from tokenomics.policy.limits import Want
from tokenomics.policy.meters import Due
from tokenomics.usage import claims
from tokenomics.usage.claims import Look

LOOK_SECONDS = 5.0  # for a command that wants to know how accounts stand
# Calls at a time; the connection takes 1000, and who keeps it going needs a few.
MAX_CALLS = 900


class Absent(Exception):
    """Nobody counts in Redis now; `unsure` if what was asked may have been done all the same."""

    def __init__(self, why: str, *, unsure: bool = False) -> None:
        super().__init__(why)
        self.unsure = unsure


class Busy(Absent):
    """For this call alone: more is asked than is answered."""


def account_script() -> Script:
    """`account.lua`."""
    file = resources.files("tokenomics").joinpath("usage", "account.lua")
    return Script(file.read_text("utf-8"))


def keys_of(account: str) -> list[str]:
    """What the script works on: one slot of a cluster."""
    tag = f"tokenomics:{{{account}}}"
    return [tag, f"{tag}:leases", f"{tag}:expiry", f"{tag}:steps"]


class Calls:
    """Asks through a client, which somebody else keeps running."""

    def __init__(self, client: RedisClient, script: Script, timeout_seconds: float) -> None:
        self._client = client
        self._script = script
        self._timeout = timeout_seconds
        self._places = trio.Semaphore(MAX_CALLS)

    async def ask(self, op: str, account: str, document: str, id_: str) -> list[bytes]:
        """What the script answers. Raises Absent, also if Redis is there and refuses: it is full,
        read-only, or does not let us. Then nothing was done: a script that fails does so at the
        first thing that it would write.

        Who is cancelled waits for the answer all the same, else nobody would know what was taken:
        for a place and for an answer, a timeout each at most.
        """
        with trio.CancelScope(shield=True):
            await self._take_place()
            connected = self._client.connected
            try:
                answer = await self._client.script(
                    self._script, keys_of(account), [op, document, id_]
                )
            except RedisError as e:
                raise Absent(f"Redis refuses: {e}") from None
            except Away as e:
                raise Absent(str(e), unsure=connected) from None
            finally:
                self._places.release()
        if not isinstance(answer, list):
            raise Absent("Redis answered what the script does not say", unsure=True)
        return [item for item in answer if isinstance(item, bytes)]

    async def _take_place(self) -> None:
        """Wait until one more may ask; as long as for an answer. Raises Busy."""
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(self._timeout) as waiting:
                await self._places.acquire()
            if waiting.cancelled_caught:
                raise Busy("Redis is asked more than it answers") from None


async def look_at(settings: Redis, asked: Sequence[tuple[str, tuple[Due, ...]]]) -> list[Look]:
    """How accounts stand, for a command that counts nothing itself. Raises Away."""
    settled = trio.Event()  # it can be asked, or could not be reached at the first try
    reasons = ["no answer"]

    def on_down(reason: str) -> None:
        reasons.append(reason)
        settled.set()

    client = RedisClient(settings, settled.set, on_down)
    script = account_script()
    looks: list[Look] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        with trio.move_on_after(LOOK_SECONDS):
            await settled.wait()
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
