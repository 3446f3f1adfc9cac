"""Providers and keys that are left alone for a while, and several keys. On a mock clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.clocks import hurried
from tests.support.http import until
from tests.support.node import ENV, HELLO, PROVIDER_KEY, Proxy, proxy
from tests.support.upstream import (
    Step,
    Upstream,
    answers,
    breaks_off,
    chunk,
    delivered,
    event,
    fails,
    hangs,
    provider,
    refuses_to_speak,
    streams,
)
from tokenomics.config.settings import Seconds, Webhook
from tokenomics.config.settings import Upstream as UpstreamSettings
from tokenomics.net.connection import Reply, Request
from tokenomics.net.server import bind
from tokenomics.policy.breaker import FAILURES, MAX_OPEN_SECONDS, OPEN_SECONDS, REFUSED_SECONDS

STREAM = {**HELLO, "stream": True}
SECOND = "sk-" + "the-second-key"
TWO_KEYS = {**ENV, "OPENAI_API_KEY_2": SECOND}
KEYS: list[dict[str, Any]] = [{"env": "OPENAI_API_KEY"}, {"env": "OPENAI_API_KEY_2"}]


@pytest.fixture
def clock() -> MockClock:
    """Waits pass at once, but only after sockets had a moment to speak."""
    return MockClock(autojump_threshold=0.002)


def openai(**more: Any) -> dict[str, Any]:
    """A policy that takes the provider's keys."""
    return {"default_provider": "openai", **more}


def by_key(upstream: Upstream) -> list[str]:
    """The key of each request that came."""
    return [seen.get("authorization")[0].removeprefix("Bearer ") for seen in upstream.seen]


def for_key(key: str, step: Step, otherwise: Step | None = None) -> Step:
    """Does so to requests with a key, and answers the others."""
    other = otherwise or answers()

    async def chosen(request: Request, reply: Reply) -> None:
        sent = request.head.get(b"authorization") or ""
        await (step if sent.endswith(key) else other)(request, reply)

    return chosen


async def fail(gateway: Proxy, times: int = FAILURES, document: Any = None) -> None:
    for _ in range(times):
        await gateway.post(document)


@pytest.mark.parametrize(
    ("step", "reason", "stream"),
    [
        (fails(500), "status 500", False),
        (fails(529), "status 529", False),
        (refuses_to_speak, "broke off", False),
        (answers(b"no JSON"), "not JSON", False),
        (hangs, "did not answer", False),
        (streams(chunk("Hel")), "upstream_invalid", True),
        (breaks_off(chunk("Hel")), "upstream_invalid", True),
        (streams(chunk("Hel"), event({"error": {"message": "overloaded"}})), "invalid", True),
        (streams(chunk("x"), chunk("y"), wait=trio.Event(), after=1), "upstream_timeout", True),
    ],
    ids=["500", "529", "closes", "garbage", "hangs", "no end", "cut", "says error", "silent"],
)
async def test_what_fails_in_a_row_is_left_alone(
    tmp_path: Path, clock: MockClock, step: Step, reason: str, stream: bool
) -> None:
    policy = openai(timeout=6)
    async with provider(step) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        async with hurried(clock):
            await fail(gateway, document={**HELLO, "stream": stream})
        assert len(upstream.seen) == FAILURES
        answer = await gateway.post()
        said = gateway.said.text
    assert len(upstream.seen) == FAILURES
    assert (answer.status, answer.code) == (502, "upstream_unreachable")
    assert f"{FAILURES} failures in a row" in answer.message
    assert reason in answer.message
    assert 1 <= int(answer.headers["retry-after"]) <= OPEN_SECONDS
    assert said.count("is down") == 1


@pytest.mark.parametrize("status", [400, 403, 404, 429])
async def test_an_answer_that_blames_the_request_is_no_failure(
    tmp_path: Path, clock: MockClock, status: int
) -> None:
    async with provider(fails(status)) as upstream, proxy(tmp_path, upstream) as gateway:
        await fail(gateway, FAILURES + 2)
    assert len(upstream.seen) == FAILURES + 2


async def test_a_timeout_shorter_than_a_few_seconds_blames_nobody(
    tmp_path: Path, clock: MockClock
) -> None:
    policy = openai(timeout=1)
    async with provider(hangs) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await fail(gateway, FAILURES + 2)
    assert len(upstream.seen) == FAILURES + 2


