"""What a careful colleague would say of a policy that is valid: it can hardly be meant so. Pure.

Each check is one function in `_CHECKS`, and yields where and what. A policy's values do not tell
all that was written, so some look at its document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tokenomics.errors import Refusal
from tokenomics.policy.covers import covered
from tokenomics.policy.detectors import DETECTORS
from tokenomics.policy.model import Entry, ModelSet, Policy, RateRule
from tokenomics.policy.places import entry_paths
from tokenomics.policy.route import Site, allows, choose, resolve
from tokenomics.policy.rule_advice import rules_that_add_nothing, rules_that_match_wrongly
from tokenomics.units import SECONDS, rfc3339


class Advice(NamedTuple):
    """A warning, and the JSON path of what it is about."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


Found = Iterator[tuple[str, str]]
SHORT_TIMEOUT = 2.0  # seconds; few models begin to answer sooner
FAR_DAYS = 366  # a token that is not valid for so long is hardly made today
PLACEHOLDERS = ("{token_hash}", "{date}")
SECRETS = ("aws_key", "api_key", "private_key", "github_token", "connection_string")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def advise(
    policy: Policy,
    site: Site | None = None,
    document: Mapping[str, Any] | None = None,
    now: float | None = None,
) -> list[Advice]:
    """Everything that is odd about a valid policy. `site` is the installation that it is meant for,
    `document` what it was read from, `now` an epoch second; without them less can be told."""
    out = [Advice(*found) for check in _CHECKS for found in check(policy)]
    if site is not None:
        out += [Advice(*found) for found in _unknown_providers(policy, site)]
        out += [Advice(*found) for found in _unknown_prices(policy, site)]
    if document is not None:
        out += [Advice(*found) for found in _written(document)]
    if now is not None:
        out += [Advice(*found) for found in _begins_late(policy, now)]
    return list(dict.fromkeys(out))


# Models


def _unreachable_entries(policy: Policy) -> Found:
    """Only the first entry that matches serves a request."""
    earlier: list[tuple[str, Entry]] = []
    for path, entry in entry_paths(policy):
        before = [e.models for _, e in earlier]
        if before and covered(entry.models, before):
            alone = [p for p, e in earlier if covered(entry.models, [e.models])]
            who = f"{alone[0]} takes" if alone else "the entries before it take"
            yield path, f"can never match: {who} all its models"
        elif entry.models.exact in policy.model_aliases:
            target = policy.model_aliases[entry.models.exact]
            yield path, f"{entry.models.exact!r} is an alias of {target!r}, so it never comes here"
        earlier.append((path, entry))


def _contradicting_models(policy: Policy) -> Found:
    """All global constraints hold together."""
    models = policy.models
    for where, name in (("$.model", models.exact), *(("$.models", n) for n in models.names)):
        if name and not name.endswith("*") and not allows(models, name, every=True):
            yield where, f"{name!r} is excluded by the other global model fields, which hold too"


def _global_models(policy: Policy) -> Found:
    models = policy.models
    if not models:
        return
    only_entries = policy.entries and not (policy.base_key_env or policy.default_provider)
    if only_entries and all(e.models for e in policy.entries):
        what = "the global model fields have no effect: every entry has its own"
        yield "$", f"{what}, and nothing else serves a model"
    for path, entry in entry_paths(policy):
        name = entry.models.exact
        if name and not allows(models, name, every=True):
            what = f"allows {name!r}, which the global model fields do not"
            yield path, f"{what}: an entry's model fields replace them"


def _odd_names(policy: Policy) -> Found:
    sets = [("$", policy.models), *((path, e.models) for path, e in entry_paths(policy))]
    for path, models in sets:
        for name in models.names:
            if "*" in name[:-1]:
                yield f"{path}.models", f"{name!r}: a * stands for more only at the end"
        if models.exact.endswith("*"):
            yield f"{path}.model", f"{models.exact!r} is an exact name; `models` knows `prefix*`"
        if len(set(models.names)) < len(models.names):
            yield f"{path}.models", "names a model twice"


def _aliases(policy: Policy) -> Found:
    for alias in policy.model_aliases:
        try:
            choose(policy, alias)
        except Refusal as e:
            yield f"$.model_aliases.{alias}", e.message


def _fallbacks(policy: Policy) -> Found:
    seen: set[str] = set()
    for i, name in enumerate(policy.retry.fallbacks):
        path = f"$.retry.fallbacks[{i}]"
        try:
            model, _ = choose(policy, name)
        except Refusal:
            yield path, f"{name!r} is not allowed by this policy, so it is always skipped"
            continue
        if model in seen:
            yield path, f"{name!r} is named twice"
        elif _only_model(policy) == model:
            yield path, f"{name!r} is the only model: the fallback is another try of the same"
        seen.add(model)


