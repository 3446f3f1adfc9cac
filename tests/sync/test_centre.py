"""The central server's REST: the original's list, the change feed, who is let in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trio

from tests.support.http import Answer, ask, until
from tests.support.node import API_KEY, HASH_KEY, POLICY, Centre, centre, proxy
from tokenomics.replica import FINGERPRINT_HEADER
from tokenomics.tokens import key_fingerprint


async def test_the_list_is_the_original_s(tmp_path: Path) -> None:
    async with centre(tmp_path) as central:
        token = central.tokens.add(POLICY, expires_at=4_000_000_000)
        kept = central.tokens.add(POLICY)
        rows = await _rows_once(central, 2)
        one = await central.get(f"/api/v1/tokens/{central.tokens.hash(token)}")
    found = {row["token_hash"]: row for row in rows}
    first = found[central.tokens.hash(token)]
    assert json.loads(first["policy"]) == POLICY
    assert first["expires_at"] == "2096-10-02T07:06:40Z"
    assert "expires_at" not in found[central.tokens.hash(kept)]
    assert one.json() == first


async def _rows_once(central: Centre, count: int) -> list[dict[str, str]]:
    """The list, once it has so many tokens."""
    with trio.fail_after(5):
        while True:
            rows: list[dict[str, str]] = (await central.get("/api/v1/tokens")).json()
            if len(rows) == count:
                return rows


@pytest.mark.parametrize("path", ["/api/v1/tokens", "/api/v1/changes", "/api/v1/x", "/"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("authorization", "Bearer")], 401),
        ([("authorization", f"Basic {API_KEY}")], 401),
        ([("x-api-key", API_KEY)], 401),
        ([("authorization", "Bearer wrong")], 403),
        ([("authorization", f"Bearer {API_KEY}x")], 403),
    ],
)
async def test_nobody_is_let_in_without_the_key(
    tmp_path: Path, path: str, headers: list[tuple[str, str]], status: int
) -> None:
    async with centre(tmp_path) as central:
        central.tokens.add()
        answer = await ask(central.port, "GET", path, headers)
    assert answer.status == status
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/api/v1/tokens", 200),
        ("GET", "/api/v1/tokens/", 200),
        ("GET", "/api/v1/changes?since=0&wait=0", 200),
        ("GET", "/api/v1/changes?since=-1", 400),
        ("GET", "/api/v1/changes?since=x", 400),
        ("GET", "/api/v1/changes?since=0&wait=1.5", 400),
        ("GET", "/api/v1/tokens/unknown", 404),
        ("GET", "/api/v2/tokens", 404),
        ("POST", "/api/v1/tokens", 405),
        ("DELETE", "/api/v1/changes", 405),
    ],
)
async def test_each_path_has_its_status(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async with centre(tmp_path) as central:
        headers = [("authorization", f"bearer {API_KEY}")]
        assert (await ask(central.port, method, path, headers)).status == status


def known_to(feed: dict[str, Any]) -> str:
    """The query of a follower that has taken an answer of the feed."""
    keys = {"since": "revision", "source": "source", "tip": "tip"}
    return urlencode({name: feed[key] for name, key in keys.items()})


async def test_a_held_request_returns_on_a_change(tmp_path: Path) -> None:
    async with centre(tmp_path) as central:
        central.tokens.add()
        await _rows_once(central, 1)
        first = (await central.get("/api/v1/changes?since=0&wait=0")).json()
        assert (first["reset"], first["more"], len(first["changes"])) == (True, False, 1)
        held: list[Answer] = []
        where = known_to(first)

        async def hold() -> None:
            held.append(await central.get(f"/api/v1/changes?{where}&wait=30"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await until(lambda: central.server.running, "the held request")
            begun = trio.current_time()
            token = central.tokens.add()
        assert trio.current_time() - begun < 1
    feed = held[0].json()
    assert feed["reset"] is False
    assert [row["token_hash"] for row in feed["changes"]] == [central.tokens.hash(token)]
    assert feed["revision"] > first["revision"]


async def test_a_held_request_with_nothing_new_returns_empty(tmp_path: Path) -> None:
    async with centre(tmp_path) as central:
        central.tokens.add()
        await _rows_once(central, 1)
        first = (await central.get("/api/v1/changes?since=0")).json()
        where = known_to(first)
        again = (await central.get(f"/api/v1/changes?{where}&wait=0")).json()
    assert again == {**first, "reset": False, "changes": []}


async def test_another_hash_key_is_a_conflict_told_on_both_sides(tmp_path: Path) -> None:
    async with centre(tmp_path) as central:
        ours, theirs = key_fingerprint(HASH_KEY), key_fingerprint(b"another")
        answer = await central.get("/api/v1/tokens", headers=[(FINGERPRINT_HEADER, theirs)])
        agreed = await central.get("/api/v1/tokens", headers=[(FINGERPRINT_HEADER, ours)])
    assert (answer.status, agreed.status) == (409, 200)
    for text in (answer.json()["error"], central.said.text):
        assert "TOKENOMICS_HASH_KEY" in text
        assert ours in text
        assert theirs in text
    assert HASH_KEY.decode() not in central.said.text


async def test_one_database_file_serves_both_roles_at_once(tmp_path: Path) -> None:
    """The centre and a proxy of one folder."""
    async with (
        centre(tmp_path) as central,
        proxy(tmp_path, "http://127.0.0.1:1", remote=central.remote()) as gateway,
    ):
        headers = [("authorization", f"Bearer {gateway.token}")]
        assert (await gateway.get("/v1/models", headers)).status == 200
