"""`x-tokenomics-explain`: what the road would do, with nothing sent and nothing counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import HELLO, POLICY, Proxy, proxy
from tests.support.upstream import fails, provider
from tokenomics.config.settings import Admin, AdminAuth
from tokenomics.tokens import Secret

EXPLAIN = [("x-tokenomics-explain", "1")]
EMAIL = "jane.doe@example.org"


async def explained(gateway: Proxy, document: Any = None, **more: Any) -> dict[str, Any]:
    answer = await gateway.post(document, headers=EXPLAIN, **more)
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json()
    return told


def because(told: dict[str, Any], stage: str) -> str:
    step = next(step for step in told["steps"] if step["stage"] == stage)
    return "\n".join(step["because"])


async def test_every_step_says_what_decided_it(tmp_path: Path) -> None:
    policy = {
        "providers": {
            "groq": [{"model_regex": "^llama"}],
            "openai": [{"models": ["gpt-4o*"], "max_tokens": 1000, "timeout": 7}],
        },
        "model_aliases": {"fast": "gpt-4o"},
        "rules": [
            {"name": "pii", "type": "pii", "detect": ["email"], "action": "mask", "scope": "both"},
            {"name": "words", "type": "keyword", "keywords": ["never"]},
        ],
        "prompts": [{"role": "system", "content": "Be brief."}],
        "rate_limit": {"rules": [{"requests": 2, "window": "1m"}], "max_parallel": 3},
        "retry": {"max_retries": 1, "fallbacks": ["llama-3", "claude"]},
    }
    names = {"openai": {"api_key_env": "OPENAI_API_KEY"}, "groq": {"api_key_env": "GROQ_API_KEY"}}
    async with provider() as upstream:
        rows = {name: {**row, "upstream_url": upstream.url} for name, row in names.items()}
        async with proxy(tmp_path, upstream, policy, providers=rows) as gateway:
            said = [{"role": "user", "content": f"Write to {EMAIL}"}]
            told = await explained(gateway, {"model": "fast", "messages": said})
            for _ in range(3):  # it counts nothing
                await explained(gateway)
            text = str(told)
            account = gateway.account()
    assert upstream.seen == []
    assert account.windows == {}
    assert told["would_be"] == "sent"
    stages = "token endpoint route rules prompts limits attempts answer".split()
    assert [step["stage"] for step in told["steps"]] == stages
    route = because(told, "route")
    assert "model_aliases: 'fast' stands for 'gpt-4o'" in route
    assert "$.providers.groq[0] allows what matches '^llama': not 'gpt-4o'" in route
    assert "$.providers.openai[0] allows 'gpt-4o*': taken" in route
    assert "key from OPENAI_API_KEY" in route
    rules = because(told, "rules")
    assert "rule 0 'pii' (pii, mask, both): matched email" in rules
    assert "rule 1 'words' (keyword, fail, input): no match" in rules
    assert "1 put in front (system)" in because(told, "prompts")
    limits = because(told, "limits")
    assert "at most 2 requests in 60 s (sliding)" in limits
    assert "1000 tokens" in limits
    assert "there is room" in limits
    attempts = because(told, "attempts")
    assert "then 'llama-3' at groq, 2 tries at most" in attempts
    assert "fallback 'claude' is skipped" in attempts
    assert "rule 0 'pii'" in because(told, "answer")
    assert EMAIL not in text
    assert "Be brief." not in text


@pytest.mark.parametrize(
    ("policy", "document", "stage", "code"),
    [
        ({}, {"model": 5}, "body", "invalid_request"),
        ({"models": ["other"]}, None, "route", "model_not_allowed"),
        ({"base_key_env": "UNSET_KEY"}, None, "provider", "provider_key_missing"),
        ({"rules": ["Hello"]}, None, "rules", "content_blocked"),
        ({"max_tokens": 1}, None, "limits", "insufficient_quota"),
    ],
    ids=["body", "route", "provider", "rules", "limits"],
)
async def test_the_step_that_refuses_is_the_last(
    tmp_path: Path, policy: dict[str, Any], document: Any, stage: str, code: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, {**POLICY, **policy}) as gateway:
        told = await explained(gateway, document)
        answer = await gateway.post(document)
    assert told["steps"][-1]["stage"] == stage
    assert [step["passed"] for step in told["steps"]][-2:] == [True, False]
    assert (told["would_be"], told["code"]) == ("refused", code)
    assert (answer.status, answer.code) == (told["status"], code), "it is what happens"


async def test_an_unknown_token_is_explained_too(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        told = await explained(gateway, token="tkn_nobodys")
    assert (told["code"], told["steps"][-1]["stage"]) == ("invalid_token", "token")


@pytest.mark.parametrize("sent", ["right", "wrong", ""])
async def test_the_admin_password_is_asked_for_where_there_is_one(
    tmp_path: Path, sent: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        gateway.files.change(admin=Admin(auth=replace(AdminAuth(), password=Secret("right"))))
        await gateway.reload()
        proof = [("x-tokenomics-admin", sent)] if sent else []
        answer = await gateway.post(HELLO, headers=[*EXPLAIN, *proof])
    assert answer.status == (200 if sent == "right" else 403)
    if sent != "right":
        assert answer.code == "admin_required"


async def test_the_password_never_goes_to_a_provider(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(headers=[("x-tokenomics-admin", "right")])
    assert answer.status == 200
    assert upstream.last.get("x-tokenomics-admin") == []


async def test_a_closed_path_is_explained_and_the_models_are_not(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post({}, "/v1/files", EXPLAIN)
        sent = [("authorization", f"Bearer {gateway.token}"), *EXPLAIN]
        models = await gateway.get("/v1/models", sent)
        asked = await gateway.post(headers=[("x-tokenomics-explain", "0")])
    assert (answer.status, answer.json()["code"]) == (200, "endpoint_not_allowed")
    assert answer.headers["x-request-id"].startswith("req_")
    assert models.json()["object"] == "list"
    assert asked.json()["object"] == "chat.completion"


# Paths that a policy opens


async def test_an_opened_path_goes_through_as_it_is(tmp_path: Path) -> None:
    policy = {**POLICY, "endpoints": ["/v1/files*"]}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        sent = [("authorization", f"Bearer {gateway.token}")]
        got = await gateway.get("/v1/files/f_1?limit=3", sent)
        seen = upstream.last
        gone = await gateway.get("/files/f_1", sent, method="DELETE")
        closed = await gateway.get("/v1/batches", sent)
        row = await gateway.row(0, of=2)
    assert (got.status, gone.status) == (200, 200)
    assert (seen.method, seen.path, seen.query, seen.body) == (
        "GET",
        "/v1/files/f_1",
        "limit=3",
        b"",
    )
    assert (upstream.last.method, upstream.last.path) == ("DELETE", "/v1/files/f_1")
    assert seen.get("authorization") == ["Bearer sk-the-real-provider-key"]
    assert (closed.status, closed.code) == (403, "endpoint_not_allowed")
    assert '"endpoints": ["/v1/batches"]' in closed.message
    assert (row["path"], row["status"]) == ("/v1/files/f_1", 200)


async def test_an_opened_path_counts_and_is_not_tried_twice(tmp_path: Path) -> None:
    policy = {
        **POLICY,
        "endpoints": ["/v1/files"],
        "retry": {"max_retries": 3},
        "rate_limit": {"rules": [{"requests": 1, "window": "1h"}]},
    }
    async with provider(fails(503)) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        sent = [("authorization", f"Bearer {gateway.token}")]
        first = await gateway.get("/v1/files", sent)
        second = await gateway.get("/v1/files", sent)
    assert (first.status, second.status, len(upstream.seen)) == (503, 429, 1)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_other_methods_are_not_opened(tmp_path: Path, method: str) -> None:
    policy = {**POLICY, "endpoints": ["/v1/files*"]}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        sent = [("authorization", f"Bearer {gateway.token}")]
        answer = await gateway.get("/v1/files", sent, method=method)
    assert answer.status == 405
    assert upstream.seen == []


async def test_bytes_do_not_pass_where_rules_look(tmp_path: Path) -> None:
    rules = [{"name": "pii", "type": "pii", "action": "log"}]
    policy = {**POLICY, "endpoints": ["/v1/files"], "rules": rules}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(b"\x00\x01", "/v1/files")
    assert (answer.status, answer.code) == (403, "content_blocked")
    assert upstream.seen == []
