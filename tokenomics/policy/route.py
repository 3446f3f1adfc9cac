"""From a policy, the providers and a model to the targets that may serve it, in order.

Contract 4.1: the model that an alias stands for; global fields; the first entry in written order
whose models match; merge. Nothing that matches and no global key is a refusal that names what is
allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenomics.config.provider_keys import ProviderKey
from tokenomics.config.providers import CHAT_PATH, Provider
from tokenomics.errors import Refusal
from tokenomics.policy.meters import Limits, limits_of
from tokenomics.policy.model import Entry, ModelSet, Policy, Prompt
from tokenomics.policy.regexes import compile_pattern
from tokenomics.policy.rules import Rule
from tokenomics.prices import Price, PriceBook

NO_PRICES = PriceBook({})


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider, with everything that holds for a request it serves.

    `key_env` is the variable the key is in ("" sends none), unless there are `keys` to choose from,
    of which a policy that names a variable of its own has none; `provider` has the base URL that
    was resolved; `timeout` is in seconds; `price` is None where nobody knows it, and then no budget
    of money covers it; `max_output` bounds all output tokens of one request (0: no bound).
    """

    model: str
    provider: Provider
    key_env: str
    timeout: float
    prompts: tuple[Prompt, ...]
    rules: tuple[Rule, ...]
    limits: Limits
    price: Price | None = None
    max_output: int = 0
    keys: tuple[ProviderKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """The targets in the order in which they are tried, and the fallbacks that may not be."""

    targets: tuple[Target, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """What the proxy itself brings to a resolution: its providers, its defaults and its prices."""

    providers: Mapping[str, Provider]
    upstream_url: str
    default_provider: str = ""
    prices: PriceBook = NO_PRICES


def allows(models: ModelSet, model: str, *, every: bool) -> bool:
    """Whether a set allows a model. An entry matches by any of its constraints; the global fields
    must `every` one hold, as in the original."""
    checks = []
    if models.exact:
        checks.append(model == models.exact)
    if models.regex:
        checks.append(compile_pattern(models.regex).found_in(model))
    if models.names:
        checks.append(
            any(model == n or (n.endswith("*") and model.startswith(n[:-1])) for n in models.names)
        )
    return not checks or (all(checks) if every else any(checks))


def plan(policy: Policy, model: str, site: Site) -> Route:
    """The route of a request for `model`, or for none ("") where a path needs none.

    Raises Refusal `model_not_allowed` if the policy does not allow the model, `model_not_priced` if
    it has a budget of money and nobody knows what the model costs, `policy_unsupported` if it names
    an unknown provider. Fallbacks that may not be used are skipped and named.
    """
    if not model:
        return Route((_unnamed(policy, site),), ())
    targets = [resolve(policy, model, site)]
    skipped = []
    for fallback in policy.retry.fallbacks:
        try:
            targets.append(resolve(policy, fallback, site))
        except Refusal:
            skipped.append(fallback)
    return Route(tuple(targets), tuple(skipped))


def find_entry(policy: Policy, model: str) -> Entry | None:
    """The first entry in written order that matches the model."""
    for entry in policy.entries:
        if allows(entry.models, model, every=False):
            return entry
    return None


def choose(policy: Policy, asked: str) -> tuple[str, Entry]:
    """The model that a client means by what it asked for, and the entry that serves it; an empty
    one if the global fields do. Raises Refusal `model_not_allowed`."""
    model = policy.model_aliases.get(asked, asked)
    entry = find_entry(policy, model)
    if entry is None and not (policy.base_key_env or policy.default_provider):
        raise _not_allowed(policy, asked, model)
    if (entry is None or not entry.models) and not allows(policy.models, model, every=True):
        raise _not_allowed(policy, asked, model)
    return model, entry or Entry("")


def resolve(policy: Policy, asked: str, site: Site) -> Target:
    """The target for one model or alias. Raises Refusal, see `plan`."""
    return _target(policy, *choose(policy, asked), site)


def _unnamed(policy: Policy, site: Site) -> Target:
    """The target of a request that names no model: the global fields, else the first entry."""
    entry = Entry("")
    if policy.entries and not (policy.base_key_env or policy.default_provider):
        entry = policy.entries[0]
    return _target(policy, "", entry, site)


def _target(policy: Policy, model: str, entry: Entry, site: Site) -> Target:
    provider = _provider(policy, entry, site)
    limits = limits_of(policy, entry)
    price = site.prices.find(provider.name, model)
    if price is None and limits.costs:
        raise _not_priced(provider, model)
    own_key = entry.base_key_env or policy.base_key_env
    outputs = [n for n in (policy.max_output_tokens, entry.max_output_tokens) if n]
    return Target(
        model=model,
        provider=provider,
        key_env=own_key or provider.api_key_env,
        timeout=entry.timeout or policy.timeout,
        prompts=entry.prompts + policy.prompts,
        rules=policy.rules + entry.rules,
        limits=limits,
        price=price,
        max_output=min(outputs, default=0),
        keys=() if own_key else provider.keys,
    )


def _provider(policy: Policy, entry: Entry, site: Site) -> Provider:
    """Connection details: policy, then provider config, then `server.upstream_url`."""
    name = entry.provider or policy.default_provider or site.default_provider
    url = entry.upstream_url or policy.upstream_url
    known = site.providers.get(name) if name else None
    if name and known is None and not url:  # never to another host with this provider's key
        raise Refusal(
            "policy_unsupported",
            f"this proxy does not know provider {name!r} of the token's policy; add it to"
            f" providers.yaml, or use one of: {', '.join(site.providers)}",
        )
    if known is None and not url:
        url = site.upstream_url
    if known is None:
        same = [p for p in site.providers.values() if p.upstream_url == url]
        known = same[0] if same else Provider(name or "custom", chat_path=CHAT_PATH)
    if not url or url == known.upstream_url:
        return known
    # An own URL keeps the provider's way of authenticating, whoever stands behind it.
    return Provider(
        name=known.name,
        upstream_url=url,
        api_key_env=known.api_key_env,
        auth_scheme=known.auth_scheme,
        auth_header=known.auth_header,
        headers=known.headers,
        dialect=known.dialect,
        api_path=known.api_path,
        chat_path=known.chat_path,
        query=known.query,
        models=known.models,
        output_cap=known.output_cap,
        keys=tuple(key for key in known.keys if not key.upstream_url),  # the others are for theirs
    )


def _not_allowed(policy: Policy, asked: str, model: str) -> Refusal:
    allowed = [e.models.describe() for e in policy.entries]
    if policy.base_key_env or policy.default_provider:
        allowed.append(policy.models.describe())
    what = repr(asked) if asked == model else f"{asked!r} (an alias of {model!r})"
    return Refusal(
        "model_not_allowed",
        f"model {what} is not allowed for this token; allowed: {', '.join(allowed)}",
        param="model",
    )


def _not_priced(provider: Provider, model: str) -> Refusal:
    what = f"what model {model!r} costs" if model else "what a request that names no model costs"
    return Refusal(
        "model_not_priced",
        f"this token has a budget of money, and nobody here knows {what} at provider"
        f" {provider.name}; give its price under providers.{provider.name}.prices in"
        " providers.yaml",
        param="model",
    )


def allowed_models(policy: Policy, site: Site) -> list[tuple[str, str]]:
    """The models this policy allows as far as they have names, aliases first: (model, provider
    name), in order. A name that only providers know counts where it leads to one of these, or to a
    provider that says nothing of its models."""
    names: dict[str, None] = dict.fromkeys(policy.model_aliases)
    for models in (*(e.models for e in policy.entries), policy.models):
        for name in (models.exact, *models.names):
            if name and not name.endswith("*"):
                names[name] = None
    own = set(names)
    for provider in site.providers.values():
        names.update(dict.fromkeys(provider.models))
    out = []
    for name in names:
        try:
            provider = resolve(policy, name, site).provider
        except Refusal:
            continue
        if name in own or name in provider.models or not provider.models:
            out.append((name, provider.name))
    return out
