"""What is written down: the request log, events, memory. Never content, never keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import until
from tests.support.node import HELLO, POLICY, PROVIDER_KEY, proxy
from tests.support.upstream import (
    Seen,
    Upstream,
    answers,
    completion,
    delivered,
    fails,
    provider,
    streams,
)
from tokenomics.config.settings import Webhook
from tokenomics.tokens import Secret

SSN = "536-22-1234"


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


async def test_a_row_tells_all_but_content_and_keys(tmp_path: Path) -> None:
    policy = {
        **POLICY,
        "metadata": {"team": "tests"},
        "rules": [{"name": "pii", "type": "pii", "detect": ["ssn"], "action": "warn"}],
    }
    script = answers(completion("the secret answer"), headers=[(b"x-request-id", b"req_up")])
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(said(f"my number is {SSN}"))
        row = await gateway.row()
        everything = gateway.said.requests.getvalue() + gateway.said.text
        digits = gateway.tokens.hash(gateway.token)
        token = gateway.token
    assert row.pop("time")
    assert row.pop("duration_ms") >= row.pop("upstream_ms") >= 0
    assert row == {
        "request_id": answer.headers["x-request-id"],
        "path": "/v1/chat/completions",
        "status": 200,
        "token_hash": digits[:16],
        "model": "gpt-4o",
        "provider": "openai",
        "upstream_id": "req_up",
        "rules": ["pii:warn"],
        "input_tokens": 7,
        "output_tokens": 3,
        "metadata": {"team": "tests"},
    }
    for secret in (SSN, "my number", "secret answer", PROVIDER_KEY, token, digits):
        assert secret not in everything


async def test_each_request_has_one_row_whatever_became_of_it(tmp_path: Path) -> None:
    async with provider(answers(), fails(500)) as upstream, proxy(tmp_path, upstream) as gateway:
        for document, token in ((HELLO, None), (b"{", None), (HELLO, "tkn_x"), (HELLO, None)):
            await gateway.post(document, token=token)
        await gateway.row(of=4)
        rows = gateway.said.rows
    assert [row["status"] for row in rows] == [200, 400, 401, 500]
    assert len({row["request_id"] for row in rows}) == 4


def _hook(target: Upstream, *events: str) -> Webhook:
    return Webhook(
        url=target.url + "/hook?a=1",
        secret=Secret("shared"),
        signing_key=Secret("signs"),
        events=events,
    )


def _check_signatures(seen: Seen) -> dict[str, Any]:
    """The event of a delivery whose headers are right, by the standards' own recipes."""
    document: dict[str, Any] = seen.json()
    fields = dict(seen.headers)
    digest = hmac.new(b"signs", seen.body, hashlib.sha256)
    assert fields["x-webhook-signature"] == "sha256=" + digest.hexdigest()
    assert fields["x-webhook-secret"] == "shared"
    assert fields["x-event-id"] == fields["webhook-id"] == document["id"]
    assert fields["x-event-type"] == document["type"]
    signed = f"{document['id']}.{fields['webhook-timestamp']}.".encode() + seen.body
    standard = base64.b64encode(hmac.digest(b"signs", signed, "sha256")).decode()
    assert fields["webhook-signature"] == "v1," + standard
    assert fields["content-type"] == "application/json"
    assert (seen.method, seen.path, seen.query) == ("POST", "/hook", "a=1")
    return document


async def test_events_are_posted_with_signatures_that_hold(tmp_path: Path) -> None:
    policy = {
        **POLICY,
        "max_tokens": 300,
        "rate_limit": {"rules": [{"requests": 4, "window": "1h"}]},
        "rules": [
            {"name": "mask", "type": "pii", "detect": ["ssn"], "action": "mask"},
            {"name": "warn", "type": "keyword", "keywords": ["careful"], "action": "warn"},
            {"name": "fail", "type": "keyword", "keywords": ["forbidden"], "action": "fail"},
        ],
    }
    async with provider() as target, provider(answers(completion("x", (100, 150)))) as upstream:
        hooks = [_hook(target, "rule.*", "request.completed", "budget.*", "rate.*")]
        async with proxy(tmp_path, upstream, policy, webhooks=hooks) as gateway:
            await gateway.post(said(f"careful with {SSN}", max_tokens=20))
            await gateway.post(said("forbidden", max_tokens=20))
            await gateway.post(said("x" * 300, max_tokens=20))
            wanted = {
                "rule.mask",
                "rule.warning",
                "rule.violation",
                "request.completed",
                "budget.update",
                "budget.exceeded",
            }
            await until(lambda: {s.json()["type"] for s in target.seen} >= wanted, "all events")
            digits = gateway.tokens.hash(gateway.token)[:16]
            events = {e["type"]: e["data"] for e in map(_check_signatures, target.seen)}
    assert set(events) == wanted
    assert all(data["token_hash"] == digits for data in events.values())
    assert events["request.completed"] == {
        "token_hash": digits,
        "model": "gpt-4o",
        "stream": False,
        "status_code": 200,
        "input_tokens": 100,
        "output_tokens": 150,
        "error": False,
    }
    assert events["rule.mask"]["rule_name"] == "mask"
    assert events["budget.exceeded"]["limit"] == 300
    assert not any(SSN in s.body.decode() or "forbidden" in s.body.decode() for s in target.seen)


