"""How limits are told to clients: header lines of every answer, and refusals that SDKs obey."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import Answer, until
from tests.support.node import HELLO, POLICY, Proxy, proxy
from tests.support.upstream import (
    Step,
    answers,
    breaks_off,
    chunk,
    completion,
    fails,
    hangs,
    provider,
    streams,
)
from tokenomics.usage.clock import Clock

ECHO = "http://127.0.0.1:1"  # no provider of the tests: the built-in one answers
STREAM = {**HELLO, "stream": True}
# The provider's own, of the account behind its key.
ACCOUNT = [
    (b"x-ratelimit-limit-requests", b"777"),
    (b"x-ratelimit-remaining-tokens", b"777"),
    (b"x-ratelimit-reset-project-tokens", b"777s"),
    (b"anthropic-ratelimit-requests-limit", b"777"),
    (b"anthropic-ratelimit-input-tokens-remaining", b"777"),
]
# Each dialect's path and a body.
DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": HELLO["messages"], "max_tokens": 20}),
    "completions": ("/v1/completions", {"prompt": "Hello", "max_tokens": 20}),
    "responses": ("/v1/responses", {"input": "Hello", "max_output_tokens": 20}),
    "messages": ("/v1/messages", {"messages": HELLO["messages"], "max_tokens": 20}),
}
each_dialect = pytest.mark.parametrize("name", DIALECTS)


class Still(Clock):
    """A clock that is moved by hand."""

    def __init__(self, now: float) -> None:
        super().__init__(0)
        self.now = now

    def steady(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def stop_clock(gateway: Proxy, now: float) -> Still:
    """Let a proxy count by a clock that stands still."""
    app: Any = gateway.server.app
    app.gateway.usage.clock = clock = Still(now)
    return clock


def rate(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**POLICY, "rate_limit": {"rules": list(rules)}, **more}


def told(answer: Answer) -> dict[str, str]:
    """What an answer's header lines say of limits."""
    return {name: value for name, value in answer.headers.items() if "ratelimit" in name}


async def ask_echo(gateway: Proxy, name: str, **more: Any) -> Answer:
    path, body = DIALECTS[name]
    return await gateway.post({"model": "echo-1", **body, **more}, path)


# Every answer


@pytest.mark.parametrize(
    ("step", "body", "status"),
    [
        (answers(headers=ACCOUNT), HELLO, 200),
        (streams(), STREAM, 200),
        (breaks_off(chunk("Hel")), STREAM, 200),
        (fails(400, headers=ACCOUNT), HELLO, 400),
        (fails(429, headers=ACCOUNT), HELLO, 429),
        (fails(500, headers=ACCOUNT), STREAM, 500),
    ],
    ids=["whole", "stream", "broken stream", "its 400", "its 429", "its 500"],
)
async def test_an_answer_says_how_our_limits_stand_not_the_provider_s(
    tmp_path: Path, step: Step, body: dict[str, Any], status: int
) -> None:
    policy = rate({"requests": 9, "tokens": 6000, "window": "90s"})
    async with provider(step) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({**body, "max_tokens": 100})
    found = told(answer)
    assert answer.status == status
    assert 5800 < int(found.pop("x-ratelimit-remaining-tokens")) <= 5900, "what is held counts"
    assert found == {
        "x-ratelimit-limit-requests": "9",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-reset-requests": "1m30s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-reset-tokens": "1m30s",
    }


@pytest.mark.parametrize("step", [answers(headers=ACCOUNT), fails(429, headers=ACCOUNT)])
async def test_without_limits_there_is_nothing_to_tell(tmp_path: Path, step: Step) -> None:
    async with provider(step) as upstream, proxy(tmp_path, upstream) as gateway:
        assert told(await gateway.post()) == {}


async def test_the_tightest_limit_of_a_unit_is_told(tmp_path: Path) -> None:
    rules = [{"requests": 100, "window": "1h"}, {"requests": 3, "window": "10s"}]
    policy = rate(*rules, {"tokens": 10**6, "window": "1m"}, max_tokens=5000)
    async with provider(answers()) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        found = told(await gateway.post({**HELLO, "max_tokens": 100}))
    assert (found["x-ratelimit-limit-requests"], found["x-ratelimit-reset-requests"]) == (
        "3",
        "10s",
    )
    assert found["x-ratelimit-limit-tokens"] == "5000"
    assert "x-ratelimit-reset-tokens" not in found  # a total never begins anew


