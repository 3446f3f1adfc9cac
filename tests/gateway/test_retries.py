"""When a request is sent again: what the provider says of it, and what its client has done already.
On a mock clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.node import HELLO, proxy
from tests.support.upstream import Step, answers, breaks_off, chunk, fails, provider
from tokenomics.net.connection import Reply, Request


@pytest.fixture
def clock() -> MockClock:
    """Waits pass at once, but only after sockets had a moment to speak."""
    return MockClock(autojump_threshold=0.002)


def retrying(times: int, **more: Any) -> dict[str, Any]:
    return {"base_key_env": "OPENAI_API_KEY", "retry": {"max_retries": times, **more}}


def timed(times: list[float], step: Step) -> Step:
    """The first request goes so, the others well; notes when each came."""

    async def noted(request: Request, reply: Reply) -> None:
        times.append(trio.current_time())
        await (step if len(times) == 1 else answers())(request, reply)

    return noted


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ([(b"retry-after", b"3")], 3, 4),
        ([(b"retry-after-ms", b"2500"), (b"retry-after", b"9")], 2.5, 3.5),
        ([(b"retry-after", b"")], 0, 0.6),
        ([(b"retry-after", b"tomorrow")], 0, 0.6),
    ],
)
async def test_the_wait_is_what_the_provider_asks_for_or_a_short_one(
    tmp_path: Path,
    clock: MockClock,
    headers: Sequence[tuple[bytes, bytes]],
    least: float,
    most: float,
) -> None:
    times: list[float] = []
    step = timed(times, fails(429, headers=headers))
    async with provider(step) as upstream, proxy(tmp_path, upstream, retrying(1)) as gateway:
        assert (await gateway.post()).status == 200
    assert least <= times[1] - times[0] < most


async def test_a_date_to_wait_for_is_understood(tmp_path: Path, clock: MockClock) -> None:
    times: list[float] = []
    date = formatdate(time.time() + 10, usegmt=True).encode()
    step = timed(times, fails(503, headers=[(b"retry-after", date)]))
    async with provider(step) as upstream, proxy(tmp_path, upstream, retrying(1)) as gateway:
        assert (await gateway.post()).status == 200
    assert 7 < times[1] - times[0] <= 11


@pytest.mark.parametrize(
    ("status", "said", "came"),
    [(409, b"true", 2), (400, b"true", 2), (503, b"false", 1), (429, b"false", 1)],
)
async def test_the_provider_s_word_beats_the_policy_s_list(
    tmp_path: Path, clock: MockClock, status: int, said: bytes, came: int
) -> None:
    script = (fails(status, headers=[(b"x-should-retry", said)]), answers())
    async with provider(*script) as upstream, proxy(tmp_path, upstream, retrying(3)) as gateway:
        answer = await gateway.post()
    assert len(upstream.seen) == came
    assert answer.status == (200 if came == 2 else status)


async def test_not_to_be_sent_again_is_still_a_reason_for_a_fallback(
    tmp_path: Path, clock: MockClock
) -> None:
    script = (fails(503, headers=[(b"x-should-retry", b"false")]), answers())
    policy = retrying(3, fallbacks=["gpt-4o-mini"])
    async with provider(*script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post()).status == 200
    assert [seen.json()["model"] for seen in upstream.seen] == ["gpt-4o", "gpt-4o-mini"]


@pytest.mark.parametrize(
    ("said", "logged"), [("2", 2), ("0", None), ("", None), ("x", None), ("9" * 40, None)]
)
async def test_the_client_s_own_count_is_logged_and_passed_on(
    tmp_path: Path, clock: MockClock, said: str, logged: int | None
) -> None:
    headers = [("x-stainless-retry-count", said)]
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post(headers=headers)).status == 200
        row = await gateway.row()
    assert row.get("client_retries") == logged
    assert upstream.last.get("x-stainless-retry-count") == [said]


async def test_nothing_is_sent_again_after_the_first_byte(tmp_path: Path, clock: MockClock) -> None:
    policy = retrying(5, fallbacks=["gpt-4o-mini"])
    script = (breaks_off(chunk("Hel")), answers())
    async with provider(*script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({**HELLO, "stream": True})
    assert (answer.status, answer.whole, len(upstream.seen)) == (200, False, 1)


async def test_waits_are_left_to_chance(tmp_path: Path, clock: MockClock) -> None:
    """Full jitter: many clients that failed together do not come back together."""
    waits = []
    for n in range(6):
        times: list[float] = []
        async with (
            provider(timed(times, fails(500))) as upstream,
            proxy(tmp_path / str(n), upstream, retrying(1)) as gateway,
        ):
            assert (await gateway.post()).status == 200
        waits.append(times[1] - times[0])
    assert max(waits) < 0.7
    assert max(waits) - min(waits) > 0.02
