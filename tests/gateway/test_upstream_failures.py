"""A provider that fails: retries, fallbacks, what is passed on, what is said. On a mock clock."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.http import until
from tests.support.node import HELLO, POLICY, PROVIDER_KEY, proxy
from tests.support.upstream import (
    JSON,
    Step,
    answers,
    breaks_off,
    chunk,
    completion,
    fails,
    hangs,
    provider,
    refuses_to_speak,
    streams,
)
from tokenomics.net.connection import Reply, Request
from tokenomics.net.server import bind


@pytest.fixture
def clock() -> MockClock:
    """Waits pass at once, but only after sockets had a moment to speak."""
    return MockClock(autojump_threshold=0.002)


def retrying(times: int, **more: Any) -> dict[str, Any]:
    return {"base_key_env": "OPENAI_API_KEY", "retry": {"max_retries": times, **more}}


async def test_an_error_answer_passes_through_as_it_came(tmp_path: Path, clock: MockClock) -> None:
    kept = [(b"x-own", b"1"), (b"retry-after", b"7"), (b"x-request-id", b"req_upstream")]
    unwanted = [(b"set-cookie", b"a=b"), (b"alt-svc", b"h3")]
    step = fails(400, "your fault", kept + unwanted, param="messages")
    async with provider(step) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post()
        row = await gateway.row()
    assert answer.status == 400
    assert answer.json() == {
        "error": {
            "message": "your fault",
            "type": "provider_error",
            "code": "from_provider",
            "param": "messages",
        }
    }
    assert (answer.headers["x-own"], answer.headers["retry-after"]) == ("1", "7")
    assert answer.headers["x-upstream-request-id"] == "req_upstream"
    assert answer.headers["x-request-id"] == row["request_id"]
    assert not {"set-cookie", "alt-svc"} & answer.headers.keys()
    assert (row["status"], row["upstream_id"]) == (400, "req_upstream")


async def test_an_error_answer_that_repeats_the_key_has_it_masked(
    tmp_path: Path, clock: MockClock
) -> None:
    step = fails(401, f"Incorrect API key provided: {PROVIDER_KEY}.")
    async with provider(step) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post()
        said = gateway.said.text + gateway.said.requests.getvalue()
    assert answer.message == "Incorrect API key provided: ***."
    assert PROVIDER_KEY not in str(answer)
    assert PROVIDER_KEY not in said


async def test_an_error_answer_that_is_not_json_passes_too(
    tmp_path: Path, clock: MockClock
) -> None:
    async with (
        provider(answers(b"<html>Bad</html>", 502)) as upstream,
        proxy(tmp_path, upstream) as gateway,
    ):
        answer = await gateway.post()
    assert (answer.status, answer.body) == (502, b"<html>Bad</html>")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_failing_provider_is_tried_again(
    tmp_path: Path, clock: MockClock, status: int
) -> None:
    script = (fails(status), fails(status), answers())
    async with provider(*script) as upstream, proxy(tmp_path, upstream, retrying(2)) as gateway:
        answer = await gateway.post()
        row = await gateway.row()
        account = gateway.account()
    assert (answer.status, len(upstream.seen)) == (200, 3)
    assert answer.headers["x-tokenomics-attempts"] == "3"
    assert row["attempts"] == 3
    ids = {seen.get("x-client-request-id")[0] for seen in upstream.seen}
    assert ids == {answer.headers["x-request-id"]}
    assert (account.parallel, account.held) == (0, {})


@pytest.mark.parametrize("step", [refuses_to_speak, breaks_off(b"{", head=JSON)])
async def test_a_connection_that_breaks_is_tried_again_unless_an_answer_began(
    tmp_path: Path, clock: MockClock, step: Step
) -> None:
    async with (
        provider(step, answers()) as upstream,
        proxy(tmp_path, upstream, retrying(1)) as gateway,
    ):
        answer = await gateway.post()
    if step is refuses_to_speak:
        assert (answer.status, len(upstream.seen)) == (200, 2)
    else:
        assert (answer.status, answer.code) == (502, "upstream_invalid")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_final_error_is_not_tried_again(
    tmp_path: Path, clock: MockClock, status: int
) -> None:
    async with (
        provider(fails(status)) as upstream,
        proxy(tmp_path, upstream, retrying(3)) as gateway,
    ):
        assert (await gateway.post()).status == status
    assert len(upstream.seen) == 1


async def test_retry_on_says_what_is_tried_again(tmp_path: Path, clock: MockClock) -> None:
    async with (
        provider(fails(418), fails(503)) as upstream,
        proxy(tmp_path, upstream, retrying(3, retry_on=[418])) as gateway,
    ):
        assert (await gateway.post()).status == 503
    assert len(upstream.seen) == 2


async def test_without_retries_there_are_none(tmp_path: Path, clock: MockClock) -> None:
    async with provider(fails(503), answers()) as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post()).status == 503
    assert len(upstream.seen) == 1


async def test_the_last_error_passes_when_retries_are_exhausted(
    tmp_path: Path, clock: MockClock
) -> None:
    script = (fails(500, "first"), fails(503, "second"), fails(429, "third"))
    async with provider(*script) as upstream, proxy(tmp_path, upstream, retrying(2)) as gateway:
        answer = await gateway.post()
        account = gateway.account()
    assert (answer.status, answer.message) == (429, "third")
    assert (account.parallel, account.held) == (0, {})
    assert account.settled.get("total", 0) == 0


async def test_retry_after_is_honoured(tmp_path: Path, clock: MockClock) -> None:
    times: list[float] = []
    ok = answers()

    async def step(request: Any, reply: Any) -> None:
        times.append(trio.current_time())
        await (ok if len(times) > 1 else fails(429, headers=[(b"retry-after", b"3")]))(
            request, reply
        )

    async with provider(step) as upstream, proxy(tmp_path, upstream, retrying(1)) as gateway:
        assert (await gateway.post()).status == 200
    assert 3 <= times[1] - times[0] < 4


async def test_a_retry_after_beyond_the_timeout_gives_the_last_error(
    tmp_path: Path, clock: MockClock
) -> None:
    step = fails(429, "later", [(b"retry-after", b"3600")])
    policy = {**retrying(3), "timeout": 1}
    async with provider(step) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        begun = trio.current_time()
        answer = await gateway.post()
        took = trio.current_time() - begun
    assert (answer.status, answer.message) == (429, "later")
    assert answer.headers["retry-after"] == "3600"
    assert took < 1


async def test_a_fallback_has_its_own_provider_key_and_model(
    tmp_path: Path, clock: MockClock
) -> None:
    async with provider(fails(500)) as first, provider() as second:
        providers = {
            "openai": {"upstream_url": first.url},
            "groq": {"upstream_url": second.url + "/openai"},
        }
        policy = {
            "retry": {"max_retries": 1, "fallbacks": ["mistral-large", "llama-3"]},
            "providers": {"openai": [{"model": "gpt-4o"}], "groq": [{"model_regex": "^llama"}]},
        }
        async with proxy(tmp_path, "http://127.0.0.1:1", policy, providers=providers) as gateway:
            answer = await gateway.post()
            row = await gateway.row()
    assert (answer.status, len(first.seen), len(second.seen)) == (200, 2, 1)
    assert second.last.path == "/openai/v1/chat/completions"
    assert second.last.get("authorization") == ["Bearer gsk-another-key"]
    assert second.last.json() == {**HELLO, "model": "llama-3"}
    assert answer.headers["x-tokenomics-model"] == "llama-3"
    assert answer.headers["x-tokenomics-provider"] == "groq"
    assert (row["skipped_fallbacks"], row["served_model"]) == (["mistral-large"], "llama-3")


async def test_a_fallback_is_charged_to_its_own_budget_and_skipped_when_that_is_spent(
    tmp_path: Path, clock: MockClock
) -> None:
    entries = [
        {"base_key_env": "OPENAI_API_KEY", "model": "gpt-4o", "max_tokens": 1000},
        {"base_key_env": "OPENAI_API_KEY", "model": "gpt-4o-mini", "max_tokens": 200},
    ]
    policy = {"retry": {"fallbacks": ["gpt-4o-mini"]}, "providers": {"openai": entries}}
    script = (fails(500), answers(completion("x", (100, 80))), fails(500, "alone"))
    async with provider(*script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        first = await gateway.post({**HELLO, "max_tokens": 50})
        second = await gateway.post({**HELLO, "max_tokens": 50})
        row = await gateway.row(of=2)
        account = gateway.account()
    assert [seen.json()["model"] for seen in upstream.seen] == ["gpt-4o", "gpt-4o-mini", "gpt-4o"]
    assert (first.status, second.status, second.message) == (200, 500, "alone")
    assert [skipped.partition(":")[0] for skipped in row["skipped_fallbacks"]] == ["gpt-4o-mini"]
    assert [tokens for tokens in account.settled.values() if tokens] == [180]
    assert account.held == {}


async def test_a_fallback_that_fails_too_gives_its_error(tmp_path: Path, clock: MockClock) -> None:
    policy = retrying(0, fallbacks=["gpt-4o-mini"])
    async with (
        provider(fails(500, "first"), fails(503, "second")) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
    ):
        answer = await gateway.post()
    assert (answer.status, answer.message) == (503, "second")
    assert [seen.json()["model"] for seen in upstream.seen] == ["gpt-4o", "gpt-4o-mini"]


async def test_a_final_error_takes_no_fallback(tmp_path: Path, clock: MockClock) -> None:
    async with (
        provider(fails(400)) as upstream,
        proxy(tmp_path, upstream, retrying(0, fallbacks=["gpt-4o-mini"])) as gateway,
    ):
        assert (await gateway.post()).status == 400
    assert len(upstream.seen) == 1


async def test_a_provider_that_refuses_is_unreachable(tmp_path: Path, clock: MockClock) -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    async with proxy(tmp_path, f"http://127.0.0.1:{port}", retrying(1)) as gateway:
        answer = await gateway.post()
        row = await gateway.row()
    assert (answer.status, answer.code) == (502, "upstream_unreachable")
    assert "openai" in answer.message
    assert "refused" in answer.message
    assert (row["code"], row["attempts"]) == ("upstream_unreachable", 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_hangs_is_a_timeout(
    tmp_path: Path, clock: MockClock, stream: bool
) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "timeout": 1}
    async with provider(hangs) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({**HELLO, "stream": stream})
        assert (answer.status, answer.code) == (504, "upstream_timeout")
        assert "1 s" in answer.message
        await until(lambda: not upstream.running, "the end of the call")
        account = gateway.account()
    assert (account.parallel, account.held) == (0, {})


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (refuses_to_speak, "upstream_invalid"),
        (breaks_off(b'{"choices":[', head=JSON), "upstream_invalid"),
        (answers(b"<html>Sorry</html>"), "upstream_invalid"),
        (answers(b""), "upstream_invalid"),
    ],
)
async def test_an_answer_that_is_not_whole_is_an_error(
    tmp_path: Path, clock: MockClock, step: Step, code: str
) -> None:
    async with provider(step) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post()
        row = await gateway.row()
    assert (answer.status, answer.code, answer.whole) == (502, code, True)
    assert (row["status"], row["code"]) == (502, code)


async def test_an_answer_that_falls_silent_is_a_timeout(tmp_path: Path, clock: MockClock) -> None:
    async def step(_request: Any, reply: Any) -> None:
        await reply.start(200, JSON)
        await reply.write(b'{"choices":')
        await trio.sleep_forever()

    policy = {"base_key_env": "OPENAI_API_KEY", "timeout": 1}
    async with provider(step) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.code) == (504, "upstream_timeout")


async def test_a_missing_provider_key_is_named_and_nothing_is_sent(
    tmp_path: Path, clock: MockClock
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, env={"OTHER": "x"}) as gateway:
        answer = await gateway.post()
        account = gateway.account()
    assert (answer.status, answer.code) == (500, "provider_key_missing")
    assert "OPENAI_API_KEY" in answer.message
    assert upstream.seen == []
    assert (account.parallel, account.held, account.settled.get("total", 0)) == (0, {}, 0)


async def test_a_provider_key_may_be_in_a_file(tmp_path: Path, clock: MockClock) -> None:
    (tmp_path / "key").write_text("sk-from-a-file\n")
    env = {"OPENAI_API_KEY_FILE": str(tmp_path / "key")}
    async with provider() as upstream, proxy(tmp_path, upstream, env=env) as gateway:
        assert (await gateway.post()).status == 200
    assert upstream.last.get("authorization") == ["Bearer sk-from-a-file"]


async def test_another_dialect_is_refused_and_says_so(tmp_path: Path, clock: MockClock) -> None:
    policy = {"providers": {"anthropic": [{"model_regex": "^claude"}]}}
    async with (
        provider() as upstream,
        proxy(tmp_path, upstream, policy, env={"ANTHROPIC_API_KEY": "k"}) as gateway,
    ):
        embed = {"model": "claude-sonnet-4-5", "input": "a"}  # chat would be translated
        answer = await gateway.post(embed, "/v1/embeddings")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "anthropic" in answer.message


async def test_a_kept_connection_that_was_closed_is_no_error(
    tmp_path: Path, clock: MockClock
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        assert (await gateway.post()).status == 200
        assert upstream.server is not None
        for connection in list(upstream.server.connections):
            connection.scope.cancel()
        assert (await gateway.post()).status == 200
    assert len(upstream.seen) == 2


async def test_a_stream_is_not_begun_until_the_provider_answers_well(
    tmp_path: Path, clock: MockClock
) -> None:
    """Retries come before the first byte, so the client sees one clean stream."""
    async with (
        provider(fails(503), streams()) as upstream,
        proxy(tmp_path, upstream, retrying(1)) as gateway,
    ):
        answer = await gateway.post({**HELLO, "stream": True})
    assert (answer.status, answer.whole) == (200, True)
    assert answer.events[-1] == "[DONE]"
    assert [json.loads(e) for e in answer.events[:1]] == [json.loads(chunk("Hel")[6:])]


async def test_an_encoded_error_answer_is_decoded_and_its_key_masked(tmp_path: Path) -> None:
    """Front ends encode whatever was asked for."""
    body = json.dumps({"error": {"message": f"bad key {PROVIDER_KEY}"}}).encode()
    script = answers(gzip.compress(body), 401, [(b"content-encoding", b"gzip")])
    async with provider(script) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.message) == (401, "bad key ***")
    assert "content-encoding" not in answer.headers


async def test_an_error_answer_whose_coding_is_broken_says_so(tmp_path: Path) -> None:
    script = answers(b"not gzip", 400, [(b"content-encoding", b"gzip")])
    async with provider(script) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.code) == (502, "upstream_invalid")


async def test_an_error_answer_in_drips_is_bounded_by_the_timeout(tmp_path: Path) -> None:
    async def drips(_request: Request, reply: Reply) -> None:
        await reply.start(503, [])
        while True:
            await reply.write(b"a")
            await trio.sleep(0.01)

    policy = {**POLICY, "timeout": 1, "retry": {"max_retries": 3}}
    async with provider(drips) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        begun = trio.current_time()
        answer = await gateway.post()
        assert trio.current_time() - begun < 3
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert len(upstream.seen) == 1


async def test_any_good_answer_is_charged(tmp_path: Path) -> None:
    policy = {**POLICY, "max_tokens": 1000}
    async with provider(answers(status=201)) as upstream, proxy(tmp_path, upstream, policy) as node:
        assert (await node.post()).status == 201
        await node.row()
        assert node.account().settled == {"total": 10}


async def test_the_echo_provider_takes_any_number_of_blanks(tmp_path: Path) -> None:
    providers = {"openai": {"upstream_url": "builtin:echo", "auth_scheme": "none"}}
    policy = {"default_provider": "openai"}
    blanks = {**HELLO, "messages": [{"role": "user", "content": " " * 5_000_000}]}
    async with proxy(tmp_path, "http://127.0.0.1:1", policy, providers=providers) as gateway:
        assert (await gateway.post(blanks)).status == 200