def _only_model(policy: Policy) -> str | None:
    sets: list[ModelSet] = [e.models for e in policy.entries]
    if not sets or policy.base_key_env or policy.default_provider:
        sets.append(policy.models)
    names = {s.exact if not (s.regex or s.names) else "" for s in sets}
    return names.pop() or None if len(names) == 1 else None


def _unknown_providers(policy: Policy, site: Site) -> Found:
    known = ", ".join(site.providers)
    for path, entry in entry_paths(policy):
        if entry.provider not in site.providers and not (entry.upstream_url or policy.upstream_url):
            yield path, f"this installation knows no provider {entry.provider!r}; it has: {known}"
    name = policy.default_provider
    if name and name not in site.providers and not policy.upstream_url:
        message = f"this installation knows no provider {name!r}; it has: {known}"
        yield "$.default_provider", message


def _unknown_prices(policy: Policy, site: Site) -> Found:
    """Models that a budget of money would refuse, as far as they have names."""
    models = {policy.models.exact, *policy.models.names, *policy.retry.fallbacks}
    models |= {name for e in policy.entries for name in (e.models.exact, *e.models.names)}
    for model in sorted(models):
        try:
            if model and not model.endswith("*"):
                resolve(policy, model, site)
        except Refusal as refusal:
            if refusal.code == "model_not_priced":
                yield "$.budget", f"refuses {model!r}: {refusal.message}"


# Limits


def _limits(policy: Policy) -> Found:
    total = policy.total_tokens
    bounded = policy.max_tokens or policy.budgets or policy.rate_limit.rules
    own = [bool(e.max_tokens or e.budgets) for e in policy.entries]
    if not bounded and not (own and all(own)):
        yield "$", "has no budget and no rate: whoever has the token can spend without end"
    for path, entry in entry_paths(policy):
        if total and entry.max_tokens > total:
            yield (
                f"{path}.max_tokens",
                f"{entry.max_tokens} is above the whole token's {total}, which is spent first",
            )
        if 0 < policy.max_output_tokens < entry.max_output_tokens:
            message = f"is above the global {policy.max_output_tokens}, which holds"
            yield f"{path}.max_output_tokens", message
    if total and policy.max_output_tokens > total:
        yield "$.max_output_tokens", f"is above the whole budget of {total}"
    totals = [b for b in policy.budgets if b.period == "total" and b.tokens]
    if len(totals) + bool(policy.max_tokens) > 1:
        yield "$.budget", f"there are several budgets of the whole; {total} tokens is what counts"
    for i, budget in enumerate(policy.budgets):
        if budget.period == "total" and budget.timezone != "UTC":
            yield f"$.budget[{i}].timezone", "has no use: a total begins at no time of day"


def _rates(policy: Policy) -> Found:
    rules = policy.rate_limit.rules
    for i, rule in enumerate(rules):
        path = f"$.rate_limit.rules[{i}]"
        if policy.total_tokens and rule.tokens > policy.total_tokens:
            yield f"{path}.tokens", f"is above the whole budget of {policy.total_tokens}"
        for j, other in enumerate(rules):
            if i == j or not _never_binds(rule, other) or (j > i and _never_binds(other, rule)):
                continue
            yield path, f"can never bind: $.rate_limit.rules[{j}] is always stricter"
            break