@pytest.mark.parametrize("stream", [False, True])
@each_dialect
async def test_anthropic_s_names_are_sent_where_its_dialect_is_spoken(
    tmp_path: Path, name: str, stream: bool
) -> None:
    policy = rate({"requests": 5, "tokens": 9000, "window": "1h"}) | {"default_provider": "echo"}
    async with proxy(tmp_path, ECHO, policy, providers={}) as gateway:
        before = time.time()
        answer = await ask_echo(gateway, name, stream=stream)
    found = told(answer)
    assert (answer.status, found["x-ratelimit-remaining-requests"]) == (200, "4")
    own = {key: value for key, value in found.items() if key.startswith("anthropic-")}
    if name != "messages":
        assert own == {}
        return
    for unit in ("requests", "tokens"):
        for what in ("limit", "remaining"):
            assert own[f"anthropic-ratelimit-{unit}-{what}"] == found[f"x-ratelimit-{what}-{unit}"]
        reset = datetime.fromisoformat(own[f"anthropic-ratelimit-{unit}-reset"]).timestamp()
        assert before + 3599 <= reset <= time.time() + 3601


# Rates


@pytest.mark.parametrize(
    ("later", "retry_after", "reset"),
    [(0, "40", "40s"), (0.5, "40", "40s"), (1, "39", "39s"), (39, "1", "1s"), (39.9, "1", "100ms")],
)
async def test_retry_after_is_right_to_the_second(
    tmp_path: Path, later: float, retry_after: str, reset: str
) -> None:
    policy = rate({"requests": 1, "window": "40s"})
    async with provider(answers()) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        clock = stop_clock(gateway, 2**30)
        assert (await gateway.post()).status == 200
        clock.now += later
        refused = await gateway.post()
        clock.now += int(retry_after)
        assert (await gateway.post()).status == 200, "it passes when it was told to come back"
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == retry_after
    assert told(refused) == {
        "x-ratelimit-limit-requests": "1",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": reset,
    }


async def test_a_second_too_early_is_too_early(tmp_path: Path) -> None:
    policy = rate({"requests": 2, "window": "40s"})
    async with provider(answers()) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        clock = stop_clock(gateway, 2**30)
        await gateway.post()
        clock.now += 10
        await gateway.post()
        seconds = int((await gateway.post()).headers["retry-after"])
        clock.now += seconds - 1
        early = await gateway.post()
        clock.now += 1
        late = [await gateway.post(), await gateway.post()]
    assert (seconds, early.status, early.headers["retry-after"]) == (30, 429, "1")
    assert [answer.status for answer in late] == [200, 429]
    assert late[1].headers["retry-after"] == "10", "of the second one"


async def test_a_fixed_window_ends_for_all_at_once(tmp_path: Path) -> None:
    policy = rate({"requests": 1, "window": "30s", "strategy": "fixed"})
    async with provider(answers()) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        clock = stop_clock(gateway, 30 * 2**25 + 12)
        await gateway.post()
        refused = await gateway.post()
        clock.now += 18
        assert (await gateway.post()).status == 200
    assert refused.headers["retry-after"] == "18"


async def test_nobody_is_told_to_sleep_longer_than_a_minute(tmp_path: Path) -> None:
    policy = rate({"requests": 1, "window": "2h"})
    async with provider(answers()) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        stop_clock(gateway, 2**30)
        await gateway.post()
        refused = await gateway.post()
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["x-ratelimit-reset-requests"] == "2h0m0s", "the whole truth"


async def test_who_waits_for_running_requests_comes_back_soon(tmp_path: Path) -> None:
    policy = {**POLICY, "rate_limit": {"max_parallel": 1}}
    async with (
        provider(hangs) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
        gateway.posting(),
    ):
        await until(lambda: upstream.running, "the call")
        refused = await gateway.post()
    assert (refused.status, refused.code) == (429, "too_many_parallel")
    assert (refused.headers["retry-after"], told(refused)) == ("1", {})


