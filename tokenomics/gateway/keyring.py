"""Which key of a provider a request goes out with, and what is learnt from how it went.

Of the keys that are not down one is drawn by weight; those that the request has tried come last.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple

from trio import current_time

from tokenomics.config.provider_keys import ProviderKey
from tokenomics.config.providers import Provider
from tokenomics.errors import Refusal
from tokenomics.policy.breaker import Breakers, Down, Place, Ticket
from tokenomics.policy.route import Target

# A provider that does not answer within less may be well: the policy's timeout is short, or retries
# have used it up.
SHORT_WAIT_SECONDS = 5.0
MAX_RETRY_AFTER = 60  # seconds; some SDKs sleep it out however long

Keys = Callable[[str], str | None]
Changed = Callable[[bool, Down, float], None]
# How a provider fails. What else ends a request is not its doing.
_FAILURES = ("upstream_unreachable", "upstream_invalid", "upstream_timeout")


class Deployment(NamedTuple):
    """A provider at one of its places, and the variable of the key for it."""

    place: Place
    provider: Provider
    weight: float

    @property
    def variable(self) -> str:
        """The variable that holds the key; "" if none is sent."""
        return self.place.variable


class Attempt:
    """One request to one place. It ends with one verdict on the place; use it as a context manager,
    so that leaving it early gives one too."""

    __slots__ = ("_answered", "_began", "_ring", "_ticket", "deployment", "key", "target")

    def __init__(
        self, ring: Keyring, target: Target, deployment: Deployment, key: str, ticket: Ticket
    ) -> None:
        self.target = target
        self.deployment = deployment
        self.key = key
        self._ring = ring
        self._ticket: Ticket | None = ticket
        self._answered = False
        self._began = current_time()

    @property
    def provider(self) -> Provider:
        """The provider as it is reached."""
        return self.deployment.provider

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Refusal):
            self.ended(error.code, error.message)
        self.dropped()

    def answered(self) -> None:
        """A good answer has begun."""
        self._answered = True
        if self._ticket is not None:
            self._ring.breakers.answered(self._ticket)

    def ended(self, code: str, why: str = "") -> None:
        """It is over, with the code of a Refusal or with "" if all was well."""
        if code == "upstream_timeout" and self._was_short():
            self.dropped()
        elif code in _FAILURES:
            self.failed(why or f"an answer broke off ({code})")
        elif self._answered:
            self.succeeded()
        else:  # it was refused on our side
            self.dropped()

    def _was_short(self) -> bool:
        return min(self.target.timeout, current_time() - self._began) < SHORT_WAIT_SECONDS

    def succeeded(self) -> None:
        """The provider did as it should, if only by saying that the request is wrong."""
        if ticket := self._take():
            self._ring.tell_up(self._ring.breakers.succeeded(ticket))

    def failed(self, why: str) -> None:
        """The provider failed."""
        if ticket := self._take():
            now = current_time()
            self._ring.tell_down(self._ring.breakers.failed(ticket, now, why, random.random()))

    def refused(self, why: str) -> None:
        """The provider refuses the key."""
        if ticket := self._take():
            now = current_time()
            self._ring.tell_down(self._ring.breakers.refused(ticket, now, why, random.random()))

    def dropped(self) -> None:
        """Nothing was learnt."""
        if ticket := self._take():
            self._ring.breakers.dropped(ticket)

    @property
    def is_probe(self) -> bool:
        """Whether it goes out to see if the place is up again."""
        return self._ticket is not None and self._ring.breakers.is_probe(self._ticket)

    def _take(self) -> Ticket | None:
        ticket, self._ticket = self._ticket, None
        return ticket


class Keyring:
    """The keys of this proxy. `keys` gives the value of a key's variable, or None; what it gave is
    remembered, for it may read files. `changed` is told when a place goes down (False) or comes up,
    and how long it is left alone, or was down, in seconds."""

    def __init__(self, keys: Keys, breakers: Breakers, changed: Changed) -> None:
        self.breakers = breakers
        self._keys = keys
        self._known: dict[str, str] = {}
        self._changed = changed

    def take(self, target: Target, tried: Collection[Place] = ()) -> Attempt:
        """Leave for one request. Raises Refusal if no key is known, or all of them are down."""
        usable = self._usable(target)
        now = current_time()
        ready = [d for d in usable if self.breakers.look(d.place, now) is None]
        if not ready:
            raise self._down(target, usable, now)
        chosen = ready[0]
        if len(ready) > 1:
            fresh = [d for d in ready if d.place not in tried] or ready
            chosen = random.choices(fresh, [d.weight for d in fresh])[0]
        ticket = self.breakers.ask(chosen.place, now)
        assert isinstance(ticket, Ticket), "it was just looked at"
        return Attempt(self, target, chosen, self._value(chosen), ticket)

    def has_ready(self, target: Target, *, but: Collection[Place] = ()) -> bool:
        """Whether there is a key that is not down, other than some."""
        now = current_time()
        return any(
            d.place not in but and self._has_key(d) and self.breakers.look(d.place, now) is None
            for d in _deployments(target.provider, target.keys, target.key_env)
        )

    def check(self, target: Target) -> None:
        """Raises Refusal if no key of the target is known here."""
        self._usable(target)

    def _usable(self, target: Target) -> list[Deployment]:
        some = _deployments(target.provider, target.keys, target.key_env)
        usable = [d for d in some if self._has_key(d)]
        if not usable:
            names = [d.variable for d in some]
            files = " or ".join(f"{name}_FILE" for name in names)
            raise Refusal(
                "provider_key_missing",
                f"this proxy has no key for provider {target.provider.name}: set"
                f" {' or '.join(names)} (or {files}) where `serve` runs",
            )
        return usable

    def _has_key(self, deployment: Deployment) -> bool:
        return not deployment.variable or bool(self._value(deployment))

    def _value(self, deployment: Deployment) -> str:
        name = deployment.variable
        value = self._known.get(name, "")
        if name and not value:
            value = self._keys(name) or ""
            if value:
                self._known[name] = value
        return value

    def _down(self, target: Target, places: list[Deployment], now: float) -> Refusal:
        """Says since when and why, of the place that is asked again first."""
        downs = [down for d in places if (down := self.breakers.look(d.place, now))]
        first = min(downs, key=lambda down: down.until)
        left = max(math.ceil(first.until - now), 1)
        what = f"provider {target.provider.name} is down"
        if first.refused:
            what = f"provider {target.provider.name} refuses the key in {first.place.variable}"
        if len(downs) > 1:
            what += f", and all {len(downs)} keys are set aside"
        headers = [("retry-after", str(min(left, MAX_RETRY_AFTER)))]
        if first.refused:  # waiting for somebody to pay is no use
            headers.append(("x-should-retry", "false"))
        return Refusal(
            "upstream_unreachable",
            f"{what}: since {now - first.since:.0f} s ({first.why}); it is asked again in {left} s",
            headers=tuple(headers),
        )

    def tell_down(self, down: Down | None) -> None:
        """A place went down, if it did."""
        if down is not None:
            self._changed(False, down, down.until - current_time())

    def tell_up(self, over: Down | None) -> None:
        """A place came up, if it did."""
        if over is not None:
            self._changed(True, over, current_time() - over.since)


@lru_cache(maxsize=1024)
def _deployments(
    provider: Provider, keys: tuple[ProviderKey, ...], key_env: str
) -> tuple[Deployment, ...]:
    """Where a target may be reached, and with which keys."""
    out = []
    for key in keys or (ProviderKey(key_env),):
        where = replace(provider, upstream_url=key.upstream_url) if key.upstream_url else provider
        variable = "" if provider.auth_scheme == "none" else key.env
        place = Place(provider.name, where.upstream_url, variable)
        out.append(Deployment(place, where, key.weight))
    return tuple(out)
