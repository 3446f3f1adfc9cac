"""A proxy that follows a centre: by the feed, by the list, by a nudge; and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import PATIENCE, ask, until
from tests.support.node import API_KEY, HASH_KEY, POLICY, Centre, Proxy, centre, proxy
from tests.support.upstream import answers, delivered, provider
from tokenomics.config.settings import Receiver, Remote, Seconds, Webhook
from tokenomics.events import signature
from tokenomics.net.connection import Limits, Reply, Request
from tokenomics.net.server import Server, bind
from tokenomics.tokens import Secret, hash_token

WITHIN_SECONDS = 1.0
NOWHERE = "http://127.0.0.1:1"


async def status_of(gateway: Proxy, token: str) -> int:
    headers = [("authorization", f"Bearer {token}")]
    return (await gateway.get("/v1/models", headers)).status


async def holds(gateway: Proxy, token: str, status: int, within: float = WITHIN_SECONDS) -> None:
    """Wait until a token is answered with a status."""
    with trio.move_on_after(within):
        while await status_of(gateway, token) != status:  # noqa: ASYNC110  no Event over HTTP
            await trio.sleep(0.002)
        return
    raise AssertionError(f"not {status} within {within:g} s: {gateway.said.text}")


@asynccontextmanager
async def following(
    folder: Path, central: Centre, remote: Remote | None = None, **more: Any
) -> AsyncIterator[Proxy]:
    """A proxy that has synced once."""
    remote = remote or central.remote()
    async with proxy(folder, NOWHERE, remote=remote, **more) as gateway:
        with trio.fail_after(PATIENCE):
            while (await gateway.get("/ready")).status != 200:  # noqa: ASYNC110  as above
                await trio.sleep(0.002)
        yield gateway


async def test_creations_updates_and_deletions_arrive(tmp_path: Path) -> None:
    async with centre(tmp_path / "centre") as central:
        before = central.tokens.add()
        async with following(tmp_path, central) as gateway:
            await holds(gateway, before, 200)
            after = central.tokens.add()
            await holds(gateway, after, 200)
            central.tokens.put(after, json.dumps(POLICY), expires_at=1.0)
            await holds(gateway, after, 401)
            central.tokens.put(after, json.dumps(POLICY))
            await holds(gateway, after, 200)
            central.tokens.delete(before)
            await holds(gateway, before, 401)
            assert await status_of(gateway, after) == 200
            assert await status_of(gateway, gateway.token) == 200, "its own token stays"


async def test_a_restart_goes_on_from_the_replica(tmp_path: Path) -> None:
    async with centre(tmp_path / "centre") as central:
        token, deleted = central.tokens.add(), central.tokens.add()
        async with following(tmp_path, central) as gateway:
            await holds(gateway, deleted, 200)
        port = central.port
        remote = central.remote()
    async with proxy(tmp_path, NOWHERE, remote=remote) as gateway:
        assert await status_of(gateway, token) == 200, "without its centre"
        assert (await gateway.get("/ready")).status == 200
        await until(lambda: "sync with" in gateway.said.text, "the complaint")
        central.tokens.delete(deleted)
        assert await status_of(gateway, deleted) == 200
        async with centre(tmp_path / "centre", port=port):
            await holds(gateway, deleted, 401, PATIENCE)
            await until(lambda: "works again" in gateway.said.text, "the good news")
            assert await status_of(gateway, token) == 200


async def test_a_replaced_database_replaces_the_replica(tmp_path: Path) -> None:
    async with centre(tmp_path / "centre") as central:
        old = central.tokens.add()
        async with following(tmp_path, central) as gateway:
            await holds(gateway, old, 200)
            central.tokens.path.unlink()
            new = central.tokens.add()
            await holds(gateway, new, 200, PATIENCE)
            await holds(gateway, old, 401)


async def test_a_database_that_was_restored_from_a_backup_is_followed_back(tmp_path: Path) -> None:
    async with centre(tmp_path / "centre") as central:
        kept = central.tokens.add()
        backup = central.tokens.path.read_bytes()
        late = central.tokens.add()
        async with following(tmp_path, central) as gateway:
            await holds(gateway, late, 200)
            restored = central.tokens.path.with_name("restored")
            restored.write_bytes(backup)
            restored.rename(central.tokens.path)
            await holds(gateway, late, 401, PATIENCE)
            assert await status_of(gateway, kept) == 200


async def test_a_restored_backup_that_grew_to_the_same_revision_is_told_apart(
    tmp_path: Path,
) -> None:
    """While the proxy is away: its revision is the centre's again, and means another change."""
    async with centre(tmp_path / "centre") as central:
        kept = central.tokens.add()
        backup = central.tokens.path.read_bytes()
        gone = central.tokens.add()
        async with following(tmp_path, central) as gateway:
            await holds(gateway, gone, 200)
        restored = central.tokens.path.with_name("restored")
        restored.write_bytes(backup)
        restored.rename(central.tokens.path)
        other = central.tokens.add()
        async with proxy(tmp_path, NOWHERE, remote=central.remote()) as gateway:
            await holds(gateway, other, 200)
            await holds(gateway, gone, 401)
            assert await status_of(gateway, kept) == 200


