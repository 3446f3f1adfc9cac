"""Where requests go at providers whose paths are not OpenAI's, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import HELLO, PROVIDER_KEY, Proxy, proxy
from tests.support.upstream import Upstream, answers, provider
from tokenomics.config.catalogue import CATALOGUE

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
DATED = {**CATALOGUE["azure-deployments"], "api_key_env": "OPENAI_API_KEY"}


@asynccontextmanager
async def reached(
    folder: Path, row: Mapping[str, Any], base: str = "", policy: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Upstream, Proxy]]:
    """A provider of such a row, and a proxy whose token goes to it."""
    async with provider(answers()) as upstream:
        own = {**row, "upstream_url": upstream.url + base}
        policy = {"default_provider": "own", **(policy or {})}
        async with proxy(folder, upstream, policy, providers={"own": own}) as gateway:
            yield upstream, gateway


@pytest.mark.parametrize(
    ("row", "base", "path", "wanted"),
    [
        ({}, "", "/v1/embeddings", "/v1/embeddings"),
        ({"api_path": "/v1beta/openai"}, "", None, "/v1beta/openai/chat/completions"),
        ({"api_path": "/v1beta/openai"}, "", "/v1/embeddings", "/v1beta/openai/embeddings"),
        ({"api_path": "/v4"}, "/api/paas", None, "/api/paas/v4/chat/completions"),
        ({"api_path": "/v4"}, "/api/paas/v4", None, "/api/paas/v4/chat/completions"),
        ({"api_path": "/v4"}, "/api/paas/v4/", "/embeddings", "/api/paas/v4/embeddings"),
        ({"api_path": ""}, "", None, "/chat/completions"),
        ({"api_path": ""}, "/v3", "/v1/embeddings", "/v3/embeddings"),
        ({"chat_path": "/chat/completions"}, "", "/v1/embeddings", "/v1/embeddings"),
        ({"chat_path": "/text/chat"}, "", None, "/text/chat"),
    ],
)
async def test_the_paths_of_an_api(
    tmp_path: Path, row: dict[str, Any], base: str, path: str | None, wanted: str
) -> None:
    async with reached(tmp_path, row, base) as (upstream, gateway):
        document = {"model": "m", "input": "x"} if path else HELLO
        await gateway.post(document, path or "/v1/chat/completions")
    assert upstream.last.path == wanted


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"dialect": "anthropic"}, "/v1/messages"),
        ({"chat_path": "/anthropic/v1/messages"}, "/anthropic/v1/messages"),
        ({"dialect": "anthropic", "api_path": "/anthropic/v1"}, "/anthropic/v1/messages"),
        ({"dialect": "anthropic", "chat_path": "/talk"}, "/talk"),
    ],
)
@pytest.mark.parametrize("below", ["", "/count_tokens"])
async def test_anthropic_s_paths_are_below_its_chat_path(
    tmp_path: Path, row: dict[str, Any], wanted: str, below: str
) -> None:
    async with reached(tmp_path, row) as (upstream, gateway):
        upstream.script = [answers({"input_tokens": 3} if below else MESSAGE)]
        body = {**HELLO, "max_tokens": 5}
        assert (await gateway.post(body, "/v1/messages" + below)).status == 200
    assert upstream.last.path == wanted + below


async def test_a_provider_that_does_not_speak_a_dialect_says_which_it_does(tmp_path: Path) -> None:
    async with reached(tmp_path, {"dialect": "openai"}) as (upstream, gateway):
        body = {**HELLO, "max_tokens": 5}
        answer = await gateway.post(body, "/v1/messages/count_tokens")
    assert answer.status == 400
    assert "(dialect openai)" in answer.body.decode()
    assert upstream.seen == []


async def test_azure_s_deployments(tmp_path: Path) -> None:
    async with reached(tmp_path, DATED) as (upstream, gateway):
        assert (await gateway.post(HELLO)).status == 200
        chat = upstream.last
        await gateway.post({"model": "text-embedding-3-small", "input": "x"}, "/v1/embeddings")
    version = DATED["query"]["api-version"]
    assert (chat.path, chat.query) == (
        "/openai/deployments/gpt-4o/chat/completions",
        f"api-version={version}",
    )
    assert chat.get("api-key") == [PROVIDER_KEY]
    assert chat.get("authorization") == []
    assert chat.json() == HELLO
    assert upstream.last.path == "/openai/deployments/text-embedding-3-small/embeddings"


async def test_each_model_has_its_path_also_on_one_connection(tmp_path: Path) -> None:
    """Heads that are equal share what was worked out from them; the model is in the body."""
    models = ["one", "two", "one"]
    async with reached(tmp_path, DATED) as (upstream, gateway):
        for model in models:
            await gateway.post({**HELLO, "model": model})
    wanted = [f"/openai/deployments/{model}/chat/completions" for model in models]
    assert [seen.path for seen in upstream.seen] == wanted


@pytest.mark.parametrize("model", ["..", ".", "...", "a/b", "../x", "/", "a\\b", "..\\x"])
async def test_a_model_does_not_leave_its_segment(tmp_path: Path, model: str) -> None:
    async with reached(tmp_path, DATED) as (upstream, gateway):
        answer = await gateway.post({**HELLO, "model": model})
    assert answer.status == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "model")
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("model", "segment"),
    [
        ("a?b#c", "a%3Fb%23c"),
        ("%2e%2e%2f", "%252e%252e%252f"),
        ("..a", "..a"),
        ("mod\u00e8le 1", "mod%C3%A8le%201"),
        ("{model}", "%7Bmodel%7D"),
        ("a;b&c=d", "a%3Bb%26c%3Dd"),
    ],
)
async def test_a_model_is_quoted(tmp_path: Path, model: str, segment: str) -> None:
    async with reached(tmp_path, DATED) as (upstream, gateway):
        assert (await gateway.post({**HELLO, "model": model})).status == 200
    assert upstream.last.path == f"/openai/deployments/{segment}/chat/completions"


async def test_a_fallback_that_cannot_stand_in_the_path_is_skipped(tmp_path: Path) -> None:
    retry = {"retry": {"max_retries": 0, "fallbacks": ["a/b", "spare"]}}
    async with reached(tmp_path, DATED, policy=retry) as (upstream, gateway):
        upstream.script = [answers({}, 503), answers()]
        answer = await gateway.post(HELLO)
        row = await gateway.row()
    assert answer.status == 200
    assert [seen.path.split("/")[3] for seen in upstream.seen] == ["gpt-4o", "spare"]
    assert "a/b: invalid_request" in str(row)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("", "api-version=1&team=a%20b%26c"),
        ("x=%20y", "x=%20y&api-version=1&team=a%20b%26c"),
        ("api-version=2", "api-version=2&team=a%20b%26c"),
        ("api%2Dversion=&team=z", "api%2Dversion=&team=z"),
    ],
)
async def test_a_provider_s_query_fills_in_what_the_client_left_out(
    tmp_path: Path, sent: str, arrives: str
) -> None:
    row = {"query": {"api-version": "1", "team": "a b&c"}}
    async with reached(tmp_path, row) as (upstream, gateway):
        await gateway.post(path="/v1/chat/completions" + ("?" + sent if sent else ""))
    assert upstream.last.query == arrives


async def test_a_policy_s_own_url_keeps_the_paths_of_the_provider(tmp_path: Path) -> None:
    async with provider() as upstream:
        policy = {"default_provider": "own", "upstream_url": upstream.url}
        rows = {"own": {**DATED, "upstream_url": "http://127.0.0.1:1"}}
        async with proxy(tmp_path, upstream, policy, providers=rows) as gateway:
            await gateway.post(HELLO)
    assert upstream.last.path == "/openai/deployments/gpt-4o/chat/completions"
    assert upstream.last.query.startswith("api-version=")
