"""The other paths of the proxy: health, the CA, models, the webhook receiver, closed paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import Answer, ask
from tests.support.node import POLICY, Proxy, proxy
from tests.support.upstream import provider
from tokenomics.cli.https import Https
from tokenomics.config.settings import Receiver, Remote, Tls
from tokenomics.events import signature
from tokenomics.tokens import Secret

NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/health", b'{"status":"ok"}'), ("/ping", b"."), ("/", b".")],
)
async def test_liveness(tmp_path: Path, method: str, path: str, body: bytes) -> None:
    async with proxy(tmp_path, NOWHERE) as gateway:
        answer = await gateway.get(path, method=method)
    assert (answer.status, answer.body) == (200, body if method == "GET" else b"")
    assert answer.headers["content-length"] == str(len(body))


async def test_ready_without_a_centre(tmp_path: Path) -> None:
    async with proxy(tmp_path, NOWHERE) as gateway:
        answer = await gateway.get("/ready")
    assert (answer.status, answer.json()["status"]) == (200, "ready")


async def test_not_ready_before_the_first_sync(tmp_path: Path) -> None:
    remote = Remote(url=NOWHERE, api_key=Secret("key"))
    async with proxy(tmp_path, NOWHERE, remote=remote) as gateway:
        ready, health = await gateway.get("/ready"), await gateway.get("/health")
    assert (ready.status, health.status) == (503, 200)
    assert "not synced" in ready.json()["problems"][0]


async def test_the_ca_is_served_if_there_is_one(tmp_path: Path) -> None:
    https = Https(Tls(cert_dir=tmp_path / "certs"))
    async with proxy(tmp_path, NOWHERE, https=https) as gateway:
        answer = await gateway.get("/ca.crt")
    assert (answer.status, answer.body) == (200, (tmp_path / "certs" / "ca.crt").read_bytes())


async def test_there_is_no_ca_without_one(tmp_path: Path) -> None:
    async with proxy(tmp_path, NOWHERE) as gateway:
        assert (await gateway.get("/ca.crt")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/files", 403, "endpoint_not_allowed"),
        ("GET", "/v1/files", 403, "endpoint_not_allowed"),
        ("POST", "/v1/chat/completions/../files", 403, "endpoint_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/gpt-4o", 405, "method_not_allowed"),
        ("GET", "/v1/models/unknown", 404, "not_found"),
        ("GET", "/favicon.ico", 404, "not_found"),
        ("POST", "/health", 404, "not_found"),
        ("POST", "/v1/webhook", 403, "endpoint_not_allowed"),
    ],
)
async def test_a_closed_path_says_why(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        headers = [("authorization", f"Bearer {gateway.token}")]
        answer = await ask(gateway.port, method, path, headers)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["x-request-id"].startswith("req_")
    assert upstream.seen == []


@pytest.mark.parametrize("path", ["/v1/models", "/v1/files"])
async def test_other_paths_want_a_token_too(tmp_path: Path, path: str) -> None:
    async with proxy(tmp_path, NOWHERE) as gateway:
        answer = await gateway.get(path)
    assert (answer.status, answer.code) == (401, "missing_token")


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/v1/models", "/v1/models/"])
async def test_the_model_list_is_what_the_token_may_use(tmp_path: Path, path: str) -> None:
    policy = {
        "providers": {
            "openai": [{"model": "gpt-4o"}, {"model_regex": "^o3"}],
            "groq": [{"model": "llama-3"}],
        }
    }
    rows = {"openai": {"upstream_url": NOWHERE, "models": ["o3-mini", "gpt-3.5", "gpt-4o"]}}
    async with proxy(tmp_path, NOWHERE, policy, providers=rows) as gateway:
        headers = [("authorization", f"Bearer {gateway.token}")]
        answer = await gateway.get(path, headers)
        one = await gateway.get("/v1/models/o3-mini", headers)
    assert answer.json()["object"] == "list"
    found = {row["id"]: row["owned_by"] for row in answer.json()["data"]}
    assert found == {"gpt-4o": "openai", "llama-3": "groq", "o3-mini": "openai"}
    assert one.json() == {"id": "o3-mini", "object": "model", "created": 0, "owned_by": "openai"}


RECEIVER = Receiver(enabled=True, secret=Secret("shared"), signing_key=Secret("signs"))
EVENT = json.dumps({"id": "evt_1", "type": "token.updated", "data": {}}).encode()


async def _push(
    gateway: Proxy,
    body: bytes = EVENT,
    *,
    secret: str | None = "shared",
    key: str | None = "signs",
    method: str = "POST",
) -> Answer:
    headers = [("x-webhook-secret", secret)] if secret is not None else []
    headers += [("x-webhook-signature", signature(key, body))] if key is not None else []
    return await ask(gateway.port, method, "/v1/webhook", headers, body)


@pytest.mark.parametrize(
    ("changes", "status", "answer"),
    [
        ({}, 200, {"status": "accepted"}),
        (
            {"body": b'{"type":"rule.mask"}'},
            200,
            {"status": "ignored", "reason": "not a token event"},
        ),
        ({"body": b"{"}, 400, {"error": "invalid json"}),
        ({"body": b"{}"}, 400, {"error": "invalid json"}),
        ({"secret": "wrong"}, 401, {"error": "unauthorized"}),
        ({"secret": None}, 401, {"error": "unauthorized"}),
        ({"key": "wrong"}, 403, {"error": "invalid signature"}),
        ({"key": None}, 403, {"error": "invalid signature"}),
        ({"method": "PUT"}, 405, {"error": "method not allowed"}),
    ],
)
async def test_the_webhook_receiver_answers_as_the_original(
    tmp_path: Path, changes: Mapping[str, Any], status: int, answer: Any
) -> None:
    async with proxy(tmp_path, NOWHERE, receiver=RECEIVER) as gateway:
        got = await _push(gateway, **changes)
    assert (got.status, got.json()) == (status, answer)


async def test_a_receiver_that_is_off_is_no_path(tmp_path: Path) -> None:
    async with proxy(tmp_path, NOWHERE, POLICY) as gateway:
        answer = await _push(gateway)
    assert (answer.status, answer.code) == (401, "missing_token")


@pytest.mark.parametrize(
    ("path", "headers", "status", "kind"),
    [
        ("/v1/messages", [], 400, "invalid_request_error"),
        ("/v1/messages/count_tokens", [], 400, "invalid_request_error"),
        ("/v1/messages/batches", [], 403, "permission_error"),
        ("/v1/files", [("anthropic-version", "2023-06-01")], 403, "permission_error"),
    ],
)
async def test_errors_have_the_shape_that_was_called(
    tmp_path: Path, path: str, headers: list[tuple[str, str]], status: int, kind: str
) -> None:
    async with proxy(tmp_path, NOWHERE) as gateway:
        answer = await gateway.post({"model": 5}, path, headers)
    body = answer.json()
    assert (answer.status, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert set(body["error"]) == {"type", "message"}


async def test_models_have_the_shape_of_who_asks(tmp_path: Path) -> None:
    claude = [("anthropic-version", "2023-06-01")]
    async with proxy(tmp_path, NOWHERE, {**POLICY, "models": ["m-1", "m-2"]}) as gateway:
        sent = [("authorization", f"Bearer {gateway.token}")]
        listed = (await gateway.get("/v1/models", [*sent, *claude])).json()
        one = (await gateway.get("/v1/models/m-2", [*sent, *claude])).json()
    assert [model["id"] for model in listed["data"]] == ["m-1", "m-2"]
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "m-1", "m-2")
    assert (one["type"], one["id"]) == ("model", "m-2")
