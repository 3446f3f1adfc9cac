"""The catalogue of providers, and what users lay over it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from tokenomics.config.catalogue import CATALOGUE
from tokenomics.config.providers import ECHO_URL, Provider, build_providers
from tokenomics.errors import Invalid


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_built_in_provider_can_be_reached(name: str) -> None:
    provider = build_providers({})[name]
    assert provider.name == name
    assert provider.upstream_url.startswith("http") or name == "echo"
    assert not provider.upstream_url.endswith("/v1"), "/v1 comes with the path of the request"
    assert bool(provider.api_key_env) == (provider.auth_scheme != "none")
    assert bool(provider.auth_header) == (provider.auth_scheme == "header")


def test_the_providers_of_the_contract_are_built_in() -> None:
    assert {"openai", "anthropic", "groq", "mistral", "echo"} <= build_providers({}).keys()


def test_variables_of_clients_are_of_one_provider_each() -> None:
    names = [p.base_url_env for p in build_providers({}).values() if p.base_url_env]
    assert len(names) == len(set(names))


def test_an_override_replaces_its_fields_and_keeps_the_others() -> None:
    provider = build_providers({"groq": {"upstream_url": "https://proxy.internal/groq"}})["groq"]
    assert provider.upstream_url == "https://proxy.internal/groq"
    assert provider.api_key_env == "GROQ_API_KEY"


def test_a_new_provider_is_openai_compatible_unless_told_otherwise() -> None:
    row = {"upstream_url": "http://10.0.0.1:8000", "models": ["m"], "headers": {"X-Team": "a"}}
    own = MappingProxyType({"x-team": "a"})
    wanted = Provider("local", upstream_url="http://10.0.0.1:8000", models=("m",), headers=own)
    assert repr(build_providers({"local": row})["local"]) == repr(wanted)


def test_how_to_connect_is_kept_and_a_proxys_password_is_not_shown() -> None:
    row = {
        "ca_file": "ca.pem",
        "cert_file": "c.pem",
        "key_file": "k.pem",
        "proxy": "http://user:secret@proxy:3128",
        "insecure": True,
    }
    provider = build_providers({"p": row})["p"]
    assert {key: getattr(provider, key) for key in row} == row
    assert "secret" not in repr(provider)
    assert build_providers({"p": {"proxy": "direct"}})["p"].proxy == "direct"


def test_a_fault_of_a_proxy_repeats_nothing_of_it() -> None:
    with pytest.raises(Invalid) as caught:
        build_providers({"p": {"proxy": "http://user:se/cret@proxy"}})
    assert "cret" not in str(caught.value)


def test_an_empty_row_changes_nothing() -> None:
    assert repr(build_providers({"openai": None})) == repr(build_providers({}))


@pytest.mark.parametrize(
    ("row", "speaks"),
    [
        ({}, True),
        ({"chat_path": "/openai/deployments/x/chat/completions"}, True),
        ({"chat_path": "/v1/messages"}, False),
        ({"chat_path": "/v1/messages", "upstream_url": ECHO_URL}, True),
    ],
    ids=["by default", "by its path", "not by another path", "echo speaks all"],
)
def test_the_chat_path_tells_the_dialect(row: dict[str, Any], speaks: bool) -> None:
    assert build_providers({"p": row})["p"].speaks("openai") is speaks


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("https://x", "providers.p must be a mapping"),
        ({"upstream": "https://x"}, "providers.p.upstream is not a known key; did you mean"),
        ({"zzz": 1}, "providers.p.zzz is not a known key; known: upstream_url"),
        ({"name": "q"}, "providers.p.name is not a known key"),
        ({1: "x"}, "providers.p.1 is not a known key"),
        ({"api_key_env": 5}, "providers.p.api_key_env must be text"),
        ({"api_key_env": None}, "providers.p.api_key_env must be text"),
        ({"auth_scheme": "basic"}, "one of: bearer, header, query, none"),
        (
            {"upstream_url": "x.internal"},
            r"p.upstream_url: .* http\(s\) URL .* \(or builtin:echo\)",
        ),
        ({"upstream_url": "builtin:other"}, r"p.upstream_url: .* http\(s\) URL .* \(or builtin:ec"),
        ({"upstream_url": "http://x:99999"}, "providers.p.upstream_url: .*Port out of range"),
        ({"upstream_url": "http://x/a b"}, "providers.p.upstream_url: .* as %XX"),
        ({"models": "gpt-4o"}, "providers.p.models must be a list of names"),
        ({"models": [4]}, "providers.p.models must be a list of names"),
        ({"headers": ["a"]}, "providers.p.headers must map names to text"),
        ({"headers": {"a": 1}}, "providers.p.headers must map names to text"),
        ({"insecure": "yes"}, "providers.p.insecure must be true or false"),
        ({"proxy": "socks5://x"}, "providers.p.proxy: .*must begin with http:// .*or direct"),
        ({"proxy": 3128}, "providers.p.proxy must be text"),
        ({"key_file": "k.pem"}, "providers.p.key_file needs cert_file"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_a_row_that_is_wrong_is_refused_with_its_place(row: object, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        build_providers({"p": row})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        build_providers({"a": {"models": 1, "zzz": 2}, "b": 3})
    assert len(str(caught.value).splitlines()) == 3