async def test_a_probe_brings_it_back_and_both_changes_are_told_once(
    tmp_path: Path, clock: MockClock
) -> None:
    script = [fails(500)] * (FAILURES + 1) + [answers()]
    async with provider(answers()) as target, provider(*script) as upstream:
        hook = Webhook(url=target.url, events=("provider.*",))
        async with proxy(tmp_path, upstream, webhooks=[hook]) as gateway:
            await fail(gateway)
            clock.jump(OPEN_SECONDS)
            assert (await gateway.post()).status == 500
            assert (await gateway.post()).code == "upstream_unreachable"
            clock.jump(2 * OPEN_SECONDS)
            assert (await gateway.post()).status == 200
            assert (await gateway.post()).status == 200
            await until(lambda: len(target.seen) >= 2, "two events")
            down, up = delivered(target.seen)
            said = gateway.said.text
    where = {"provider": "openai", "url": upstream.url, "key": "OPENAI_API_KEY"}
    assert (down["type"], up["type"]) == ("provider.down", "provider.up")
    assert down["data"].items() >= {**where, "key_refused": False}.items()
    assert 0 < down["data"]["retry_seconds"] <= OPEN_SECONDS
    assert up["data"].items() >= where.items()
    assert up["data"]["down_seconds"] >= 3 * OPEN_SECONDS
    assert (said.count("is down"), said.count("is up again")) == (1, 1)


async def test_one_probe_at_a_time(tmp_path: Path, clock: MockClock) -> None:
    wait = trio.Event()

    async def slow(request: Request, reply: Reply) -> None:
        await wait.wait()
        await answers()(request, reply)

    script = [fails(500)] * FAILURES + [slow]
    async with provider(*script) as upstream, proxy(tmp_path, upstream) as gateway:
        await fail(gateway)
        clock.jump(MAX_OPEN_SECONDS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway.post)
            await until(lambda: len(upstream.seen) == FAILURES + 1, "the probe")
            assert (await gateway.post()).code == "upstream_unreachable"
            wait.set()
        assert (await gateway.post()).status == 200


async def test_a_probe_whose_client_goes_away_makes_room_for_another(
    tmp_path: Path, clock: MockClock
) -> None:
    script = [fails(500)] * FAILURES + [hangs, answers()]
    async with provider(*script) as upstream, proxy(tmp_path, upstream) as gateway:
        await fail(gateway)
        clock.jump(MAX_OPEN_SECONDS)
        async with gateway.posting():
            await until(lambda: len(upstream.seen) == FAILURES + 1, "the probe")
        await until(lambda: not upstream.running, "the end of the call")
        assert (await gateway.post()).status == 200


async def test_a_target_that_is_down_is_skipped_for_the_next(
    tmp_path: Path, clock: MockClock
) -> None:
    async with provider(fails(500)) as first, provider() as second:
        rows = {"openai": {"upstream_url": first.url}, "groq": {"upstream_url": second.url}}
        entries = {"openai": [{"model": "gpt-4o"}], "groq": [{"model_regex": "^llama"}]}
        policy = {"retry": {"fallbacks": ["llama-3"]}, "providers": entries}
        async with proxy(tmp_path, "http://127.0.0.1:1", policy, providers=rows) as gateway:
            await fail(gateway)
            answer = await gateway.post()
            row = await gateway.row(of=FAILURES + 1)
    assert (answer.status, len(first.seen), len(second.seen)) == (200, FAILURES, FAILURES + 1)
    assert (answer.headers["x-tokenomics-provider"], row.get("attempts")) == ("groq", None)


async def test_retries_stop_when_a_target_goes_down_and_its_last_error_passes(
    tmp_path: Path, clock: MockClock
) -> None:
    policy = openai(retry={"max_retries": 10})
    async with provider(fails(503, "mine")) as upstream, proxy(tmp_path, upstream, policy) as it:
        answer = await it.post()
    assert (answer.status, answer.message, len(upstream.seen)) == (503, "mine", FAILURES)


async def test_a_reload_lets_everything_be_probed(tmp_path: Path, clock: MockClock) -> None:
    script = [fails(401), answers()]
    async with provider(*script) as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post()).status == 401
        assert (await gateway.post()).status == 502
        gateway.files.change(env={**ENV, "OPENAI_API_KEY": SECOND})
        await gateway.reload()
        assert (await gateway.post()).status == 200
    assert by_key(upstream) == [PROVIDER_KEY, SECOND]


