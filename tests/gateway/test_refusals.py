"""What the proxy refuses by itself: each with its status, its code, in OpenAI's shape."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import exchange, until
from tests.support.node import HELLO, POLICY, proxy
from tests.support.upstream import answers, completion, provider, streams
from tokenomics.net.connection import Reply, Request

BUDGET = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 1000}
CAPPED = {**HELLO, "max_tokens": 50}


async def test_a_refusal_has_openai_s_shape(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(token="tkn_unknown")
        row = await gateway.row()
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "error": {
            "message": "the token is not known here, or it was revoked",
            "type": "authentication_error",
            "param": None,
            "code": "invalid_token",
        }
    }
    assert answer.headers["x-request-id"] == row["request_id"]
    assert (row["status"], row["code"]) == (401, "invalid_token")
    assert "tkn_unknown" not in json.dumps(row)
    assert upstream.seen == []


@pytest.mark.parametrize("headers", [(), (("authorization", "Bearer"),), (("x-api-key", ""),)])
async def test_no_token(tmp_path: Path, headers: Any) -> None:
    async with proxy(tmp_path, "http://127.0.0.1:1") as gateway:
        answer = await gateway.post(token="", headers=headers)
    assert (answer.status, answer.code) == (401, "missing_token")


async def test_two_tokens_that_differ_are_refused_two_equal_ones_are_not(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        differ = await gateway.post(headers=[("x-api-key", "tkn_other")])
        equal = await gateway.post(headers=[("x-api-key", gateway.token)])
    assert (differ.status, differ.code) == (401, "invalid_token")
    assert equal.status == 200


async def test_an_expired_token_says_since_when(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        token = gateway.tokens.add(POLICY, time.time() - 60)
        answer = await gateway.post(token=token)
        with trio.fail_after(5):
            while answer.code == "invalid_token":  # the proxy has yet to read it
                answer = await gateway.post(token=token)
    assert (answer.status, answer.code) == (401, "token_expired")
    assert "20" in answer.message


async def test_a_policy_that_is_not_understood_is_never_run_unguarded(tmp_path: Path) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "a_rule_of_tomorrow": True}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.code) == (503, "policy_unsupported")
    assert "a_rule_of_tomorrow" in answer.message
    assert upstream.seen == []


async def test_a_model_that_is_not_allowed_names_those_that_are(tmp_path: Path) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "model": "gpt-4o-mini"}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.code) == (403, "model_not_allowed")
    assert "gpt-4o-mini" in answer.message
    assert answer.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'{"model":"a","model":"b","messages":[{"role":"user"}]}', "invalid_json", None),
        (b"\xff", "invalid_json", None),
        (b'{"messages":[]}', "invalid_request", "model"),
        (b'{"model":"gpt-4o"}', "invalid_request", "messages"),
        (b'{"model":"gpt-4o","messages":"hi"}', "invalid_request", "messages"),
        (b'{"model":"gpt-4o","messages":["hi"]}', "invalid_request", "messages[0]"),
        (
            b'{"model":"gpt-4o","messages":[{"role":"user","content":7}]}',
            "invalid_request",
            "messages[0].content",
        ),
        (
            b'{"model":"gpt-4o","stream":"yes","messages":[{"role":"user"}]}',
            "invalid_request",
            "stream",
        ),
        (
            b'{"model":"gpt-4o","max_tokens":-1,"messages":[{"role":"user"}]}',
            "invalid_request",
            "max_tokens",
        ),
    ],
)
async def test_a_malformed_request_names_its_fault(
    tmp_path: Path, body: bytes, code: str, param: str | None
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(body)
        account = gateway.account()
    assert (answer.status, answer.code) == (400, code)
    assert answer.json()["error"]["param"] == param
    assert (upstream.seen, account.parallel) == ([], 0)


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        headers = [("content-length", str(33 << 20)), ("authorization", f"Bearer {gateway.token}")]
        path = "/v1/chat/completions"
        async with exchange(gateway.port, "POST", path, headers, announced=True) as call:
            await call.head()
            answer = await call.rest()
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert answer.headers["connection"] == "close"
        assert (await gateway.post()).status == 200


async def test_a_budget_settles_by_the_provider_s_usage(tmp_path: Path) -> None:
    script = answers(completion("x" * 900, (30, 70)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        await gateway.post(CAPPED)
        account = gateway.account()
        row = await gateway.row()
    assert (account.settled, account.held, account.parallel) == ({"total": 100}, {}, 0)
    assert (row["input_tokens"], row["output_tokens"]) == (30, 70)


async def test_a_spent_budget_is_insufficient_quota_and_stops_the_sdks(tmp_path: Path) -> None:
    script = answers(completion("x", (480, 500)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        assert (await gateway.post(CAPPED)).status == 200
        answer = await gateway.post(CAPPED)
        account = gateway.account()
    assert (answer.status, answer.code) == (429, "insufficient_quota")
    assert answer.json()["error"]["type"] == "insufficient_quota"
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert len(upstream.seen) == 1
    assert (account.settled, account.held) == ({"total": 980}, {})


async def as_long_as_allowed(request: Request, reply: Reply) -> None:
    """A provider that uses all output tokens that it is given."""
    cap = json.loads(await request.body())["max_tokens"]
    await answers(completion("x", (9, cap)))(request, reply)


async def test_a_budget_does_not_overshoot_at_any_concurrency(tmp_path: Path) -> None:
    statuses: list[int] = []
    async with (
        provider(as_long_as_allowed) as upstream,
        proxy(tmp_path, upstream, BUDGET) as gateway,
    ):

        async def one() -> None:
            statuses.append((await gateway.post(CAPPED)).status)

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(one)
        account = gateway.account()
    assert set(statuses) == {200, 429}
    assert 900 < account.settled["total"] <= 1000
    assert account.settled["total"] == sum(9 + s.json()["max_tokens"] for s in upstream.seen)
    assert account.held == {}


async def test_an_entry_s_budget_holds_for_what_the_entry_serves(tmp_path: Path) -> None:
    entry = {"base_key_env": "OPENAI_API_KEY", "model": "gpt-4o", "max_tokens": 200}
    other = {"base_key_env": "OPENAI_API_KEY", "model": "gpt-4o-mini"}
    policy = {"providers": {"openai": [entry, other]}}
    script = answers(completion("x", (100, 100)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post(CAPPED)).status == 200
        assert (await gateway.post(CAPPED)).code == "insufficient_quota"
        assert (await gateway.post({**CAPPED, "model": "gpt-4o-mini"})).status == 200


async def test_a_rate_limit_says_when_to_come_back(tmp_path: Path) -> None:
    policy = {**POLICY, "rate_limit": {"rules": [{"requests": 2, "window": "1m"}]}}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        got = [await gateway.post() for _ in range(3)]
    assert [answer.status for answer in got] == [200, 200, 429]
    assert (got[2].code, len(upstream.seen)) == ("rate_limit_exceeded", 2)
    assert 50 <= int(got[2].headers["retry-after"]) <= 60


async def test_a_window_longer_than_a_minute_still_says_a_minute(tmp_path: Path) -> None:
    policy = {**POLICY, "rate_limit": {"rules": [{"tokens": 100, "window": "24h"}]}}
    script = answers(completion("x", (40, 50)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post(CAPPED)).status == 200
        answer = await gateway.post(CAPPED)
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "60"


async def test_a_request_that_no_window_can_hold_is_not_told_to_wait(tmp_path: Path) -> None:
    policy = {**POLICY, "rate_limit": {"rules": [{"tokens": 20, "window": "1m"}]}}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(CAPPED)
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert upstream.seen == []


async def test_a_token_rate_is_settled_by_usage(tmp_path: Path) -> None:
    policy = {**POLICY, "rate_limit": {"rules": [{"tokens": 200, "window": "1h"}]}}
    async with (
        provider(answers(completion("x", (5, 5)))) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
    ):
        got = [(await gateway.post({**HELLO, "max_tokens": 100})).status for _ in range(5)]
    assert got == [200] * 5


async def test_parallel_requests_are_counted_exactly(tmp_path: Path) -> None:
    policy = {**POLICY, "rate_limit": {"max_parallel": 2}}
    wait = trio.Event()
    async with (
        provider(streams(wait=wait)) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(gateway.post)
        nursery.start_soon(gateway.post)
        await until(lambda: upstream.running == 2, "two running requests")
        refused = await gateway.post()
        wait.set()
        await until(lambda: not gateway.account().parallel, "their end")
        assert (await gateway.post()).status == 200
    assert (refused.status, refused.code) == (429, "too_many_parallel")
    assert refused.headers["retry-after"] == "1"


async def test_a_changed_limit_holds_at_the_next_request(tmp_path: Path) -> None:
    def limited(requests: int) -> dict[str, Any]:
        return {**POLICY, "rate_limit": {"rules": [{"requests": requests, "window": "1h"}]}}

    async with provider() as upstream, proxy(tmp_path, upstream, limited(1)) as gateway:
        assert [(await gateway.post()).status for _ in range(2)] == [200, 429]
        gateway.tokens.put(gateway.token, json.dumps(limited(2)))
        status = 429
        with trio.fail_after(5):
            while status == 429:
                status = (await gateway.post()).status
        assert (await gateway.post()).status == 429


async def test_usage_survives_a_restart(tmp_path: Path) -> None:
    script = answers(completion("x", (480, 500)))
    async with provider(script) as upstream:
        async with proxy(tmp_path, upstream, BUDGET) as gateway:
            token = gateway.token
            assert (await gateway.post(CAPPED)).status == 200
        async with proxy(tmp_path, upstream, BUDGET) as gateway:
            assert (await gateway.post(CAPPED, token=token)).code == "insufficient_quota"


async def test_token_arrays_are_refused_where_rules_inspect_text(tmp_path: Path) -> None:
    policy = {**POLICY, "rules": [{"type": "keyword", "keywords": ["forbidden"]}]}
    document = {"model": "text-embedding-3-small", "input": [[1, 2, 3]]}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(document, "/v1/embeddings")
    assert (answer.status, answer.code) == (403, "content_blocked")
    assert upstream.seen == []


@pytest.mark.parametrize(
    "content",
    [
        "the FORBIDDEN word",
        [{"type": "text", "text": "forbidden"}],
        [{"type": "text", "text": "ok"}, {"type": "text", "text": "so forbidden!"}],
    ],
)
@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
async def test_a_rule_sees_every_role_and_shape(tmp_path: Path, content: Any, role: str) -> None:
    policy = {**POLICY, "rules": [{"name": "words", "type": "keyword", "keywords": ["forbidden"]}]}
    document = {
        "model": "gpt-4o",
        "messages": [{"role": role, "content": content}, {"role": "user", "content": "Go on"}],
    }
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(document)
        row = await gateway.row()
    assert (answer.status, answer.code) == (403, "content_blocked")
    assert "words" in answer.message
    assert "forbidden" not in (answer.message + json.dumps(row)).lower()
    assert upstream.seen == []