def _never_binds(rule: RateRule, other: RateRule) -> bool:
    """Whether who keeps to `other` keeps to `rule`: a window is laid out with others, and begins
    inside of one more."""
    windows = -(-rule.window // other.window) + (0 if other.strategy == "sliding" else 1)
    pairs = ((rule.requests, other.requests), (rule.tokens, other.tokens))
    return all(0 < least * windows <= most for most, least in pairs if most)


# The rest


def _prompts(policy: Policy) -> Found:
    lists = [("$.prompts", policy.prompts)]
    lists += [(f"{path}.prompts", entry.prompts) for path, entry in entry_paths(policy)]
    anthropic = any(e.provider == "anthropic" for e in policy.entries)
    anthropic = anthropic or policy.default_provider == "anthropic"
    for base, prompts in lists:
        for i, prompt in enumerate(prompts):
            path = f"{base}[{i}]"
            if not prompt.content.strip():
                yield f"{path}.content", "is blank"
            if prompt in prompts[:i]:
                yield path, "stands here twice"
            if prompt.role == "developer":
                yield f"{path}.role", "many providers know no developer role: system is read by all"
            if anthropic and prompt.role == "assistant" and not _user_before(prompts[:i]):
                yield f"{path}.role", "Anthropic's conversations begin with the user"


def _user_before(prompts: tuple[Any, ...]) -> bool:
    return any(prompt.role == "user" for prompt in prompts)


def _connections(policy: Policy) -> Found:
    places: list[tuple[str, Policy | Entry]] = [("$", policy), *entry_paths(policy)]
    for path, place in places:
        name = place.base_key_env
        if name and not _VARIABLE.fullmatch(name):
            what = "is no name of a variable; a key itself does not belong in a policy"
            yield f"{path}.base_key_env", what
        host = place.upstream_url.removeprefix("http://")
        if host != place.upstream_url and not re.match(r"localhost|127\.|\[::1\]", host):
            yield f"{path}.upstream_url", "is not encrypted: the key and all texts can be read"
        if 0 < place.timeout < SHORT_TIMEOUT:
            yield f"{path}.timeout", f"{place.timeout:g} s: few models begin to answer that soon"
    for path in policy.endpoints:
        if path in ("/*", "*"):
            yield "$.endpoints", "opens every endpoint of the provider, also those for its account"


def _begins_late(policy: Policy, now: float) -> Found:
    if policy.not_before > now + FAR_DAYS * SECONDS["d"]:
        message = f"{rfc3339(policy.not_before)} is more than {FAR_DAYS} days away: until then"
        yield "$.not_before", f"{message} every request is refused"


def _addresses(policy: Policy) -> Found:
    seen: list[Any] = []
    for i, network in enumerate(policy.allow_ips):
        path = f"$.allow_ips[{i}]"
        if network.prefixlen == 0:
            yield path, f"is every IPv{network.version} address, and no other kind"
        elif any(n.version == network.version and network.subnet_of(n) for n in seen):
            yield path, "is part of one before it"
        seen.append(network)


def _secrets(policy: Policy) -> Found:
    """Whoever may read a policy could read them, and prompts go to the provider."""
    lists = [("$.prompts", policy.prompts)]
    lists += [(f"{path}.prompts", entry.prompts) for path, entry in entry_paths(policy)]
    texts = [(f"$.metadata.{key}", value) for key, value in policy.metadata.items()]
    texts += [(f"{p}[{i}].content", x.content) for p, xs in lists for i, x in enumerate(xs)]
    for path, text in texts:
        for kind in SECRETS:
            if next(iter(DETECTORS[kind].spans(text)), None) is not None:
                yield path, f"holds what looks like a secret ({kind})"


def _memory(policy: Policy) -> Found:
    if policy.memory is None:
        return
    path, name = policy.memory.file_path, policy.memory.file_name
    if "{token_hash}" not in name:
        where = "$.memory.file_name" if name else "$.memory"
        yield (
            where,
            "all tokens with this policy write into one file: {token_hash} tells them apart",
        )
    unknown = [p for p in re.findall(r"\{[^{}]*\}", name) if p not in PLACEHOLDERS]
    unknown += re.findall(r"\{[^{}]*\}", path)
    for place in unknown:
        yield "$.memory", f"{place} is not filled in: file_name knows {' and '.join(PLACEHOLDERS)}"
    if not path.startswith("/"):
        yield "$.memory.file_path", "is relative to where the proxy was started"


def _metadata(policy: Policy) -> Found:
    for key, value in policy.metadata.items():
        if key != key.strip() or not key or not key.isprintable():
            yield f"$.metadata.{key}", "is an odd key: logs are searched by it"
        if not value.strip():
            yield f"$.metadata.{key}", "is empty"


_CHECKS = (
    _unreachable_entries,
    _contradicting_models,
    _global_models,
    _odd_names,
    _aliases,
    _fallbacks,
    _limits,
    _rates,
    rules_that_match_wrongly,
    rules_that_add_nothing,
    _prompts,
    _connections,
    _addresses,
    _secrets,
    _memory,
    _metadata,
)


# What only the document tells


def _written(document: Mapping[str, Any]) -> Found:
    for path, place in _places(document):
        if place.get("timeout") == 0:
            yield f"{path}.timeout", "0 is not for ever: it is the same as leaving it out"
        rules = place.get("rules")
        for i, rule in enumerate(rules if isinstance(rules, list) else ()):
            if isinstance(rule, dict):
                yield from _written_rule(f"{path}.rules[{i}]", rule)
    retry = document.get("retry") or {}
    if retry.get("retry_on") and not (retry.get("max_retries") or retry.get("fallbacks")):
        yield "$.retry.retry_on", "has no use without max_retries or fallbacks"
    if retry.get("retry_on") == []:
        yield "$.retry.retry_on", "an empty list means the default statuses, not none"
    memory = document.get("memory") or {}
    if memory.get("file_path") and not memory.get("enabled"):
        yield "$.memory", "nothing is written: enabled is not true"


def _places(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "$", document
    for name, entries in (document.get("providers") or {}).items():
        for i, entry in enumerate(entries or ()):
            yield f"$.providers.{name}[{i}]", entry


def _written_rule(path: str, rule: Mapping[str, Any]) -> Found:
    for key in ("keywords", "detect"):
        words = rule.get(key) or []
        if len({word.lower() for word in words}) < len(words):
            yield f"{path}.{key}", "has a word twice"
    for i, word in enumerate(rule.get("keywords") or ()):
        if word != word.strip():
            yield f"{path}.keywords[{i}]", f"{word!r} only matches with its blanks"
        if not word:
            yield f"{path}.keywords[{i}]", "is empty, and is left out"