async def test_a_full_pool_is_not_the_provider_s_fault(tmp_path: Path, clock: MockClock) -> None:
    async with provider(hangs) as upstream, proxy(tmp_path, upstream) as gateway:
        settings = UpstreamSettings(connect_timeout=Seconds(0.02), max_connections=1)
        gateway.files.change(upstream=settings)
        await gateway.reload()
        async with gateway.posting():
            await until(lambda: upstream.running, "the call")
            said = [(await gateway.post()).message for _ in range(FAILURES + 1)]
    assert all("connections are in use" in message for message in said)


REFUSALS: Sequence[Step] = (
    fails(401, f"Incorrect API key provided: {PROVIDER_KEY}."),
    fails(402, "pay"),
    answers({"error": {"message": "pay", "code": "insufficient_quota"}}, 429),
)


@pytest.mark.parametrize("step", REFUSALS, ids=["401", "402", "no quota"])
async def test_a_refused_key_is_set_aside_and_named_never_shown(
    tmp_path: Path, clock: MockClock, step: Step
) -> None:
    async with provider(answers()) as target, provider(step) as upstream:
        hook = Webhook(url=target.url, events=("provider.*",))
        async with proxy(tmp_path, upstream, webhooks=[hook]) as gateway:
            first = await gateway.post()
            second = await gateway.post()
            clock.jump(REFUSED_SECONDS)
            await gateway.post()
            await until(lambda: target.seen, "an event")
            events = delivered(target.seen)
            said = gateway.said.text + gateway.said.requests.getvalue()
    assert first.status in (401, 402, 429)
    assert (second.status, second.code) == (502, "upstream_unreachable")
    assert "refuses the key in OPENAI_API_KEY" in second.message
    assert (second.headers["retry-after"], second.headers["x-should-retry"]) == ("60", "false")
    assert len(upstream.seen) == 2
    assert [one["data"]["key_refused"] for one in events] == [True]
    for text in (said, str(events), str(second)):
        assert PROVIDER_KEY not in text
    assert "OPENAI_API_KEY" in said


@pytest.mark.parametrize("step", REFUSALS, ids=["401", "402", "no quota"])
async def test_another_key_is_tried_at_once_and_without_a_retry(
    tmp_path: Path, clock: MockClock, step: Step
) -> None:
    script = for_key(PROVIDER_KEY, step)
    async with provider(script) as upstream:
        keys = [{"env": "OPENAI_API_KEY", "weight": 1e6}, *KEYS[1:]]
        rows = {"openai": {"upstream_url": upstream.url, "keys": keys}}
        async with proxy(tmp_path, upstream, openai(), env=TWO_KEYS, providers=rows) as gateway:
            begun = trio.current_time()
            got = [await gateway.post() for _ in range(3)]
            took = trio.current_time() - begun
    assert [answer.status for answer in got] == [200, 200, 200]
    assert by_key(upstream) == [PROVIDER_KEY, SECOND, SECOND, SECOND]
    assert got[0].headers["x-tokenomics-attempts"] == "2"
    assert took < 0.1


async def test_a_provider_without_a_key_may_say_401(tmp_path: Path, clock: MockClock) -> None:
    async with provider(fails(401)) as upstream:
        rows = {"openai": {"upstream_url": upstream.url, "auth_scheme": "none"}}
        async with proxy(tmp_path, upstream, openai(), providers=rows) as gateway:
            assert [(await gateway.post()).status for _ in range(2)] == [401, 401]


async def test_an_account_that_the_client_names_says_nothing_of_the_key(
    tmp_path: Path, clock: MockClock
) -> None:
    headers = [("OpenAI-Organization", "org-of-nobody")]
    async with provider(fails(401)) as upstream, proxy(tmp_path, upstream) as gateway:
        assert [(await gateway.post(headers=headers)).status for _ in range(2)] == [401, 401]


async def test_a_probe_that_finds_nobody_costs_its_client_nothing(
    tmp_path: Path, clock: MockClock
) -> None:
    with bind("127.0.0.1", 0) as sock:
        dead = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with provider() as upstream:
        keys = [{"env": "OPENAI_API_KEY", "upstream_url": dead, "weight": 1e6}, *KEYS[1:]]
        rows = {"openai": {"upstream_url": upstream.url, "keys": keys}}
        async with proxy(tmp_path, upstream, openai(), env=TWO_KEYS, providers=rows) as gateway:
            await fail(gateway)
            clock.jump(OPEN_SECONDS)
            probed, after = await gateway.post(), await gateway.post()
    assert (probed.status, probed.headers["x-tokenomics-attempts"]) == (200, "2")
    assert (after.status, after.headers["x-tokenomics-attempts"]) == (200, "1")


