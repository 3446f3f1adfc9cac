"""`token usage`: what is used of each limit of a token; and setting it back to nothing."""

from __future__ import annotations

import argparse
import math
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from tokenomics.cli import node
from tokenomics.cli.context import Context
from tokenomics.cli.proxy import usage_file
from tokenomics.cli.which import find, open_database
from tokenomics.errors import Failed, Invalid, NotFound, Refused, UsageError
from tokenomics.net.redis import Away
from tokenomics.policy.counts import Account
from tokenomics.policy.meters import COST, Due, Limits, limits_of
from tokenomics.policy.model import Entry as PolicyEntry
from tokenomics.policy.model import Policy, parse_policy
from tokenomics.prices import NANODOLLARS
from tokenomics.store.database import Database
from tokenomics.store.table import Entry
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.units import rfc3339
from tokenomics.usage.claims import Look
from tokenomics.usage.journalled import is_owned, read_states
from tokenomics.usage.redis_calls import look_at

MAX_REASON = 200  # characters


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit of a token as it stands. Amounts are tokens, requests, or US dollars; `held` is
    what running requests may give back, and part of `used`."""

    due: Due
    used: int
    held: int

    def row(self, now: float) -> dict[str, Any]:
        """For JSON."""
        limit = self.due.limit

        def shown(amount: int) -> float:
            return amount / NANODOLLARS if limit.unit == COST else amount

        row: dict[str, Any] = {
            "name": limit.name,
            "unit": "usd" if limit.unit == COST else limit.unit,
            "limit": shown(limit.most),
            "used": shown(self.used),
            "held": shown(self.held),
            "remaining": shown(max(limit.most - self.used, 0)),
        }
        if limit.window:
            row |= {"window": limit.window, "strategy": "fixed" if limit.fixed else "sliding"}
            if limit.fixed:
                row["resets_at"] = rfc3339(math.ceil(now - now % limit.window + limit.window))
        else:
            ends = self.due.ends
            row |= {"period": limit.period}
            row["resets_at"] = None if math.isinf(ends) else rfc3339(math.ceil(ends))
        return row

    def line(self, now: float) -> str:
        """For people."""
        limit, row = self.due.limit, self.row(now)
        used, most = limit.amount(self.used), limit.amount(limit.most)
        text = f"  {limit.name:24} {used:>12} of {most:>12}  {self.used / limit.most:6.1%}"
        if self.held:
            text += f", {limit.amount(self.held)} of it held"
        if row.get("resets_at"):
            text += f", anew at {row['resets_at']}"
        return text


def run(context: Context, args: argparse.Namespace) -> int:
    """Show usage, or reset it. Raises ToolError."""
    if args.reset:
        return _reset(context, args)
    if args.reason:
        raise UsageError("--reason goes with --reset")
    found = list(_tokens(context, args))
    now = time.time()
    looks = _looks(context, [(entry, _dues(policy, now)) for entry, policy in found])
    rows = []
    for (entry, policy), look in zip(found, looks, strict=True):
        dues = _dues(policy, now)
        stands = [Standing(due, *counts) for due, counts in zip(dues, look.counted, strict=True)]
        if context.json:
            rows.append(
                {
                    "hash": entry.hash,
                    "name": entry.name or None,
                    "running": look.running,
                    "max_parallel": policy.rate_limit.max_parallel or None,
                    "limits": [stand.row(now) for stand in stands],
                }
            )
        else:
            most = policy.rate_limit.max_parallel
            context.print(f"{entry.hash[:EVENT_HASH_DIGITS]}  {entry.name}".rstrip())
            context.print(
                f"  running now{'':13} {look.running:>12}" + (f" of {most}" if most else "")
            )
            for stand in stands:
                context.print(stand.line(now))
            if not stands:
                context.print("  no budget and no rate")
    if context.json:
        one = args.hash is not None or args.name is not None
        context.print_json(rows[0] if one else rows)
    elif not found:
        context.print("No tokens found.")
    return 0


def _tokens(context: Context, args: argparse.Namespace) -> Iterator[tuple[Entry, Policy]]:
    """The tokens asked for with their policies, of this machine and of the centre as known here."""
    databases = [open_database(context)]
    place = node.place_of(context.config, context.encryption_key(), ".replica")
    if place.path.exists():
        databases.append(Database(place, context.note))
    if args.hash is None and args.name is None:
        for database in databases:
            for entry in sorted(database.table.entries.values(), key=lambda e: e.created_at):
                yield entry, _policy(database, entry)
        return
    for database in databases:
        try:
            entry = find(database, args)
        except NotFound:
            if database is databases[-1]:
                raise
            continue
        yield entry, _policy(database, entry)
        return


def _policy(database: Database, entry: Entry) -> Policy:
    try:
        return parse_policy(database.policy_text(entry))
    except Invalid as e:
        raise Invalid(f"token {entry.hash[:EVENT_HASH_DIGITS]}: {e}") from None


def _dues(policy: Policy, now: float) -> tuple[Due, ...]:
    """Every limit of a policy, of the token and of all its entries."""
    entries = (PolicyEntry(""), *policy.entries)
    every = [limit for entry in entries for limit in limits_of(policy, entry).each]
    return Limits(0, every).due(now)


Asked = Sequence[tuple[Entry, tuple[Due, ...]]]


def _looks(context: Context, asked: Asked) -> list[Look]:
    """How the accounts stand, where they are counted. Raises Invalid or Failed."""
    if context.config.session.backend == "redis":
        accounts = [(entry.account or entry.hash, dues) for entry, dues in asked]
        try:
            return trio.run(look_at, context.config.session.redis, accounts)
        except Away as e:
            raise Failed(f"usage is counted in Redis, which cannot be asked: {e}") from None
    path = usage_file(context.config)
    states = read_states(path, context.note)
    owned = bool(states) and is_owned(path, context.note)
    now = time.time()
    looks = []
    for entry, dues in asked:
        state = states.get(entry.account or entry.hash)
        account = Account() if state is None else Account.load(state, now)
        held = state["held"] if state is not None and owned else {}
        counted = []
        for due in dues:
            history = account.history(due, now)
            history.expire(now)
            counted.append((int(history.total) + held.get(due.key, 0), held.get(due.key, 0)))
        running = state["running"] if state is not None and owned else 0
        looks.append(Look(running, tuple(counted)))
    return looks


def _reset(context: Context, args: argparse.Namespace) -> int:
    """Count a token in a new account from now on: on every proxy that hears of it."""
    if args.hash is None and args.name is None:
        raise UsageError("--reset needs --hash or --name")
    reason = args.reason.strip()
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise UsageError(f"--reset needs --reason TEXT, at most {MAX_REASON} characters")
    database = open_database(context)
    with database.writing() as writer:
        try:
            entry = find(database, args)
        except NotFound as e:
            raise _elsewhere(context, args, e) from None
        text = database.policy_text(entry)
        times = entry.created_at, entry.expires_at
        account = secrets.token_hex(len(entry.hash) // 2)
        writer.put(entry.hash, text, *times, entry.name, account=account, reason=reason)
    if context.json:
        context.print_json({"hash": entry.hash, "reset": True, "reason": reason})
    context.print("Usage reset: all budgets and windows of the token begin anew.")
    return 0


def _elsewhere(context: Context, args: argparse.Namespace, e: NotFound) -> NotFound | Refused:
    place = node.place_of(context.config, context.encryption_key(), ".replica")
    if place.path.exists():
        try:
            find(Database(place, context.note), args)
        except NotFound:
            return e
        return Refused("the token belongs to the central server: reset its usage there")
    return e