@pytest.mark.parametrize(
    ("remote", "words"),
    [
        ({"api_key": Secret("wrong")}, "refuses remote.api_key"),
        ({"api_key": Secret("")}, "API key"),
        ({"url": NOWHERE}, "refused"),
    ],
)
async def test_a_sync_that_fails_is_said_once_and_the_proxy_is_not_ready(
    tmp_path: Path, remote: Mapping[str, Any], words: str
) -> None:
    async with centre(tmp_path / "centre") as central:
        settings = central.remote(**remote)
        async with proxy(tmp_path, NOWHERE, remote=settings) as gateway:
            await until(lambda: words in gateway.said.text, repr(words))
            answer = await gateway.get("/ready")
            assert await status_of(gateway, gateway.token) == 200
            lines = [json.loads(line) for line in gateway.said.text.splitlines()]
    assert answer.status == 503
    assert words in answer.json()["sync_problem"]
    assert [line["level"] for line in lines].count("error") == 1
    assert API_KEY not in gateway.said.text


async def test_a_problem_that_stays_is_said_once(tmp_path: Path) -> None:
    async with provider(answers({"error": "invalid api key"}, 403)) as central:
        remote = Remote(url=central.url, api_key=Secret("wrong"))
        async with proxy(tmp_path, NOWHERE, remote=remote) as gateway:
            await until(lambda: len(central.seen) >= 3, "three tries")
            said = gateway.said.text
    assert said.count("refuses remote.api_key") == 1


async def test_another_hash_key_is_said_on_both_sides(tmp_path: Path) -> None:
    async with centre(tmp_path / "centre", hash_key=b"another") as central:
        central.tokens.add()
        async with proxy(tmp_path, NOWHERE, remote=central.remote()) as gateway:
            await until(lambda: "TOKENOMICS_HASH_KEY" in gateway.said.text, "the complaint")
            assert (await gateway.get("/ready")).status == 503
    assert "TOKENOMICS_HASH_KEY" in central.said.text
    assert HASH_KEY.decode() not in gateway.said.text + central.said.text


async def test_sync_events(tmp_path: Path) -> None:
    async with provider() as target, centre(tmp_path / "centre") as central:
        port = central.port
        hooks = [Webhook(url=target.url, events=("sync.*",))]
        async with following(tmp_path, central, webhooks=hooks):
            await central.server.drain(0)
            await until(lambda: target.seen, "sync.failed")
            async with centre(tmp_path / "again", port=port):
                await until(lambda: len(delivered(target.seen)) >= 2, "sync.recovered")
    types = [event["type"] for event in delivered(target.seen)]
    assert types[:2] == ["sync.failed", "sync.recovered"]


@dataclass
class OldCentre:
    """A server of the original: a list, no feed."""

    rows: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def add(self, token: str, policy: Mapping[str, Any] = POLICY, **more: str) -> None:
        row = {"token_hash": hash_token(HASH_KEY, token), "policy": json.dumps(policy)}
        self.rows.append({**row, "created_at": "2026-01-02T03:04:05.678901234Z", **more})

    async def app(self, request: Request, reply: Reply) -> None:
        self.asked.append(request.head.path)
        known = request.head.path == "/api/v1/tokens"
        body = json.dumps(self.rows).encode() if known else b"404 page not found\n"
        await reply.send(200 if known else 404, [], body)

    def remote(self, sync: float) -> Remote:
        url = f"http://127.0.0.1:{self.port}"
        return Remote(url=url, api_key=Secret(API_KEY), sync=Seconds(sync))


