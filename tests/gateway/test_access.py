"""What a policy asks of a request before its content counts: when, from where, for how much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import HELLO, POLICY, proxy
from tests.support.upstream import answers, completion, fails, provider
from tokenomics.errors import Refusal
from tokenomics.gateway.identity import check_place_and_time
from tokenomics.policy.model import parse_policy
from tokenomics.units import rfc3339

NOW = 1_800_000_000.0


def checked(peer: str | None = "10.1.2.3", **fields: Any) -> str:
    """The code of the refusal, or nothing."""
    policy = parse_policy(json.dumps({**POLICY, **fields}))
    try:
        check_place_and_time(policy, peer, NOW)
    except Refusal as e:
        return e.code
    return ""


@pytest.mark.parametrize(("seconds", "code"), [(-1, ""), (0, ""), (1, "token_not_yet_valid")])
def test_a_token_is_valid_from_its_first_second(seconds: int, code: str) -> None:
    assert checked(not_before=rfc3339(NOW + seconds)) == code


@pytest.mark.parametrize(
    ("peer", "allowed", "code"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], ""),
        ("10.1.2.3", ["192.168.0.0/16", "10.1.2.3"], ""),
        ("11.1.2.3", ["10.0.0.0/8"], "ip_not_allowed"),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], ""),
        ("::ffff:10.1.2.3", ["::/0"], "ip_not_allowed"),
        ("10.1.2.3", ["::ffff:10.1.2.0/120"], ""),
        ("2001:db8::1", ["2001:db8::/32"], ""),
        ("2001:db9::1", ["2001:db8::/32", "0.0.0.0/0"], "ip_not_allowed"),
        ("fe80::1%eth0", ["fe80::/10"], ""),
        ("local", ["0.0.0.0/0", "::/0"], "ip_not_allowed"),
        (None, ["0.0.0.0/0", "::/0"], "ip_not_allowed"),
    ],
)
def test_addresses(peer: str | None, allowed: list[str], code: str) -> None:
    assert checked(peer, allow_ips=allowed) == code


def test_without_a_list_nobody_needs_an_address() -> None:
    assert checked(None) == ""


async def test_a_token_before_its_time_is_told_when(tmp_path: Path) -> None:
    policy = {**POLICY, "not_before": "2099-01-01T00:00:00Z"}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.code) == (401, "token_not_yet_valid")
    assert "2099-01-01T00:00:00Z" in answer.message
    assert upstream.seen == []


async def test_the_socket_says_where_a_request_comes_from_no_header(tmp_path: Path) -> None:
    policy = {**POLICY, "allow_ips": ["10.0.0.0/8"]}
    forged = [("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")]
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(headers=forged)
        models = await gateway.get("/v1/models", [("authorization", f"Bearer {gateway.token}")])
    assert (answer.status, answer.code) == (403, "ip_not_allowed")
    assert "127.0.0.1" in answer.message
    assert (models.status, models.code) == (403, "ip_not_allowed")
    assert upstream.seen == []


async def test_an_address_on_the_list_passes(tmp_path: Path) -> None:
    policy = {**POLICY, "allow_ips": ["10.0.0.0/8", "127.0.0.1"]}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post()).status == 200


async def test_an_alias_goes_out_as_its_model(tmp_path: Path) -> None:
    policy = {**POLICY, "model": "gpt-4o", "model_aliases": {"fast": "gpt-4o"}}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({**HELLO, "model": "fast"})
        row = await gateway.row()
        models = await gateway.get("/v1/models", [("authorization", f"Bearer {gateway.token}")])
    assert answer.status == 200
    assert upstream.seen[0].json()["model"] == "gpt-4o"
    assert (row["model"], row["served_model"]) == ("fast", "gpt-4o")
    assert [m["id"] for m in models.json()["data"]][:1] == ["fast"]


# max_output_tokens


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {"max_completion_tokens": 100}),
        ({"max_tokens": 50}, {"max_tokens": 50}),
        ({"max_tokens": 500}, {"max_tokens": 100}),
        ({"max_completion_tokens": 500, "n": 4}, {"max_completion_tokens": 25, "n": 4}),
        ({"max_tokens": 500, "max_completion_tokens": 50}, {"max_tokens": 100}),
    ],
    ids=["none", "smaller", "larger", "choices", "two"],
)
async def test_an_answer_is_bounded(
    tmp_path: Path, asked: dict[str, int], sent: dict[str, int]
) -> None:
    policy = {**POLICY, "max_output_tokens": 100}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post({**HELLO, **asked})).status == 200
    assert {**HELLO, **asked, **sent} == upstream.last.json()


async def test_embeddings_have_no_output_to_bound(tmp_path: Path) -> None:
    policy = {**POLICY, "max_output_tokens": 100}
    document = {"model": "text-embedding-3-small", "input": "Hello"}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post(document, "/v1/embeddings")
    assert upstream.last.json() == document


async def test_a_bounded_request_holds_no_more_than_its_bound(tmp_path: Path) -> None:
    policy = {**POLICY, "max_output_tokens": 100, "max_tokens": 300}
    script = answers(completion("x", (10, 100)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        got = [(await gateway.post()).status for _ in range(3)]
        account = gateway.account()
    assert got == [200, 200, 200]
    sent = [s.json()["max_completion_tokens"] for s in upstream.seen]
    assert sent[:2] == [100, 100]
    assert sent[2] < 100  # what the budget has left
    assert account.held == {}


@pytest.mark.parametrize(
    ("first", "second", "budget", "sent"),
    [
        (100, 40, 0, [100, 40]),
        (40, 100, 0, [40, 100]),
        (40, 100, 10**6, [40, 100]),  # what it may cost is held anew
        (0, 40, 10**6, [None, 40]),
        (40, 0, 0, [40, None]),
        (40, 0, 10**6, [40, None]),
    ],
)
async def test_a_fallback_has_its_own_bound(
    tmp_path: Path, first: int, second: int, budget: int, sent: list[int | None]
) -> None:
    entries = [
        {"model": "a", "max_output_tokens": first},
        {"model": "b", "max_output_tokens": second},
    ]
    policy = {
        "providers": {"openai": entries},
        "retry": {"fallbacks": ["b"]},
        "max_tokens": budget,
    }
    script = [fails(503), answers()]
    async with provider(*script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post({**HELLO, "model": "a"})).status == 200
    assert [s.json().get("max_completion_tokens") for s in upstream.seen] == sent