async def test_a_refused_key_is_a_reason_for_a_fallback(tmp_path: Path, clock: MockClock) -> None:
    async with provider(fails(401)) as first, provider() as second:
        rows = {"openai": {"upstream_url": first.url}, "groq": {"upstream_url": second.url}}
        entries = {"openai": [{"model": "gpt-4o"}], "groq": [{"model": "gpt-4o-mini"}]}
        policy = {"retry": {"fallbacks": ["gpt-4o-mini"]}, "providers": entries}
        async with proxy(tmp_path, "http://127.0.0.1:1", policy, providers=rows) as gateway:
            assert [(await gateway.post()).status for _ in range(2)] == [200, 200]
    assert len(first.seen) == 1


async def test_keys_are_drawn_by_weight(tmp_path: Path, clock: MockClock) -> None:
    async with provider() as upstream:
        keys = [{"env": "OPENAI_API_KEY", "weight": 3}, {"env": "OPENAI_API_KEY_2"}]
        rows = {"openai": {"upstream_url": upstream.url, "keys": keys}}
        random.seed(7)
        async with proxy(tmp_path, upstream, openai(), env=TWO_KEYS, providers=rows) as gateway:
            for _ in range(80):
                assert (await gateway.post()).status == 200
    counts = Counter(by_key(upstream))
    assert counts.keys() == {PROVIDER_KEY, SECOND}
    assert 45 <= counts[PROVIDER_KEY] <= 72


async def test_a_retry_prefers_another_key_and_does_not_wait_for_the_first(
    tmp_path: Path, clock: MockClock
) -> None:
    busy = fails(429, headers=[(b"retry-after", b"20")])
    async with provider(for_key(PROVIDER_KEY, busy)) as upstream:
        keys = [{"env": "OPENAI_API_KEY", "weight": 1e6}, *KEYS[1:]]
        rows = {"openai": {"upstream_url": upstream.url, "keys": keys}}
        policy = openai(retry={"max_retries": 1})
        async with proxy(tmp_path, upstream, policy, env=TWO_KEYS, providers=rows) as gateway:
            begun = trio.current_time()
            assert (await gateway.post()).status == 200
            took = trio.current_time() - begun
    assert by_key(upstream) == [PROVIDER_KEY, SECOND]
    assert took < 2


async def test_a_key_may_have_a_place_of_its_own(tmp_path: Path, clock: MockClock) -> None:
    async with provider(fails(500)) as first, provider() as second:
        keys = [{"env": "OPENAI_API_KEY", "weight": 1e6}]
        keys.append({"env": "OPENAI_API_KEY_2", "upstream_url": second.url + "/deeper"})
        rows = {"openai": {"upstream_url": first.url, "keys": keys}}
        policy = openai(retry={"max_retries": 1})
        async with proxy(tmp_path, first, policy, env=TWO_KEYS, providers=rows) as gateway:
            assert (await gateway.post()).status == 200
    assert (by_key(first), by_key(second)) == ([PROVIDER_KEY], [SECOND])
    assert second.last.path == "/deeper/v1/chat/completions"


async def test_a_policy_with_a_key_of_its_own_goes_out_with_no_other(
    tmp_path: Path, clock: MockClock
) -> None:
    async with provider(fails(401)) as upstream:
        rows = {"openai": {"upstream_url": upstream.url, "keys": KEYS}}
        policy = {"base_key_env": "OPENAI_API_KEY_2", "retry": {"max_retries": 3}}
        async with proxy(tmp_path, upstream, policy, env=TWO_KEYS, providers=rows) as gateway:
            assert (await gateway.post()).status == 401
    assert by_key(upstream) == [SECOND]


async def test_a_key_that_is_not_set_is_passed_over(tmp_path: Path, clock: MockClock) -> None:
    async with provider() as upstream:
        rows = {"openai": {"upstream_url": upstream.url, "keys": KEYS}}
        async with proxy(tmp_path, upstream, openai(), providers=rows) as gateway:
            assert [(await gateway.post()).status for _ in range(4)] == [200] * 4
        async with proxy(tmp_path / "b", upstream, openai(), env={}, providers=rows) as gateway:
            answer = await gateway.post()
    assert set(by_key(upstream)) == {PROVIDER_KEY}
    assert answer.code == "provider_key_missing"
    assert "set OPENAI_API_KEY or OPENAI_API_KEY_2" in answer.message
