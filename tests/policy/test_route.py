"""From a policy and a model to targets: which entry, what is merged, where it goes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tokenomics.config.providers import Provider
from tokenomics.errors import Refusal
from tokenomics.policy.model import ModelSet, parse_policy
from tokenomics.policy.route import (
    Route,
    Site,
    Target,
    allowed_models,
    allows,
    plan,
    resolve,
)
from tokenomics.prices import PriceBook

OPENAI = Provider(
    "openai",
    "https://api.openai.com",
    api_key_env="OPENAI_API_KEY",
    output_cap="max_completion_tokens",
    models=("gpt-4o", "o3-mini"),
)
GROQ = Provider("groq", "https://api.groq.com/openai", "GROQ_API_KEY", models=("llama-3",))
AZURE = Provider("azure", "https://azure.example", "AZURE_KEY", "", "header", "api-key")
SITE = Site({p.name: p for p in (OPENAI, GROQ, AZURE)}, "https://default.example")


def target(model: str, site: Site = SITE, /, **policy: Any) -> Target:
    return resolve(parse_policy(json.dumps(policy)), model, site)


def route(model: str, /, **policy: Any) -> Route:
    return plan(parse_policy(json.dumps(policy)), model, SITE)


def refused(model: str, /, **policy: Any) -> str:
    with pytest.raises(Refusal) as caught:
        target(model, **policy)
    assert (caught.value.code, caught.value.param) == ("model_not_allowed", "model")
    return caught.value.message


# Which models


@pytest.mark.parametrize(
    ("models", "model", "any_", "every"),
    [
        (ModelSet(), "x", True, True),
        (ModelSet("gpt-4o"), "gpt-4o", True, True),
        (ModelSet("gpt-4o"), "gpt-4o-mini", False, False),
        (ModelSet(regex="4o"), "gpt-4o-mini", True, True),
        (ModelSet(regex="^4o"), "gpt-4o", False, False),
        (ModelSet(regex="^gpt$"), "gpt\n", False, False),
        (ModelSet(names=("a", "gpt-*")), "gpt-5", True, True),
        (ModelSet(names=("a", "gpt-*")), "a-1", False, False),
        (ModelSet(names=("gpt.*",)), "gpt-5", False, False),
        (ModelSet("a", "^b"), "a", True, False),
        (ModelSet("a", "^a", ("a*",)), "a", True, True),
    ],
)
def test_sets_of_models(models: ModelSet, model: str, any_: bool, every: bool) -> None:
    assert allows(models, model, every=False) == any_
    assert allows(models, model, every=True) == every


def test_the_first_entry_in_written_order_wins_over_a_closer_match() -> None:
    providers = {"openai": [{"model_regex": "^gpt"}], "groq": [{"model": "gpt-4o"}]}
    assert target("gpt-4o", providers=providers).provider == OPENAI
    backwards = dict(reversed(providers.items()))
    assert target("gpt-4o", providers=backwards).provider == GROQ


def test_an_entry_without_models_matches_all_that_comes_to_it() -> None:
    providers: dict[str, Any] = {"openai": [{"model": "gpt-4o"}], "groq": [{}]}
    assert target("gpt-4o", providers=providers).provider == OPENAI
    assert target("anything", providers=providers).provider == GROQ


def test_an_entrys_models_replace_the_global_ones() -> None:
    providers = {"openai": [{"model": "gpt-4o"}], "groq": [{}]}
    assert target("gpt-4o", model="llama-3", providers=providers).provider == OPENAI
    assert target("llama-3", model="llama-3", providers=providers).provider == GROQ
    refused("other", model="llama-3", providers=providers)


def test_all_global_constraints_hold_together() -> None:
    policy = {"base_key_env": "K", "model_regex": "^gpt", "models": ["gpt-4o", "llama-3"]}
    target("gpt-4o", **policy)
    refused("llama-3", **policy)
    refused("gpt-5", **policy)


def test_a_refusal_names_what_is_allowed() -> None:
    message = refused(
        "gpt-9",
        base_key_env="K",
        models=["mine*"],
        providers={"openai": [{"model": "gpt-4o"}, {"model_regex": "^o[34]"}]},
    )
    assert "'gpt-9'" in message
    assert message.endswith("allowed: 'gpt-4o', what matches '^o[34]', 'mine*'")


def test_without_a_global_key_only_the_entries_are_allowed() -> None:
    providers = {"openai": [{"model": "gpt-4o"}]}
    assert refused("gpt-9", providers=providers).endswith("allowed: 'gpt-4o'")
    target("gpt-9", providers=providers, base_key_env="K")
    target("gpt-9", providers=providers, default_provider="groq")


# Aliases


def test_an_alias_is_looked_up_first_and_its_model_resolved() -> None:
    policy: dict[str, Any] = {
        "model_aliases": {"fast": "llama-3", "gpt-4o": "gpt-4o-mini"},
        "providers": {"openai": [{"model_regex": "^gpt"}], "groq": [{"model": "llama-3"}]},
    }
    assert (target("fast", **policy).model, target("fast", **policy).provider) == ("llama-3", GROQ)
    assert target("gpt-4o", **policy).model == "gpt-4o-mini"
    assert target("llama-3", **policy).model == "llama-3"


def test_an_alias_allows_nothing_by_itself() -> None:
    message = refused("fast", base_key_env="K", model="a", model_aliases={"fast": "b"})
    assert message == "model 'fast' (an alias of 'b') is not allowed for this token; allowed: 'a'"


def test_a_fallback_may_be_an_alias() -> None:
    got = route("a", base_key_env="K", model_aliases={"fast": "b"}, retry={"fallbacks": ["fast"]})
    assert [t.model for t in got.targets] == ["a", "b"]


# What is merged


def test_prompts_of_the_entry_go_before_the_global_ones_and_rules_after() -> None:
    got = target(
        "m",
        prompts=[{"content": "global 1"}, {"content": "global 2"}],
        rules=[{"type": "pii", "name": "global"}],
        providers={
            "openai": [
                {
                    "prompts": [{"content": "entry"}],
                    "rules": [
                        {"type": "pii", "name": "entry 1"},
                        {"type": "pii", "name": "entry 2"},
                    ],
                }
            ]
        },
    )
    assert [p.content for p in got.prompts] == ["entry", "global 1", "global 2"]
    assert [r.name for r in got.rules] == ["global", "entry 1", "entry 2"]


def test_other_entries_bring_nothing() -> None:
    entry = {"model": "a", "prompts": [{"content": "x"}], "rules": ["x"], "max_tokens": 5}
    got = target("b", providers={"openai": [entry, {"model": "b"}]})
    assert (got.prompts, got.rules, budgets(got)) == ((), (), {})


def budgets(target: Target) -> dict[str, int]:
    """What bounds a target, by name."""
    return {limit.name: limit.most for limit in target.limits.each}


def test_the_global_and_the_entrys_budget_both_cover_a_request() -> None:
    providers = {"openai": [{"model": "a", "max_tokens": 7}, {"model_regex": "b"}]}
    both = {"total": 9, "openai:a": 7}
    assert budgets(target("a", max_tokens=9, providers=providers)) == both
    assert budgets(target("b", max_tokens=9, providers=providers)) == {"total": 9}
    assert budgets(target("a", providers=providers)) == {"openai:a": 7}


def test_a_budget_of_the_whole_counts_where_max_tokens_does() -> None:
    assert budgets(target("a", base_key_env="K", budget={"tokens": 7})) == {"total": 7}
    both = {"max_tokens": 5, "budget": [{"tokens": 7}]}
    assert budgets(target("a", base_key_env="K", **both)) == {"total": 5}


def test_every_budget_of_a_token_and_of_its_entry_covers_a_request() -> None:
    providers = {"openai": [{"budget": [{"tokens": 3, "period": "day"}, {"tokens": 4}]}]}
    rules = [{"tokens": 9, "period": "week"}, {"tokens": 8, "period": "day"}]
    got = target("a", providers=providers, budget=rules)
    assert budgets(got) == {"week": 9, "day": 8, "openai:* day": 3, "openai:*": 4}
    assert len({limit.key for limit in got.limits.each}) == 4


PRICES = PriceBook({"openai": {"gpt-4o": {"input": "2.5", "output": "10"}}})


def test_a_budget_of_money_needs_a_price() -> None:
    policy = {"default_provider": "openai", "budget": {"cost_usd": 1.5}}
    site = replace(SITE, prices=PRICES)
    got = resolve(parse_policy(json.dumps(policy)), "gpt-4o-2024-08-06", site)
    assert (budgets(got), got.price) == (
        {"total cost": 1_500_000_000},
        PRICES.find("openai", "gpt-4o"),
    )
    with pytest.raises(Refusal, match=r"what model 'o9' costs at provider openai") as caught:
        resolve(parse_policy(json.dumps(policy)), "o9", site)
    assert caught.value.code == "model_not_priced"
    free = {"default_provider": "openai", "budget": {"tokens": 5}}
    assert resolve(parse_policy(json.dumps(free)), "o9", site).price is None


@pytest.mark.parametrize(
    ("policy", "entry", "bound"), [(0, 0, 0), (9, 0, 9), (0, 7, 7), (9, 7, 7), (5, 7, 5)]
)
def test_the_smaller_bound_of_the_output_holds(policy: int, entry: int, bound: int) -> None:
    providers = {"openai": [{"max_output_tokens": entry}]}
    assert target("m", max_output_tokens=policy, providers=providers).max_output == bound


@pytest.mark.parametrize(
    ("entry", "policy", "key", "timeout"),
    [
        ({}, {}, "OPENAI_API_KEY", 30.0),
        ({}, {"base_key_env": "P", "timeout": 9}, "P", 9.0),
        ({"base_key_env": "E", "timeout": 1}, {"base_key_env": "P", "timeout": 9}, "E", 1.0),
    ],
    ids=["provider", "policy", "entry"],
)
def test_key_and_timeout_of_the_narrowest_place_win(
    entry: dict[str, Any], policy: dict[str, Any], key: str, timeout: float
) -> None:
    got = target("m", providers={"openai": [entry]}, **policy)
    assert (got.key_env, got.timeout) == (key, timeout)


# Where it goes

OWN = "https://own.example/base"


@pytest.mark.parametrize(
    ("policy", "url"),
    [
        ({"providers": {"groq": [{}]}}, GROQ.upstream_url),
        ({"providers": {"groq": [{}]}, "upstream_url": OWN}, OWN),
        (
            {"providers": {"groq": [{"upstream_url": OWN}]}, "upstream_url": "https://no.example"},
            OWN,
        ),
        ({"default_provider": "groq"}, GROQ.upstream_url),
        ({"default_provider": "groq", "upstream_url": OWN}, OWN),
        ({"base_key_env": "K"}, SITE.upstream_url),
        ({"base_key_env": "K", "upstream_url": OWN}, OWN),
        ({"providers": {"unheard-of": [{"upstream_url": OWN}]}}, OWN),
    ],
    ids=[
        "provider",
        "policy-over-provider",
        "entry-over-policy",
        "default",
        "policy-over-default",
        "server",
        "policy-over-server",
        "unknown-own",
    ],
)
def test_policy_over_provider_over_server(policy: dict[str, Any], url: str) -> None:
    assert target("m", **policy).provider.upstream_url == url


@pytest.mark.parametrize(
    "policy",
    [
        {"providers": {"unheard-of": [{}]}},
        {"default_provider": "unheard-of"},
        {"base_key_env": "K", "default_provider": "unheard-of"},
    ],
    ids=["entry", "default", "default-with-key"],
)
def test_an_unknown_provider_without_a_url_is_refused_not_replaced(policy: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        target("m", **policy)
    assert caught.value.code == "policy_unsupported"
    assert "'unheard-of'" in caught.value.message
    assert caught.value.message.endswith("one of: openai, groq, azure")
    assert target("m", **policy, upstream_url=OWN).provider.upstream_url == OWN


def test_an_own_url_keeps_everything_else_of_the_provider() -> None:
    got = target("m", providers={"azure": [{"upstream_url": OWN}]})
    assert repr(got.provider) == repr(replace(AZURE, upstream_url=OWN))
    assert got.key_env == "AZURE_KEY"


def test_a_providers_own_url_without_its_name_is_that_provider() -> None:
    got = target("m", base_key_env="K", upstream_url=OPENAI.upstream_url)
    assert got.provider == OPENAI


def test_the_sites_default_provider_serves_who_names_none() -> None:
    site = replace(SITE, default_provider="groq")
    assert target("m", site, base_key_env="K").provider == GROQ
    assert target("m", site, base_key_env="K", default_provider="openai").provider == OPENAI


# Fallbacks


def test_fallbacks_are_resolved_in_full_and_what_may_not_be_is_named() -> None:
    got = route(
        "gpt-4o",
        providers={
            "openai": [{"model": "gpt-4o", "max_tokens": 5}],
            "groq": [{"models": ["llama*"], "base_key_env": "OTHER"}],
        },
        retry={"fallbacks": ["forbidden", "llama-3", "gpt-4o", "llama-3", "none"]},
    )
    assert [(t.model, t.provider, t.key_env, len(t.limits.each)) for t in got.targets] == [
        ("gpt-4o", OPENAI, "OPENAI_API_KEY", 1),
        ("llama-3", GROQ, "OTHER", 0),
        ("gpt-4o", OPENAI, "OPENAI_API_KEY", 1),
        ("llama-3", GROQ, "OTHER", 0),
    ]
    assert got.skipped == ("forbidden", "none")


def test_a_fallback_may_be_the_model_itself() -> None:
    got = route("gpt-4o", base_key_env="K", retry={"fallbacks": ["gpt-4o"]})
    assert [t.model for t in got.targets] == ["gpt-4o", "gpt-4o"]
    assert got.skipped == ()


def test_a_fallback_does_not_help_a_model_that_is_not_allowed() -> None:
    with pytest.raises(Refusal, match="'b' is not allowed"):
        route("b", providers={"openai": [{"model": "a"}]}, retry={"fallbacks": ["a"]})


# What a token may use


def test_allowed_models_are_those_with_names_that_resolve() -> None:
    policy = parse_policy(
        json.dumps(
            {
                "providers": {
                    "groq": [{"models": ["llama-3", "mixtral*"]}],
                    "openai": [{"model_regex": "^gpt"}],
                }
            }
        )
    )
    assert allowed_models(policy, SITE) == [("llama-3", "groq"), ("gpt-4o", "openai")]


def test_a_name_that_another_provider_has_is_not_listed_for_this_one() -> None:
    policy = parse_policy('{"default_provider": "openai"}')
    assert allowed_models(policy, SITE) == [("gpt-4o", "openai"), ("o3-mini", "openai")]


def test_a_name_in_the_policy_is_listed_whoever_knows_it() -> None:
    policy = parse_policy('{"default_provider": "openai", "models": ["o3-mini", "new"]}')
    assert allowed_models(policy, SITE) == [("o3-mini", "openai"), ("new", "openai")]


def test_aliases_are_listed_as_models_if_what_they_stand_for_is_allowed() -> None:
    document = {"model_aliases": {"fast": "llama-3", "no": "x"}, "providers": {"groq": [{}]}}
    document["model"] = "llama-3"
    policy = parse_policy(json.dumps(document))
    assert allowed_models(policy, SITE) == [("fast", "groq"), ("llama-3", "groq")]
