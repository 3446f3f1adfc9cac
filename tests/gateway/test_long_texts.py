"""Long texts are inspected beside the loop, and what was found is told on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.http import until
from tests.support.node import POLICY, proxy
from tests.support.upstream import answers, completion, delivered, provider
from tokenomics.config.settings import Webhook
from tokenomics.gateway.inspection import INSPECT_THREAD_BYTES

EMAIL = "jane.doe@example.org"
LONG = "some words " * (INSPECT_THREAD_BYTES // 10)


def rule(action: str) -> dict[str, Any]:
    return {"name": "pii", "type": "pii", "detect": ["email"], "action": action, "scope": "both"}


@pytest.mark.parametrize("action", ["mask", "warn", "fail"])
@pytest.mark.parametrize("where", ["input", "output"])
async def test_what_a_long_text_holds_is_told(tmp_path: Path, where: str, action: str) -> None:
    text = f"{LONG} {EMAIL}"
    script = answers(completion(text if where == "output" else "Hi"))
    said = [{"role": "user", "content": text if where == "input" else "Hi"}]
    policy = {**POLICY, "rules": [rule(action)]}
    async with provider(answers(b"{}")) as sink, provider(script) as upstream:
        hook = Webhook(url=sink.url, events=("rule.*",))
        async with proxy(tmp_path, upstream, policy, webhooks=[hook]) as gateway:
            answer = await gateway.post({"model": "gpt-4o", "messages": said})
            row = await gateway.row()
            await until(lambda: sink.seen, "an event")
            log = gateway.said.text
    assert row["rules"] == [f"pii:{action}"]
    assert answer.status == (403 if action == "fail" else 200)
    names = {"mask": "rule.mask", "warn": "rule.warning", "fail": "rule.violation"}
    [event] = delivered(sink.seen)
    assert event["type"] == names[action]
    assert event["data"].get("direction", "input") == where
    assert "failed" not in log
