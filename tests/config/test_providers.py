"""The catalogue of providers, and what users lay over it."""

from __future__ import annotations

import re
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import pytest

from tokenomics.cli.docs import page
from tokenomics.config.catalogue import CATALOGUE, UNSET_URL
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
    assert "dialect" not in CATALOGUE[name] or provider.dialect == CATALOGUE[name]["dialect"]


# The base URL that a client of the provider's own would be given, and what is sent to it: from the
# pages that the catalogue names.
@pytest.mark.parametrize(
    ("name", "chat", "models"),
    [
        ("openai", "https://api.openai.com/v1/chat/completions", "/v1/models"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "/v1/models"),
        ("groq", "https://api.groq.com/openai/v1/chat/completions", "/v1/models"),
        (
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            "/v1beta/openai/models",
        ),
        ("cohere", "https://api.cohere.ai/compatibility/v1/chat/completions", "/v1/models"),
        ("perplexity", "https://api.perplexity.ai/chat/completions", "/v1/models"),
        ("deepinfra", "https://api.deepinfra.com/v1/openai/chat/completions", "/v1/openai/models"),
        ("zai", "https://api.z.ai/api/paas/v4/chat/completions", "/v4/models"),
        (
            "dashscope",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
            "/v1/models",
        ),
        ("novita", "https://api.novita.ai/openai/v1/chat/completions", "/v1/models"),
        ("huggingface", "https://router.huggingface.co/v1/chat/completions", "/v1/models"),
        ("ollama", "http://localhost:11434/v1/chat/completions", "/v1/models"),
        ("azure", f"{UNSET_URL}/v1/chat/completions", "/v1/models"),
    ],
)
def test_the_addresses_of_built_in_providers(name: str, chat: str, models: str) -> None:
    provider = build_providers({})[name]
    assert provider.upstream_url + provider.path("/chat/completions") == chat
    assert provider.path("/models") == models


def test_azure_s_url_as_its_page_has_it_is_taken_with_and_without_the_version() -> None:
    for url in ("https://r.openai.azure.com/openai", "https://r.openai.azure.com/openai/v1/"):
        azure = build_providers({"azure": {"upstream_url": url}})["azure"]
        whole = azure.upstream_url.rstrip("/") + azure.path("/chat/completions")
        assert whole == "https://r.openai.azure.com/openai/v1/chat/completions"


def test_no_key_goes_to_a_host_that_was_not_named() -> None:
    assert UNSET_URL.endswith(".invalid")
    assert CATALOGUE["azure"]["upstream_url"] == UNSET_URL


def test_the_page_has_every_provider_and_every_field() -> None:
    text = page("providers")
    assert [name for name in CATALOGUE if not re.search(rf"\b{name}\b", text)] == []
    names = {field.name for field in fields(Provider)} - {"name"}
    assert [
        name for name in sorted(names) if f"`{name}`" not in text and name != "auth_header"
    ] == []


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
    ("row", "dialect", "chat_path"),
    [
        ({}, "openai", "/v1/chat/completions"),
        ({"dialect": "anthropic"}, "anthropic", "/v1/messages"),
        ({"dialect": "openai", "chat_path": "/v1/messages"}, "openai", "/v1/messages"),
        ({"dialect": "anthropic", "chat_path": "/talk"}, "anthropic", "/talk"),
        ({"api_path": ""}, "openai", "/chat/completions"),
        ({"api_path": "/v4", "dialect": "anthropic"}, "anthropic", "/v4/messages"),
    ],
)
def test_dialect_and_chat_path_follow_from_each_other(
    row: dict[str, Any], dialect: str, chat_path: str
) -> None:
    provider = build_providers({"p": row})["p"]
    assert (provider.dialect, provider.chat_path) == (dialect, chat_path)
    assert provider.speaks(dialect)


def test_an_override_of_the_dialect_alone_changes_the_path_with_it() -> None:
    provider = build_providers({"minimax": {"dialect": "anthropic"}})["minimax"]
    assert provider.path("/messages") == "/v1/messages"


@pytest.mark.parametrize(
    ("name", "row", "dialect", "chat_path"),
    [
        ("anthropic", {}, "anthropic", "/v1/messages"),
        ("anthropic", {"chat_path": "/v1/chat/completions"}, "openai", "/v1/chat/completions"),
        ("anthropic", {"dialect": "openai"}, "openai", "/v1/chat/completions"),
        ("perplexity", {"dialect": "openai", "models": []}, "openai", "/chat/completions"),
        ("perplexity", {"dialect": "anthropic"}, "anthropic", "/v1/messages"),
    ],
)
def test_who_changes_a_dialect_or_a_path_does_not_keep_the_other(
    name: str, row: dict[str, Any], dialect: str, chat_path: str
) -> None:
    provider = build_providers({name: row})[name]
    assert (provider.dialect, provider.chat_path) == (dialect, chat_path)


def test_a_path_without_a_model_has_no_segment_and_takes_any_name() -> None:
    plain = build_providers({})["openai"]
    assert [plain.segment(model) for model in ("gpt-4o", "a/b", "..", "")] == [""] * 4
    assert plain.path("/files/{model}") == "/v1/files/{model}"


@pytest.mark.parametrize("key", ["api_path", "chat_path"])
def test_either_path_may_name_the_model(key: str) -> None:
    provider = build_providers({"p": {key: "/d/{model}/x"}})["p"]
    assert provider.segment("a b") == "a%20b"
    assert "/d/a%20b/x" in provider.path("/chat/completions", "a%20b")
    with pytest.raises(ValueError, match="model 'a/b' cannot stand in a path of provider p"):
        provider.segment("a/b")
    with pytest.raises(ValueError, match="model '' cannot"):
        provider.segment("")


@pytest.mark.parametrize(
    ("scheme", "headers", "query"),
    [
        ("bearer", [("authorization", "Bearer k&1")], ""),
        ("header", [("x-key", "k&1")], ""),
        ("query", [], "key=k%261"),
        ("none", [], ""),
    ],
)
def test_a_key_stands_where_the_scheme_says(
    scheme: str, headers: list[tuple[str, str]], query: str
) -> None:
    row = {"auth_scheme": scheme, "auth_header": "X-Key"}
    provider = build_providers({"p": row})["p"]
    assert provider.credentials("k&1") == headers
    assert provider.query_of("", "k&1") == query
    assert (provider.credentials(""), provider.query_of("", "")) == ([], "")


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
            {"dialect": "antropic"},
            "providers.p.dialect must be one of: openai, anthropic; it is 'antropic'; did you mean"
            " anthropic",
        ),
        ({"dialect": "OpenAI"}, "it is 'OpenAI'; did you mean openai"),
        ({"dialect": ""}, "providers.p.dialect must be one of"),
        ({"dialect": 1}, "providers.p.dialect must be text"),
        ({"api_path": "v1"}, "providers.p.api_path must be a path such as /v1"),
        ({"api_path": "/v1/"}, "providers.p.api_path must be a path"),
        ({"api_path": "/v1?x=1"}, "providers.p.api_path must be a path"),
        ({"chat_path": "/d/{deployment}"}, "providers.p.chat_path must be a path"),
        ({"chat_path": "https://x/v1"}, "providers.p.chat_path must be a path"),
        ({"chat_path": "/a b"}, "providers.p.chat_path must be a path"),
        ({"query": {"a": 1}}, "providers.p.query must map names to text"),
        ({"query": "a=1"}, "providers.p.query must map names to text"),
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
