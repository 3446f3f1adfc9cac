"""Long texts are read and inspected beside the loop, and what was found is told on it."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from threading import Event, Lock, get_ident
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.http import until
from tests.support.node import POLICY, proxy
from tests.support.upstream import answers, chunk, completion, delivered, provider
from tokenomics.config.settings import Webhook
from tokenomics.dialects.endpoints import ENDPOINTS
from tokenomics.errors import Refusal
from tokenomics.gateway.inspection import (
    FEW_BYTES,
    FEW_VALUES,
    INSPECT_THREAD_BYTES,
    LONG_BYTES,
    MAX_COMMAS,
    Tell,
    beside,
    read,
)
from tokenomics.gateway.output import Output
from tokenomics.net.heads import RequestHead
from tokenomics.policy.model import parse_policy
from tokenomics.policy.rules import Finding

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


class Jobs:
    """Work for threads that does not end before `gate` is opened."""

    def __init__(self) -> None:
        self.gate = Event()
        self.lock = Lock()
        self.running = self.most = self.done = 0

    def work(self) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait()
        with self.lock:
            self.running -= 1
            self.done += 1


@pytest.mark.parametrize("size", [INSPECT_THREAD_BYTES, LONG_BYTES + 1])
async def test_long_work_is_done_one_after_the_other(size: int) -> None:
    jobs = Jobs()
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(beside, size, jobs.work)
        await until(lambda: jobs.running > 0, "the first")
        await trio.testing.wait_all_tasks_blocked()
        jobs.gate.set()
    assert (jobs.most, jobs.done) == (1, 8)


async def test_what_is_short_does_not_wait_for_what_is_very_long() -> None:
    jobs, short = Jobs(), Jobs()
    short.gate.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside, LONG_BYTES + 1, jobs.work)
        await beside(LONG_BYTES, short.work)
        assert (short.done, jobs.done) == (1, 0)
        jobs.gate.set()


CHAT = ENDPOINTS["/chat/completions"]
HEAD = RequestHead("POST", CHAT.path, "", True, [], {}, True, None)


def body_with(values: str) -> bytes:
    message = '{"role": "user", "content": "Hi"}'
    return f'{{"model": "gpt-4o", "messages": [{message}], "metadata": [{values}]}}'.encode()


@pytest.mark.parametrize("value", ["1", "[]", "{}", '"a"'])
async def test_a_body_of_many_values_is_read_beside_the_loop(value: str) -> None:
    body = body_with(",".join([value] * max(FEW_VALUES, FEW_BYTES // 2)))
    seen: list[bool] = []

    async def other() -> None:
        seen.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        ask = await read(CHAT, body, HEAD)
        assert seen, "the loop went on meanwhile"
    assert len(ask.document["metadata"]) >= FEW_VALUES


async def test_no_garbage_is_looked_for_while_a_body_is_read() -> None:
    loop, threads = get_ident(), []

    def collecting(phase: str, _info: dict[str, int]) -> None:
        if phase == "start" and get_ident() != loop:
            threads.append(get_ident())

    gc.callbacks.append(collecting)
    try:
        await read(CHAT, body_with(",".join(["[]"] * 100_000)), HEAD)
    finally:
        gc.callbacks.remove(collecting)
    assert len(threads) < 10, "once a thousand lists without it"
    assert gc.isenabled()


async def test_a_body_of_more_values_than_anybody_sends_is_refused() -> None:
    with pytest.raises(Refusal, match=f"more than {MAX_COMMAS} values"):
        await read(CHAT, body_with("1," * MAX_COMMAS + "1"), HEAD)


def told_on(thread: int, told: list[list[Finding]]) -> Tell:
    def tell(findings: list[Finding]) -> None:
        assert get_ident() == thread, "only the loop may tell"
        told.append(findings)

    return tell


@pytest.mark.parametrize("text", [EMAIL, f"{LONG}{EMAIL}"], ids=["short", "long"])
@pytest.mark.parametrize("action", ["mask", "warn", "fail"])
async def test_what_an_event_holds_is_told_on_the_loop(action: str, text: str) -> None:
    told: list[list[Finding]] = []
    rules = parse_policy(json.dumps({**POLICY, "rules": [rule(action)]})).rules
    output = Output(rules, told_on(get_ident(), told))
    screens = output.stream("openai")
    events = chunk(text) + chunk("", "stop")
    if action == "fail":
        with pytest.raises(Refusal, match="answer blocked by rule 0"):
            await output.screened(screens, events)
    else:
        shown = await output.screened(screens, events) + screens.end()
        assert (EMAIL.encode() in shown) is (action == "warn")
    assert [finding.what for [finding] in told] == [("email",)]


async def test_a_long_event_is_screened_beside_the_loop() -> None:
    output = Output(parse_policy(json.dumps({**POLICY, "rules": [rule("mask")]})).rules, print)
    seen: list[bool] = []

    async def other() -> None:
        seen.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await output.screened(output.stream("openai"), chunk(LONG))
        assert seen, "the loop went on meanwhile"
