"""What a provider receives: header hygiene, the body, the path, the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import HELLO, PROVIDER_KEY, proxy
from tests.support.upstream import provider, streams

KEY_OF_THE_CLIENT = "tkn_or_cookie_of_the_client"


async def test_the_client_s_own_bytes_go_on_if_nothing_changes(tmp_path: Path) -> None:
    body = b'{ "messages" : [{"role":"user","content":"h\\u00e9 \xc3\xa9"}],\n "model":"gpt-4o",'
    body += b'"unknown":{"kept":[1.0,2e3]}, "temperature":0.10 }'
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post(body)).status == 200
    assert upstream.last.body == body


async def test_the_head_has_the_provider_s_key_and_nothing_of_the_client_s(tmp_path: Path) -> None:
    unwanted = [
        ("cookie", f"session={KEY_OF_THE_CLIENT}"),
        ("x-forwarded-for", "10.1.2.3"),
        ("forwarded", "for=10.1.2.3"),
        ("x-real-ip", "10.1.2.3"),
        ("proxy-authorization", f"Basic {KEY_OF_THE_CLIENT}"),
        ("te", "trailers"),
        ("connection", "keep-alive, x-mine-alone"),
        ("x-mine-alone", "secret"),
        ("keep-alive", "timeout=5"),
        ("x-client-request-id", "forged"),
        ("accept-encoding", "gzip, br"),
    ]
    wanted = [("user-agent", "OpenAI/Python"), ("openai-organization", "org-1"), ("x-own", "kept")]
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(headers=[*unwanted, *wanted])
        token = gateway.token
    seen = upstream.last
    assert seen.get("authorization") == [f"Bearer {PROVIDER_KEY}"]
    assert seen.get("host") == [f"127.0.0.1:{upstream.port}"]
    assert seen.get("x-client-request-id") == [answer.headers["x-request-id"]]
    assert seen.get("accept-encoding") == ["identity"]
    assert [(n, seen.get(n)) for n, _ in wanted] == [(n, [v]) for n, v in wanted]
    names = {name for name, _ in seen.headers}
    assert names == {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "accept-encoding",
        "x-client-request-id",
        *(name for name, _ in wanted),
    }
    assert token not in str(seen.headers)
    assert KEY_OF_THE_CLIENT not in str(seen.headers)


@pytest.mark.parametrize(
    "header",
    [
        ("authorization", "Bearer {}"),
        ("authorization", "bearer  {}"),
        ("authorization", "{}"),
        ("x-api-key", "{}"),
        ("api-key", "{}"),
        ("x-goog-api-key", "{}"),
    ],
)
async def test_a_token_is_taken_from_any_of_its_headers_and_goes_nowhere(
    tmp_path: Path, header: tuple[str, str]
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        sent = [(header[0], header[1].format(gateway.token))]
        answer = await gateway.post(headers=sent, token="")
        assert answer.status == 200
        assert gateway.token not in str(upstream.last)


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/openai", "/openai/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
    ],
)
async def test_a_base_url_keeps_its_own_path(tmp_path: Path, base: str, path: str) -> None:
    async with provider() as upstream:
        policy = {"base_key_env": "OPENAI_API_KEY", "upstream_url": upstream.url + base}
        async with proxy(tmp_path, "http://127.0.0.1:1", policy) as gateway:
            await gateway.post(path="/v1/chat/completions?api-version=2&x=%20y")
    assert (upstream.last.path, upstream.last.query) == (path, "api-version=2&x=%20y")


async def test_a_provider_s_headers_fill_in_what_the_client_left_out(tmp_path: Path) -> None:
    async with provider() as upstream:
        row = {
            "upstream_url": upstream.url,
            "headers": {"X-Version": "configured", "X-Title": "configured"},
            "auth_scheme": "header",
            "auth_header": "X-Key",
            "api_key_env": "OPENAI_API_KEY",
        }
        async with proxy(
            tmp_path, upstream, {"default_provider": "own"}, providers={"own": row}
        ) as gateway:
            await gateway.post(headers=[("x-version", "of the client")])
    assert upstream.last.get("x-version") == ["of the client"]
    assert upstream.last.get("x-title") == ["configured"]
    assert upstream.last.get("x-key") == [PROVIDER_KEY]
    assert upstream.last.get("authorization") == []


@pytest.mark.parametrize(
    ("scheme", "query"), [("query", f"a=1&key={PROVIDER_KEY}"), ("none", "a=1")]
)
async def test_a_key_goes_where_the_provider_wants_it(
    tmp_path: Path, scheme: str, query: str
) -> None:
    async with provider() as upstream:
        row = {
            "upstream_url": upstream.url,
            "auth_scheme": scheme,
            "api_key_env": "OPENAI_API_KEY",
        }
        async with proxy(
            tmp_path, upstream, {"default_provider": "own"}, providers={"own": row}
        ) as gateway:
            await gateway.post(path="/v1/chat/completions?a=1")
    assert upstream.last.query == query
    assert upstream.last.get("authorization") == []


async def test_a_stream_is_asked_for_its_usage_and_keeps_other_options(tmp_path: Path) -> None:
    asked = {**HELLO, "stream": True, "stream_options": {"include_obfuscation": False}}
    async with provider(streams()) as upstream, proxy(tmp_path, upstream) as gateway:
        await gateway.post(asked)
    wanted = {"include_obfuscation": False, "include_usage": True}
    assert upstream.last.json() == {**asked, "stream_options": wanted}


async def test_prompts_go_in_front_and_are_not_inspected(tmp_path: Path) -> None:
    policy = {
        "base_key_env": "OPENAI_API_KEY",
        "prompts": [{"role": "system", "content": "Never say forbidden."}],
        "rules": [{"type": "keyword", "keywords": ["forbidden"], "action": "fail"}],
    }
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post()).status == 200
        blocked = await gateway.post(
            {"model": "gpt-4o", "messages": [{"role": "user", "content": "a FORBIDDEN word"}]}
        )
    assert upstream.last.json()["messages"] == [
        {"role": "system", "content": "Never say forbidden."},
        {"role": "user", "content": "Hello"},
    ]
    assert (blocked.status, blocked.code, len(upstream.seen)) == (403, "content_blocked", 1)


async def test_a_masked_text_leaves_all_else_as_it_was(tmp_path: Path) -> None:
    policy = {
        "base_key_env": "OPENAI_API_KEY",
        "rules": [{"type": "pii", "detect": ["ssn", "email"], "action": "mask"}],
    }
    document: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You are kind"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": 'My "SSN" is 536-22-1234\n'},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"to":"ann@example.org"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "536-22-1234"},
        ],
        "temperature": 0.5,
        "x_own": {"kept": True},
    }
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post(document)).status == 200
        row = await gateway.row()
    text = json.dumps(document)
    text = text.replace("536-22-1234", "[REDACTED]").replace("ann@example.org", "[REDACTED]")
    assert upstream.last.json() == json.loads(text)
    assert [rule.rpartition(":")[2] for rule in row["rules"]] == ["mask"]


async def test_an_output_cap_holds_the_answer_within_the_budget(tmp_path: Path) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 500}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post()
        await gateway.post({**HELLO, "max_completion_tokens": 20})
    first, second = (seen.json() for seen in upstream.seen)
    assert 0 < first["max_completion_tokens"] < 500
    assert second == {**HELLO, "max_completion_tokens": 20}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/v1/chat/completions/",
    ],
)
async def test_a_path_may_lack_its_version_or_have_it_twice(tmp_path: Path, path: str) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post(path=path)).status == 200
    assert upstream.last.path == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
        ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"}),
    ],
)
async def test_the_other_endpoints_go_to_their_own_path(
    tmp_path: Path, path: str, document: Any
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post(document, path)).status == 200
    assert (upstream.last.path, upstream.last.json()) == (path, document)


async def test_a_chunked_request_body_arrives_whole(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(headers=[("transfer-encoding", "chunked")])
    assert answer.status == 200
    assert upstream.last.json() == HELLO
    assert upstream.last.get("transfer-encoding") == []
