"""Who asks: from a request's headers to a token's policy."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tokenomics.errors import Invalid, Refusal
from tokenomics.net.heads import RequestHead
from tokenomics.net.message import CREDENTIALS
from tokenomics.policy.model import Policy, cached_policy
from tokenomics.policy.route import Route, Site, plan
from tokenomics.store.database import Database
from tokenomics.store.table import Entry
from tokenomics.tokens import hash_token
from tokenomics.units import rfc3339

CACHED_GRANTS = 4096  # tokens in use; reading a policy costs 100 µs, opening a sealed one 50 more
CACHED_ROUTES = 64  # models of one token


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that was recognised, and what it may do. `entry` is what the database says of it;
    it is replaced, never changed, so a grant holds as long as its entry is the database's."""

    hash: str
    policy: Policy
    entry: Entry
    _routes: dict[str, Route] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """Where it is counted."""
        return self.entry.account or self.hash

    def route(self, model: str, site: Site) -> Route:
        """The targets for a model; remembered, for the same `site` is given each time. Raises
        Refusal, see `policy.route.plan`."""
        route = self._routes.get(model)
        if route is None:
            route = plan(self.policy, model, site)
            if len(self._routes) >= CACHED_ROUTES:
                self._routes.clear()
            self._routes[model] = route
        return route


def token_in(head: RequestHead) -> str:
    """The wrapper token of a request (contract 5). Raises Refusal `missing_token`, or
    `invalid_token` if two headers disagree."""
    found = set()
    for name in CREDENTIALS:
        value = head.get(name)
        if value is None:
            continue
        if name == b"authorization":
            scheme, _, rest = value.strip().partition(" ")
            value = rest if scheme.lower() == "bearer" else value
        found.add(value.strip())
    found.discard("")
    if not found:
        raise Refusal(
            "missing_token",
            "no token: send it as `Authorization: Bearer tkn_...` or `x-api-key: tkn_...`",
        )
    if len(found) > 1:
        raise Refusal("invalid_token", "two headers carry different tokens; send one")
    return found.pop()


class TokenBook:
    """The tokens this proxy knows: its own database, and the replica of the centre's."""

    def __init__(self, databases: Sequence[Database], hash_key: bytes) -> None:
        self.databases = tuple(databases)
        self._hash_key = hash_key
        self._grants: dict[str, Grant] = {}

    def identify(
        self, head: RequestHead, on_expired: Callable[[str, float], None], peer: str | None
    ) -> Grant:
        """The grant of a request's token. `peer` is the address of the socket that it came from:
        what a header says of it is not proof of anything.

        Raises Refusal `missing_token`, `invalid_token`, `token_expired`, `token_not_yet_valid`,
        `ip_not_allowed` or `policy_unsupported`; `on_expired` is told (hash, expiry) of an expired
        one.
        """
        hash_ = head.derived.get(self)
        if hash_ is None:
            hash_ = head.derived[self] = hash_token(self._hash_key, token_in(head))
        for database in self.databases:
            entry = database.table.entries.get(hash_)
            if entry is None:
                continue
            if entry.expires_at is not None and entry.expires_at <= time.time():
                on_expired(hash_, entry.expires_at)
                when = rfc3339(entry.expires_at)
                raise Refusal("token_expired", f"the token expired at {when}; ask for a new one")
            grant = self._grants.get(hash_)
            if grant is None or grant.entry is not entry:
                grant = self._grant(database, entry)
            check_place_and_time(grant.policy, peer, time.time())
            return grant
        raise Refusal("invalid_token", "the token is not known here, or it was revoked")

    def _grant(self, database: Database, entry: Entry) -> Grant:
        try:
            text = database.policy_text(entry)
        except Invalid as e:
            raise _unsupported(f"has a policy that does not open: {e}") from None
        policy = cached_policy(text)
        if isinstance(policy, Invalid):
            raise _unsupported(
                f"has a policy that this proxy does not understand: {policy}; upgrade the proxy or"
                " change the policy"
            )
        if len(self._grants) >= CACHED_GRANTS:
            self._grants.clear()
        grant = self._grants[entry.hash] = Grant(entry.hash, policy, entry)
        return grant


def check_place_and_time(policy: Policy, peer: str | None, now: float) -> None:
    """Raise Refusal `token_not_yet_valid` or `ip_not_allowed` if a policy does not hold for this
    address at `now` (epoch seconds). Who has no address (a local socket) is not on any list."""
    if policy.not_before > now:
        when = rfc3339(policy.not_before)
        raise Refusal("token_not_yet_valid", f"the token is not valid before {when}")
    if not policy.allow_ips:
        return
    address = _address(peer)
    if address is None or not any(address in network for network in policy.allow_ips):
        came = f"from {address}" if address else "without an IP address"
        raise Refusal(
            "ip_not_allowed",
            f"the request came {came}, which the token's policy does not allow (allow_ips)",
        )


@lru_cache(maxsize=1024)
def _address(peer: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A peer's address; a socket for both families shows those of IPv4 as mapped ones."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _unsupported(what: str) -> Refusal:
    return Refusal("policy_unsupported", f"the token {what}")