async def test_server_start_and_stop_are_events(tmp_path: Path) -> None:
    async with provider() as target:
        hooks = [_hook(target, "server.*")]
        async with proxy(tmp_path, "http://127.0.0.1:1", webhooks=hooks):
            await until(lambda: target.seen, "server.start")
        await until(lambda: len(delivered(target.seen)) == 2, "server.stop")
    types = [event["type"] for event in delivered(target.seen)]
    assert types == ["server.start", "server.stop"]


async def test_a_delivery_that_fails_is_tried_again_in_order(tmp_path: Path) -> None:
    async with provider(fails(503), answers()) as target, provider() as upstream:
        hooks = [_hook(target, "request.completed")]
        async with proxy(tmp_path, upstream, webhooks=hooks) as gateway:
            await gateway.post()
            await gateway.post({**HELLO, "model": "gpt-4o-mini"})
            await until(lambda: len(target.seen) == 3, "three deliveries")
    first, again, second = (s.json() for s in target.seen)
    assert (first["id"], first["data"]["model"]) == (again["id"], "gpt-4o")
    assert second["data"]["model"] == "gpt-4o-mini"


async def test_a_target_that_hangs_slows_no_request_and_no_other_target(tmp_path: Path) -> None:
    wait = trio.Event()
    async with provider(streams(wait=wait)) as slow, provider() as quick, provider() as upstream:
        hooks = [_hook(slow), _hook(quick, "request.completed")]
        async with proxy(tmp_path, upstream, webhooks=hooks) as gateway:
            for _ in range(5):
                assert (await gateway.post()).status == 200
            await until(lambda: len(quick.seen) == 5, "five deliveries")
            assert len(slow.seen) == 1
            wait.set()


@pytest.mark.parametrize("stream", [False, True])
async def test_memory_is_written_masked(tmp_path: Path, stream: bool) -> None:
    policy = {
        **POLICY,
        "rules": [{"type": "pii", "detect": ["ssn"], "action": "mask"}],
        "prompts": [{"role": "system", "content": "An injected prompt"}],
        "memory": {
            "enabled": True,
            "file_path": str(tmp_path / "memory"),
            "file_name": "{token_hash}.md",
        },
    }
    script = streams() if stream else answers()
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post(said(f"my number is {SSN}", stream=stream))
        digits = gateway.tokens.hash(gateway.token)[:16]
        path = tmp_path / "memory" / f"{digits}.md"
        await until(lambda: path.exists() and "assistant" in path.read_text(), "the memory")
    text = path.read_text()
    assert "my number is [REDACTED]" in text
    assert "Hello!" in text
    assert SSN not in text
    assert "An injected prompt" not in text
    assert f" | {digits} | user | gpt-4o\n" in text
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_conversation_is_remembered_once(tmp_path: Path) -> None:
    path = tmp_path / "memory.md"
    policy = {**POLICY, "memory": {"enabled": True, "file_path": str(path)}}
    turns = [
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "second question"},
    ]
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post({"model": "gpt-4o", "messages": turns[:1]})
        await gateway.post({"model": "gpt-4o", "messages": turns})
        await until(lambda: path.exists() and path.read_text().count("assistant") == 2, "memory")
    text = path.read_text()
    assert (text.count("first question"), text.count("second question")) == (1, 1)


async def test_a_failed_answer_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "memory.md"
    policy = {**POLICY, "memory": {"enabled": True, "file_path": str(path)}}
    async with (
        provider(fails(400), answers(completion("the good one"))) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
    ):
        await gateway.post(said("the bad one"))
        await gateway.post(said("again"))
        await until(lambda: path.exists() and "the good one" in path.read_text(), "memory")
    assert "the bad one" not in path.read_text()


async def test_memory_that_cannot_be_written_fails_no_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    policy = {**POLICY, "memory": {"enabled": True, "file_path": str(tmp_path / "file" / "m.md")}}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post()).status == 200
        await until(lambda: "memory:" in gateway.said.text, "the complaint")
        assert (await gateway.post()).status == 200
    complaint = next(line for line in gateway.said.text.splitlines() if "memory:" in line)
    assert json.loads(complaint)["level"] == "error"
