"""Every endpoint, direction, shape and action: what a rule says holds wherever the text stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import Answer, ask
from tests.support.node import Proxy, proxy
from tests.support.shapes import INPUTS, OUTPUTS, AnswerShape, Shape
from tests.support.upstream import answers, provider

EMAIL = "jane.doe@example.org"
ACTIONS = ("fail", "warn", "log", "mask")
HARMLESS: dict[str, Any] = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
    "content": [{"type": "text", "text": "Hi"}],
}


def policy(name: str, action: str, scope: str) -> dict[str, Any]:
    rule = {"name": "pii", "type": "pii", "detect": ["email"], "action": action, "scope": scope}
    return {"default_provider": name, "rules": [rule], "endpoints": ["/v1/batches*", "/v1/files"]}


def providers(url: str) -> dict[str, Any]:
    return {
        "openai": {"upstream_url": url, "api_key_env": "OPENAI_API_KEY"},
        "anthropic": {"upstream_url": url, "auth_scheme": "none"},
    }


async def send(gateway: Proxy, shape: Shape | AnswerShape, document: Any) -> Answer:
    headers = [("authorization", f"Bearer {gateway.token}"), *shape.headers]
    if isinstance(document, bytes):
        return await ask(gateway.port, "POST", shape.path, headers, document)
    return await gateway.post(document, shape.path)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", INPUTS)
async def test_input(tmp_path: Path, name: str, action: str) -> None:
    shape = INPUTS[name]
    async with (
        provider(answers(HARMLESS)) as upstream,
        proxy(
            tmp_path,
            upstream,
            policy(shape.provider, action, "input"),
            providers=providers(upstream.url),
        ) as gateway,
    ):
        answer = await send(gateway, shape, shape.request(f"Write to {EMAIL} at once"))
        row = await gateway.row()
        written = gateway.said.requests.getvalue() + gateway.said.text
    assert row["rules"] == [f"pii:{action}"]
    assert EMAIL not in written
    if action == "fail":
        assert (answer.status, row["code"]) == (403, "content_blocked")
        assert upstream.seen == []
        assert EMAIL.encode() not in answer.body
        return
    assert answer.status == 200, answer.body
    sent = upstream.last.body
    assert (EMAIL.encode() in sent) == (action != "mask")
    if action == "mask":
        assert b"Write to [REDACTED] at once" in sent


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", OUTPUTS)
async def test_output(tmp_path: Path, name: str, action: str) -> None:
    shape = OUTPUTS[name]
    async with (
        provider(shape.step(f"Write to {EMAIL} at once")) as upstream,
        proxy(
            tmp_path,
            upstream,
            policy(shape.provider, action, "output"),
            providers=providers(upstream.url),
        ) as gateway,
    ):
        answer = await send(gateway, shape, shape.request)
        row = await gateway.row()
        written = gateway.said.requests.getvalue() + gateway.said.text
    assert len(upstream.seen) == 1
    assert row["rules"] == [f"pii:{action}"]
    assert EMAIL not in written
    seen = _read(answer)
    if action == "fail":
        assert row["code"] == "content_blocked"
        assert EMAIL not in seen
        assert "jane" not in seen
        if shape.ends:
            assert (answer.status, answer.whole) == (200, False)
            assert shape.ends not in answer.events[-1]
            assert "answer blocked by rule 0" in answer.events[-1]
        else:
            assert answer.status == 403
        return
    assert answer.whole
    assert (EMAIL in seen) == (action != "mask")
    if action == "mask":
        assert "[REDACTED] at once" in seen
    if shape.ends:
        assert shape.ends in answer.events[-1]


def _read(answer: Answer) -> str:
    """All that a client could put together: the body, and the deltas of a stream joined."""
    text = answer.body.decode()
    out = [text]
    for data in answer.events:
        if data.startswith("{"):
            out.append(_deltas(json.loads(data)))
    return text + "\n" + "".join(out[1:])


def _deltas(document: Any) -> str:
    if document.get("choices"):
        choice = document["choices"][0]
        delta = choice.get("delta", {})
        calls = delta.get("tool_calls") or [{}]
        said = [choice.get("text"), delta.get("content"), delta.get("reasoning_content")]
        said.append(calls[0].get("function", {}).get("arguments"))
        return "".join(text for text in said if text)
    delta = document.get("delta", "")
    if isinstance(delta, dict):
        parts = [delta.get(key) for key in ("text", "thinking", "partial_json")]
        return "".join(part for part in parts if part)
    return str(delta)