@asynccontextmanager
async def old_centre() -> AsyncIterator[OldCentre]:
    """It listens while the block runs."""
    old = OldCentre()
    listener = bind("127.0.0.1", 0)
    old.port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(old.app, Limits(), _quiet).serve, [(listener, None)])
        yield old
        nursery.cancel_scope.cancel()


def _quiet(level: str, message: str, **_: object) -> None:
    assert level != "error", message


async def test_a_centre_without_a_feed_is_mirrored_by_its_list(tmp_path: Path) -> None:
    async with old_centre() as old:
        old.add("tkn_a")
        old.add("tkn_b", expires_at="2001-01-01T00:00:00+01:00")
        remote = old.remote(sync=0.05)
        async with proxy(tmp_path, NOWHERE, remote=remote) as gateway:
            await holds(gateway, "tkn_a", 200)
            headers = [("authorization", "Bearer tkn_b")]
            assert (await gateway.get("/v1/models", headers)).code == "token_expired"
            old.rows.clear()
            old.add("tkn_c")
            await holds(gateway, "tkn_c", 200)
            await holds(gateway, "tkn_a", 401)
            assert await status_of(gateway, gateway.token) == 200
            # So that a feed that comes back is found.
            await until(lambda: old.asked.count("/api/v1/changes") > 2, "more questions for a feed")


RECEIVER = Receiver(enabled=True, secret=Secret("shared"), signing_key=Secret("signs"))


async def test_a_push_brings_a_change_before_the_poll(tmp_path: Path) -> None:
    async with old_centre() as old:
        old.add("tkn_a")
        remote = old.remote(sync=600)
        async with proxy(tmp_path, NOWHERE, remote=remote, receiver=RECEIVER) as gateway:
            await holds(gateway, "tkn_a", 200)
            old.add("tkn_b")
            body = b'{"id":"evt_1","type":"token.created","data":{}}'
            headers = [
                ("x-webhook-secret", "shared"),
                ("x-webhook-signature", signature("signs", body)),
            ]
            assert (await ask(gateway.port, "POST", "/v1/webhook", headers, body)).status == 200
            await holds(gateway, "tkn_b", 200)


async def test_the_centre_pushes_what_commands_write(tmp_path: Path) -> None:
    async with provider() as target:
        hook = Webhook(url=target.url, signing_key=Secret("signs"), events=("token.*",))
        async with centre(tmp_path / "centre", webhooks=[hook]) as central:
            token = central.tokens.add(POLICY, expires_at=4_000_000_000)
            await until(lambda: len(delivered(target.seen)) >= 1, "token.created", WITHIN_SECONDS)
            central.tokens.put(token, json.dumps(POLICY))
            await until(lambda: len(delivered(target.seen)) >= 2, "token.updated", WITHIN_SECONDS)
            central.tokens.delete(token)
            await until(lambda: len(delivered(target.seen)) >= 3, "token.deleted", WITHIN_SECONDS)
    short = central.tokens.hash(token)[:16]
    assert [(event["type"], event["data"]) for event in delivered(target.seen)] == [
        ("token.created", {"token_hash": short, "expires_at": "2096-10-02T07:06:40Z"}),
        ("token.updated", {"token_hash": short, "expires_at": ""}),
        ("token.deleted", {"token_hash": short}),
    ]
    for seen in target.seen:
        assert seen.get("x-webhook-signature") == [signature("signs", seen.body)]


async def test_changes_during_a_sync_are_not_lost(tmp_path: Path) -> None:
    """Many writers while the proxy syncs: at the end the two agree."""
    async with centre(tmp_path / "centre") as central, following(tmp_path, central) as gateway:
        made: list[str] = []

        async def write(count: int) -> None:
            for _ in range(count):
                token = await trio.to_thread.run_sync(central.tokens.add)
                made.append(token)
                await trio.to_thread.run_sync(central.tokens.delete, made[0])

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(write, 8)
        for token in made[1:]:
            await holds(gateway, token, 200)
        await holds(gateway, made[0], 401)


async def test_a_feed_longer_than_a_page_arrives_whole(tmp_path: Path) -> None:
    async with centre(tmp_path / "centre") as central:
        big = {**POLICY, "prompts": [{"role": "system", "content": "x" * 900_000}]}
        tokens = [central.tokens.add(big) for _ in range(11)]
        page = (await central.get("/api/v1/changes?since=0")).json()
        async with following(tmp_path, central) as gateway:
            assert [await status_of(gateway, token) for token in tokens] == [200] * 11
    assert page["more"] is True
