"""What the road would do with a request, step by step, and what decided each step.

Nothing is sent, counted or written. The steps are those of `road.Gateway.travel`; the first that
refuses is the last, for what comes after it would not be reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.errors import Refusal
from tokenomics.gateway.admission import prompt_tokens, want_of
from tokenomics.gateway.inspection import inspected
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.meters import COST
from tokenomics.policy.model import Entry, Policy
from tokenomics.policy.route import Route, Site, Target, allows, plan
from tokenomics.policy.rules import Finding, Rule

Trial = Callable[[Target, Want], Awaitable[Lease | Denied]]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the road. `lines` say what decided it."""

    stage: str
    passed: bool
    lines: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {"stage": self.stage, "passed": self.passed, "because": list(self.lines)}


@dataclass(slots=True)
class Explanation:
    """The steps so far, and the refusal that would be the answer, if there is one."""

    steps: list[Step] = field(default_factory=list)
    refusal: Refusal | None = None

    def add(self, stage: str, *lines: str) -> None:
        """A step that is passed."""
        self.steps.append(Step(stage, True, lines))

    def refuse(self, stage: str, refusal: Refusal, *lines: str) -> None:
        """The step that ends it."""
        self.refusal = refusal
        self.steps.append(Step(stage, False, (*lines, refusal.message)))

    def document(self) -> dict[str, Any]:
        """As JSON."""
        answer: dict[str, Any] = {"would_be": "sent"}
        if self.refusal is not None:
            answer = {"would_be": "refused", "status": self.refusal.status}
            answer |= {"code": self.refusal.code, "message": self.refusal.message}
        return {**answer, "steps": [step.row() for step in self.steps]}

    def text(self) -> str:
        """As lines for people."""
        out = []
        for step in self.steps:
            mark = "ok  " if step.passed else "STOP"
            first, *rest = step.lines or ("",)
            out.append(f"{mark} {step.stage:9} {first}")
            out += [f"{'':15}{line}" for line in rest]
        if self.refusal is None:
            out.append("The request would be sent.")
        else:
            out.append(f"The answer would be {self.refusal.status} {self.refusal.code}.")
        return "\n".join(out)


@dataclass(frozen=True, slots=True)
class Case:
    """What is explained: a policy on this proxy, and a request for `model`. `ask` is None where no
    body is given. `reach` raises Refusal if a target cannot be called from here; `trial` says what
    the limits would, None where nobody counts."""

    policy: Policy
    site: Site
    endpoint: Endpoint
    model: str
    ask: Ask | None = None
    content_type: str = ""
    reach: Callable[[Endpoint, Target], None] | None = None
    trial: Trial | None = None


async def explain(case: Case, told: Explanation) -> None:
    """Add the steps from the route on to what is told already."""
    endpoint = case.endpoint
    told.add("endpoint", f"{endpoint.path} ({endpoint.name}, errors in {endpoint.shape}'s shape)")
    chosen = tuple(_choice(case.policy, case.model))
    try:
        route = plan(case.policy, case.model, case.site)
    except Refusal as refusal:
        told.refuse("route", refusal, *chosen)
        return
    target = route.targets[0]
    told.add("route", *chosen, *_destination(target))
    if case.reach is not None:
        try:
            case.reach(endpoint, target)
        except Refusal as refusal:
            told.refuse("provider", refusal)
            return
    await _rules(case, target, told)
    if told.refusal is None:
        told.add("prompts", _prompts(case, target))
        await _limits(case, target, told)
    if told.refusal is None:
        told.add("attempts", *_attempts(case.policy, route))
        told.add("answer", *_answer_rules(target))


def _choice(policy: Policy, asked: str) -> Iterator[str]:
    model = policy.model_aliases.get(asked, asked)
    if model != asked:
        yield f"model_aliases: {asked!r} stands for {model!r}"
    if not model:
        yield "the request names no model"
        return
    for path, entry in entry_paths(policy):
        if not entry.models:
            yield f"{path} serves every model: taken"
            return
        if allows(entry.models, model, every=False):
            yield f"{path} allows {entry.models.describe()}: taken"
            return
        yield f"{path} allows {entry.models.describe()}: not {model!r}"
    if policy.base_key_env or policy.default_provider:
        fits = allows(policy.models, model, every=True)
        verdict = "taken" if fits else f"not {model!r}"
        yield f"the global fields allow {policy.models.describe()}: {verdict}"
    else:
        yield "no entry matches, and there is neither base_key_env nor default_provider"