# Budgets


# Friday, 2027-01-15 10:20:30 in UTC, and when each period that holds it ends.
FRIDAY = 1_800_008_430.0
PERIODS = {
    "hour": ("UTC", "2027-01-15T11:00:00Z"),
    "day": ("Asia/Kolkata", "2027-01-15T18:30:00Z"),
    "week": ("UTC", "2027-01-18T00:00:00Z"),
    "month": ("America/New_York", "2027-02-01T05:00:00Z"),
}


@pytest.mark.parametrize("period", PERIODS)
async def test_a_spent_period_says_when_it_begins_anew_and_does(
    tmp_path: Path, period: str
) -> None:
    zone, when = PERIODS[period]
    policy = {**POLICY, "budget": {"tokens": 60, "period": period, "timezone": zone}}
    body = {**HELLO, "max_tokens": 20}
    script = answers(completion(usage=(20, 40)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        clock = stop_clock(gateway, FRIDAY)
        assert (await gateway.post(body)).status == 200
        refused = await gateway.post(body)
        clock.now = datetime.fromisoformat(when).timestamp() - 0.001
        assert (await gateway.post(body)).status == 429
        clock.now += 0.001
        assert (await gateway.post(body)).status == 200
    assert (refused.status, refused.code) == (429, "insufficient_quota")
    assert refused.headers["x-tokenomics-reset"] == when
    assert when in refused.message
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers


async def test_a_spent_total_has_no_time_to_tell(tmp_path: Path) -> None:
    script = answers(completion(usage=(20, 80)))
    policy = {**POLICY, "max_tokens": 100}
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post({**HELLO, "max_tokens": 20})
        refused = await gateway.post({**HELLO, "max_tokens": 20})
    assert refused.code == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert not {"retry-after", "x-tokenomics-reset"} & refused.headers.keys()
    assert "never begins anew" in refused.message


async def test_of_several_budgets_the_spent_one_is_told(
    tmp_path: Path,
) -> None:
    budgets = [{"tokens": 60, "period": "hour"}, {"tokens": 500, "period": "day"}]
    policy = {**POLICY, "budget": budgets}
    script = answers(completion(usage=(20, 40)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        stop_clock(gateway, FRIDAY)
        assert (await gateway.post({**HELLO, "max_tokens": 20})).status == 200
        refused = await gateway.post({**HELLO, "max_tokens": 20})
    assert "'hour'" in refused.message
    assert refused.headers["x-tokenomics-reset"] == PERIODS["hour"][1]


# Each dialect's errors


@pytest.mark.parametrize(
    ("policy", "code", "kind"),
    [
        ({"max_tokens": 10}, "insufficient_quota", "insufficient_quota"),
        (
            {"rate_limit": {"rules": [{"requests": 1, "window": "1m"}]}},
            "rate_limit_exceeded",
            "rate_limit_error",
        ),
    ],
    ids=["budget", "rate"],
)
@pytest.mark.parametrize("stream", [False, True])
@each_dialect
async def test_a_refusal_has_the_shape_of_its_dialect(
    tmp_path: Path, name: str, stream: bool, policy: dict[str, Any], code: str, kind: str
) -> None:
    policy = {"default_provider": "echo", **policy}
    async with proxy(tmp_path, ECHO, policy, providers={}) as gateway:
        await ask_echo(gateway, name)
        refused = await ask_echo(gateway, name, stream=stream)
    assert (refused.status, refused.headers["content-type"]) == (429, "application/json")
    document = json.loads(refused.body)
    if name == "messages":
        assert set(document) == {"type", "error", "request_id"}
        assert (document["type"], document["error"]["type"]) == ("error", "rate_limit_error")
        assert document["request_id"] == refused.headers["x-request-id"]
    else:
        assert set(document) == {"error"}
        assert (document["error"]["type"], document["error"]["code"]) == (kind, code)
    assert document["error"]["message"]
    assert ("x-should-retry" in refused.headers) == (code == "insufficient_quota")
    assert ("retry-after" in refused.headers) == (code == "rate_limit_exceeded")
