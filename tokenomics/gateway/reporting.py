"""Telling what happened: the one place where an outcome becomes log lines, events and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tokenomics.config.settings import Logging
from tokenomics.dialects.ask import Ask
from tokenomics.gateway.identity import Grant
from tokenomics.gateway.inspection import Draft
from tokenomics.gateway.relay import Receipt
from tokenomics.logs import Log, RequestLog
from tokenomics.memory import MemoryWriter, Turn
from tokenomics.outcome import Outcome
from tokenomics.policy.breaker import Down
from tokenomics.policy.limits import Crossing, Denied
from tokenomics.policy.meters import COST
from tokenomics.policy.rules import Finding
from tokenomics.prices import NANODOLLARS
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.units import rfc3339
from tokenomics.webhooks import Emitter

_RULE_EVENTS = {"fail": "rule.violation", "warn": "rule.warning", "log": "rule.match"}


class Reporter:
    """Writes the request log, emits events, hands texts to memory."""

    def __init__(
        self,
        log: Log,
        requests: RequestLog,
        logging: Logging,
        events: Emitter,
        memory: MemoryWriter,
    ) -> None:
        self._log = log
        self._requests = requests
        self._logging = logging
        self._events = events
        self._memory = memory
        self._expired: set[str] = set()

    def finished(self, outcome: Outcome) -> None:
        """A request is over, however it ended."""
        if not self._logging.disable_request:
            self._requests.add(outcome.log_row(hide_hash=self._logging.hide_token_hash))
        if outcome.hash and outcome.provider and self._events:
            self._events.emit("request.completed", outcome.completed_data())
            if outcome.usage is not None:
                self._events.emit(
                    "budget.update",
                    {
                        "token_hash": outcome.short_hash,
                        "model": outcome.model,
                        "input_tokens": outcome.usage.input,
                        "output_tokens": outcome.usage.output,
                    },
                )

    def bug(self, outcome: Outcome, error: Exception) -> None:
        """A request met an error of ours."""
        self._log.say("error", f"request {outcome.id} failed: {error!r}", error=error)

    def expired(self, hash_: str, expired_at: float) -> None:
        """An expired token was used; said once per token."""
        if hash_ not in self._expired:
            self._expired.add(hash_)
            data = {"token_hash": hash_[:EVENT_HASH_DIGITS], "expired_at": rfc3339(expired_at)}
            self._events.emit("token.expired", data)

    def provider_changed(self, up: bool, down: Down, seconds: float) -> None:
        """A provider's key is left alone for so many seconds, or answers again after so many."""
        place = down.place
        data: dict[str, object] = {"provider": place.provider, "url": place.url}
        data["key"] = place.variable
        key = f" with the key in {place.variable}" if place.variable else ""
        what = f"provider {place.provider}{key}"
        if up:
            self._events.emit("provider.up", data | {"down_seconds": round(seconds, 1)})
            self._log.say("info", f"{what} is up again after {seconds:.0f} s")
            return
        data |= {
            "reason": down.why,
            "retry_seconds": round(seconds, 1),
            "key_refused": down.refused,
        }
        self._events.emit("provider.down", data)
        self._log.say("warn", f"{what} is down ({down.why}); it is asked again in {seconds:.0f} s")

    def denied(self, outcome: Outcome, denied: Denied) -> None:
        """A request was not admitted."""
        data: dict[str, object] = {"token_hash": outcome.short_hash, "model": outcome.model}
        if denied.code == "insufficient_quota":
            figures: dict[str, float] = {
                "used": denied.used,
                "input": denied.input,
                "limit": denied.limit,
            }
            if denied.unit == COST:
                figures = {name: nano / NANODOLLARS for name, nano in figures.items()}
                data["unit"] = "usd"
            self._events.emit("budget.exceeded", data | figures)
        else:
            self._events.emit("rate.exceeded", data | {"error": denied.message})

    def warnings(self, outcome: Outcome) -> Callable[[Sequence[Crossing]], None]:
        """Of which budgets a part to warn at is spent."""

        def tell(crossed: Sequence[Crossing]) -> None:
            for limit, part, used in crossed:
                money = limit.unit == COST
                data = {
                    "token_hash": outcome.short_hash,
                    "budget": limit.name,
                    "unit": "usd" if money else limit.unit,
                    "part": part,
                    "used": used / NANODOLLARS if money else used,
                    "limit": limit.most / NANODOLLARS if money else limit.most,
                }
                self._events.emit("budget.warning", data)
                self._log.say(
                    "warn",
                    f"token {outcome.short_hash} has spent {part:.0%} of its budget"
                    f" {limit.name!r}: {limit.amount(used)} of {limit.amount(limit.most)}",
                )

        return tell

    def findings(
        self, outcome: Outcome, direction: str = "input"
    ) -> Callable[[list[Finding]], None]:
        """What rules matched in a request, or in its answer ("output")."""

        def tell(findings: list[Finding]) -> None:
            outcome.findings += findings
            for finding in findings:
                data = {"token_hash": outcome.short_hash, "model": outcome.model}
                if direction != "input":
                    data["direction"] = direction
                if finding.rule.action == "mask":
                    self._events.emit("rule.mask", data | {"rule_name": finding.rule.name})
                    continue
                data |= {"rule_name": finding.rule.name, "message": finding.message()}
                if finding.rule.action != "fail":
                    data["action"] = finding.rule.action
                self._events.emit(_RULE_EVENTS[finding.rule.action], data)

        return tell

    def remember(self, grant: Grant, passed: Draft, receipt: Receipt, outcome: Outcome) -> None:
        """Write the conversation's new turns, as they were masked, where the policy asks for it."""
        memory = grant.policy.memory
        if memory is None or outcome.status != 200:
            return
        now = time.time()
        turns = [
            Turn(now, grant.hash, role, outcome.model, text) for role, text in new_turns(passed)
        ]
        turns.append(Turn(now, grant.hash, "assistant", outcome.served_model, receipt.text))
        self._memory.remember(memory, turns)


def new_turns(passed: Draft) -> list[tuple[str, str]]:
    """(role, masked text) of what the client said since the assistant last spoke: a conversation is
    sent whole each time, and its beginning is in memory already."""
    ask: Ask = passed.ask
    masked = passed.masked if passed.masked is not None else [text.value for text in ask.texts]
    turns = ask.endpoint.dialect.turns(ask.document)
    if not turns.key:
        return [("user", text) for text in masked]
    said: dict[int, list[str]] = {}
    for text, shown in zip(ask.texts, masked, strict=True):
        key, *rest = text.path
        if key == turns.key and rest and isinstance(rest[0], int) and rest[0] >= turns.first:
            said.setdefault(rest[0], []).append(shown)
    return [(turns.roles[i], "\n".join(texts)) for i, texts in said.items()]