def entry_paths(policy: Policy) -> Iterator[tuple[str, Entry]]:
    """Each entry with its place in the policy, in the order in which they are tried."""
    counts: dict[str, int] = {}
    for entry in policy.entries:
        index = counts[entry.provider] = counts.get(entry.provider, -1) + 1
        yield f"$.providers.{entry.provider}[{index}]", entry


def _destination(target: Target) -> Iterator[str]:
    provider = target.provider
    yield f"provider {provider.name} at {provider.upstream_url}, model {target.model!r}"
    names = [key.env for key in target.keys] or [target.key_env]
    if provider.auth_scheme == "none" or not any(names):
        yield "no key is sent"
    else:
        yield f"key from {' or '.join(filter(None, names))} ({provider.auth_scheme})"
    yield f"timeout {target.timeout:g} s"


async def _rules(case: Case, target: Target, told: Explanation) -> None:
    """What each rule says of the request."""
    if not target.rules:
        told.add("rules", "the policy has none")
        return
    if case.ask is None:
        lines = [_name(i, rule) for i, rule in enumerate(target.rules)]
        told.add("rules", "no body was given to look at", *lines)
        return
    made = await inspected(case.ask, target, case.content_type)
    found = {finding.rule: finding for finding in made.findings}
    count = len(case.ask.texts)
    lines = [f"{count} text{'' if count == 1 else 's'} to look at"]
    for i, rule in enumerate(target.rules):
        lines.append(f"{_name(i, rule)}: {_verdict(rule, found.get(rule))}")
    if made.blocked is not None:
        told.refuse("rules", made.blocked, *lines)
    else:
        told.add("rules", *lines)


def _name(index: int, rule: Rule) -> str:
    return f"rule {index} {rule.name!r} ({rule.type}, {rule.action}, {rule.scope})"


def _verdict(rule: Rule, finding: Finding | None) -> str:
    if not rule.covers("input"):
        return "looks at answers only"
    return f"matched {', '.join(finding.what)}" if finding else "no match"


def _prompts(case: Case, target: Target) -> str:
    if not target.prompts:
        return "the policy puts none in front"
    if not case.endpoint.generates:
        return f"{len(target.prompts)}, which this endpoint has no place for"
    roles = ", ".join(prompt.role for prompt in target.prompts)
    return f"{len(target.prompts)} put in front ({roles}), {prompt_tokens(target)} tokens at most"


async def _limits(case: Case, target: Target, told: Explanation) -> None:
    lines = list(_limit_lines(target))
    if not lines:
        told.add("limits", "the policy has none")
        return
    if case.ask is not None:
        want = want_of(case.ask, target)
        output = "as much as fits" if want.output is None else str(want.output)
        lines.append(f"asked for: {want.input} input tokens (estimated), output {output}")
        if case.trial is not None:
            got = await case.trial(target, want)
            if isinstance(got, Denied):
                told.refuse("limits", Refusal(got.code, got.message), *lines)
                return
            lines.append("now: there is room" + (f", capped to {got.cap}" if got.cap else ""))
    if case.trial is None and target.limits.each:
        lines.append("what is used is counted by the proxy: ask it with x-tokenomics-explain")
    told.add("limits", *lines)


def _limit_lines(target: Target) -> Iterator[str]:
    if target.limits.parallel:
        yield f"at most {target.limits.parallel} requests at a time"
    for limit in target.limits.each:
        if limit.window:
            strategy = "fixed" if limit.fixed else "sliding"
            yield f"at most {limit.most} {limit.unit} in {limit.window:g} s ({strategy})"
        else:
            unit = "" if limit.unit == COST else f" {limit.unit}"
            yield f"budget {limit.name!r}: {limit.amount(limit.most)}{unit}"
    if target.max_output:
        yield f"at most {target.max_output} output tokens a request"


def _attempts(policy: Policy, route: Route) -> Iterator[str]:
    retry = policy.retry
    tries = 1 + retry.max_retries
    for i, target in enumerate(route.targets):
        what = "first" if i == 0 else "then"
        yield f"{what} {target.model!r} at {target.provider.name}, {tries} tries at most"
    for model in route.skipped:
        yield f"fallback {model!r} is skipped: the policy does not allow it"
    if retry.max_retries or len(route.targets) > 1:
        yield f"on {', '.join(map(str, retry.retry_on))} and connection errors"


def _answer_rules(target: Target) -> Iterator[str]:
    covering = [(i, rule) for i, rule in enumerate(target.rules) if rule.covers("output")]
    if not covering:
        yield "no rule looks at it"
    for i, rule in covering:
        yield _name(i, rule)
