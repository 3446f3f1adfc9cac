"""Several keys of one provider, as `providers.yaml` says them."""

from __future__ import annotations

from typing import Any

import pytest

from tokenomics.config.provider_keys import ProviderKey
from tokenomics.config.providers import Provider, build_providers
from tokenomics.errors import Invalid
from tokenomics.policy.model import parse_policy
from tokenomics.policy.route import Site, plan

KEYS = [
    {"env": "OPENAI_API_KEY", "weight": 3},
    {"env": "SECOND_KEY"},
    {"env": "SECOND_KEY", "upstream_url": "https://other.example"},
    {"upstream_url": "http://10.0.0.1:8000", "weight": 0.5},
]
TWO = KEYS[:2]


def openai(row: dict[str, Any]) -> Provider:
    return build_providers({"openai": row})["openai"]


def test_keys_are_read_in_order_with_a_weight_of_one() -> None:
    assert openai({"keys": KEYS}).keys == (
        ProviderKey("OPENAI_API_KEY", 3),
        ProviderKey("SECOND_KEY"),
        ProviderKey("SECOND_KEY", 1, "https://other.example"),
        ProviderKey("", 0.5, "http://10.0.0.1:8000"),
    )
    assert openai({}).keys == ()


def test_a_provider_without_another_name_is_known_by_its_first_key() -> None:
    row = {"upstream_url": "https://x.example", "keys": [{"env": "A_KEY"}, {"env": "B_KEY"}]}
    assert build_providers({"own": row})["own"].api_key_env == "A_KEY"
    assert openai({"keys": [{"env": "A_KEY"}]}).api_key_env == "OPENAI_API_KEY"
    keys = [{"env": "FAR_KEY", "upstream_url": "https://far.example"}]
    assert build_providers({"own": {"keys": keys}})["own"].api_key_env == ""


def test_the_variables_for_a_provider_s_own_url() -> None:
    assert openai({}).variables == ("OPENAI_API_KEY",)
    assert openai({"keys": KEYS}).variables == ("OPENAI_API_KEY", "SECOND_KEY")
    assert openai({"keys": TWO, "auth_scheme": "none"}).variables == ()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "providers.openai.keys must be a list of keys"),
        ([], "providers.openai.keys must be a list of keys"),
        ("A_KEY", "providers.openai.keys must be a list of keys"),
        (["A_KEY"], r"providers.openai.keys\[0\] must be a mapping"),
        ([{"env": "A"}, {"Env": "B", "env": "B"}], r"keys\[1\].Env is not a known key; .*env\?"),
        ([{"env": "A", "zzz": 1}], r"keys\[0\].zzz is not a known key; known: env, weight"),
        ([{"env": 5}], r"keys\[0\].env must be text"),
        ([{}], r"keys\[0\] needs env"),
        ([{"weight": 2}], r"keys\[0\] needs env"),
        ([{"env": "A", "weight": 0}], r"keys\[0\].weight must be a number over 0"),
        ([{"env": "A", "weight": -1}], r"keys\[0\].weight must be a number over 0"),
        ([{"env": "A", "weight": True}], r"keys\[0\].weight must be a number over 0"),
        ([{"env": "A", "weight": float("nan")}], r"keys\[0\].weight must be a number over 0"),
        ([{"env": "A", "weight": "3"}], r"keys\[0\].weight must be a number over 0"),
        ([{"env": "A", "upstream_url": "x"}], r"keys\[0\].upstream_url: .*http\(s\) URL"),
        ([{"env": "A", "upstream_url": 1}], r"keys\[0\].upstream_url must be text"),
        ([{"env": "A"}, {"env": "A", "weight": 2}], r"keys\[1\] is there twice"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(keys: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        openai({"keys": keys})


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ('{"default_provider": "openai"}', ["OPENAI_API_KEY", "SECOND_KEY"]),
        ('{"providers": {"openai": [{"model": "m"}]}}', ["OPENAI_API_KEY", "SECOND_KEY"]),
        ('{"default_provider": "openai", "base_key_env": "OPENAI_API_KEY"}', []),
        ('{"providers": {"openai": [{"model": "m", "base_key_env": "OWN"}]}}', []),
    ],
    ids=["all", "all for an entry", "only the policy's", "only the entry's"],
)
def test_a_policy_with_a_key_of_its_own_uses_no_other(policy: str, names: list[str]) -> None:
    site = Site({"openai": openai({"keys": TWO})}, "")
    target = plan(parse_policy(policy), "m", site).targets[0]
    assert [key.env for key in target.keys] == names


def test_a_key_with_a_place_of_its_own_goes_to_no_other() -> None:
    site = Site({"openai": openai({"keys": KEYS})}, "")
    policy = parse_policy('{"default_provider": "openai", "upstream_url": "https://own.example"}')
    target = plan(policy, "m", site).targets[0]
    assert [key.env for key in target.keys] == ["OPENAI_API_KEY", "SECOND_KEY"]
    assert target.provider.upstream_url == "https://own.example"
