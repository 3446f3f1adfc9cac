"""A reload under a running proxy: what holds for new requests, and that nothing is cut."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from tests.support.http import until
from tests.support.node import API_KEY, ENV, HELLO, Files, centre, proxy, reloaded
from tests.support.upstream import Seen, answers, completion, delivered, provider, streams
from tokenomics.cli.https import Https
from tokenomics.config.settings import Bytes, Events, Receiver, Tls, Webhook
from tokenomics.tokens import Secret

STREAM = {**HELLO, "stream": True}


def events_of(seen: list[Seen]) -> list[str]:
    return [event["type"] for event in delivered(seen)]


async def test_a_stream_goes_on_while_new_requests_see_the_new_config(tmp_path: Path) -> None:
    go = trio.Event()
    old_script, new_script = streams(wait=go, after=1), answers(completion("from the new one"))
    async with (
        provider(old_script) as old,
        provider(new_script) as new,
        proxy(tmp_path, old) as gateway,
        gateway.posting(STREAM) as call,
    ):
        await call.head()
        await call.until(b"Hel")
        gateway.files.change(
            providers={"openai": {"upstream_url": new.url}},
            server=replace(gateway.files.config.server, upstream_url=new.url),
            env={**ENV, "OPENAI_API_KEY": "sk-the-next-key"},
        )
        said = await gateway.reload()
        assert "reloaded: 2 settings changed: server.upstream_url, providers.openai;" in said
        answer = await gateway.post()
        go.set()
        streamed = await call.rest()
    assert (streamed.whole, streamed.events[-1]) == (True, "[DONE]")
    assert answer.json() == completion("from the new one")
    assert new.last.get("authorization") == ["Bearer sk-the-next-key"]
    assert len(old.seen) == 1
    assert "sk-" not in gateway.said.text


async def test_a_key_in_a_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    env = {"OPENAI_API_KEY_FILE": str(path)}
    async with provider() as upstream, proxy(tmp_path, upstream, env=env) as gateway:
        for key, sent in (("sk-1", "sk-1"), ("sk-2", "sk-2")):
            path.write_text(key)
            await gateway.reload()
            await gateway.post()
            assert upstream.last.get("authorization") == [f"Bearer {sent}"]


async def test_limits_and_the_log_follow(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        config = gateway.files.config
        assert (await gateway.post()).status == 200
        await gateway.row()
        gateway.files.change(
            server=replace(config.server, max_body=Bytes(10)),
            logging=replace(config.logging, disable_request=True, format="text"),
        )
        said = await gateway.reload()
        assert (await gateway.post()).status == 413
    assert len(gateway.said.rows) == 1  # at the end what was kept back has been written
    assert " info reloaded: 3 settings changed: server.max_body, logging." in said


async def test_a_log_level_holds_from_the_reload_on(tmp_path: Path) -> None:
    async with proxy(tmp_path, "http://127.0.0.1:1") as gateway:
        logging = replace(gateway.files.config.logging, level="error")
        gateway.files.change(logging=logging)
        gateway.files.reloads.ask()
        await until(lambda: gateway.files.reloads.config.logging is logging, "the reload")
        before = gateway.said.text
        gateway.files.change(default_provider="groq")
        gateway.files.reloads.ask()
        await until(lambda: gateway.files.reloads.config.default_provider, "the second reload")
        assert gateway.said.text == before


async def test_the_receiver_follows(tmp_path: Path) -> None:
    async with proxy(tmp_path, "http://127.0.0.1:1") as gateway:
        old, new = "/v1/webhook", "/v1/other"
        gateway.files.change(
            remote=replace(
                gateway.files.config.remote,
                webhook=Receiver(enabled=True, path=new, secret=Secret("open sesame")),
            )
        )
        said = await gateway.reload()
        headers = [("x-webhook-secret", "open sesame")]
        body: dict[str, Any] = {"type": "token.created"}
        assert (await gateway.post(body, new, headers, token="")).status == 200
        assert (await gateway.post(body, old, headers, token="")).status == 401
    assert "sesame" not in said


async def test_what_is_counted_stays(tmp_path: Path) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 15}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post()
        await gateway.row()
        before = gateway.account()
        await gateway.reload()
        assert gateway.account() is before
        assert (await gateway.post()).code == "insufficient_quota"


async def test_a_faulty_config_is_refused_whole(tmp_path: Path) -> None:
    """Every fault is told; nothing of it is applied, also not what is right."""
    tls = Tls(cert_dir=tmp_path / "certs")
    async with provider() as upstream, proxy(tmp_path, upstream, https=Https(tls)) as gateway:
        before = (gateway.server.app, gateway.server.limits, gateway.server.judge)
        ca_file = str(tmp_path / "no-ca.pem")
        server = gateway.files.config.server
        gateway.files.change(
            providers={"openai": {"auth_scheme": "none", "zzz": 1}, "p": {"ca_file": ca_file}},
            server=replace(server, max_body=Bytes(1), tls=Tls(cert_file="a", key_file="b")),
            env={"HTTPS_PROXY": "ftp://user:hunter2@proxy"},
        )
        said = await gateway.reload()
        assert (gateway.server.app, gateway.server.limits, gateway.server.judge) == before
        assert (await gateway.post()).status == 200
    (line,) = [json.loads(text) for text in said.splitlines()]
    assert line["level"] == "error"
    message = line["message"]
    assert message.startswith("reload refused, the running config stays: ")
    for fault in ("providers.openai.zzz", "HTTPS_PROXY: ", "server.tls: TLS certificate a"):
        assert fault in message
    assert "hunter2" not in message


async def test_a_file_of_a_provider_that_is_missing_is_named(tmp_path: Path) -> None:
    async with proxy(tmp_path, "http://127.0.0.1:1") as gateway:
        gateway.files.change(
            providers={"p": {"ca_file": "no-ca.pem"}, "q": {"cert_file": "no-cert.pem"}}
        )
        said = await gateway.reload()
    assert "providers.p.ca_file: no-ca.pem: cannot be used" in said
    assert "; providers.q.cert_file: TLS certificate no-cert.pem" in said


async def test_what_needs_a_restart_is_named_each_time(tmp_path: Path) -> None:
    async with proxy(tmp_path, "http://127.0.0.1:1") as gateway:
        config = gateway.files.config
        gateway.files.change(
            server=replace(config.server, http_port=1),
            remote=replace(config.remote, api_key=Secret("the-secret")),
            env={**ENV, "TOKENOMICS_HASH_KEY": "another"},
        )
        for _ in range(2):
            said = await gateway.reload()
            assert "needs a restart: server.http_port, remote.api_key, TOKENOMICS_HASH_KEY" in said
            assert "reloaded: 0 settings changed;" in said
            assert "the-secret" not in said
        gateway.files.change(server=config.server, remote=config.remote, env=ENV)
        assert "restart" not in await gateway.reload()


async def test_a_certificate_is_new_after_a_reload_and_so_is_the_ca(tmp_path: Path) -> None:
    first, second = (Tls(cert_dir=tmp_path / name) for name in ("one", "two"))
    async with proxy(tmp_path, "http://127.0.0.1:1", https=Https(first)) as gateway:
        server = gateway.files.config.server
        gateway.files.change(server=replace(server, tls=second))
        said = await gateway.reload()
        served = await gateway.get("/ca.crt")
    assert "server.tls.cert_dir" in said
    assert served.body == (tmp_path / "two" / "ca.crt").read_bytes()


# Webhooks.


async def test_targets_come_and_go_and_a_queue_stays_with_its_url(tmp_path: Path) -> None:
    blocked = trio.Event()

    async def waits(request: Any, reply: Any) -> None:
        await blocked.wait()
        await reply.send(200)

    async with provider(waits) as stays, provider() as goes, provider() as comes:
        hooks = [Webhook(url=stays.url), Webhook(url=goes.url)]
        async with provider() as upstream, proxy(tmp_path, upstream, webhooks=hooks) as gateway:
            await until(lambda: stays.seen and goes.seen, "server.start at both")
            await gateway.post()  # queued behind the one that waits
            await until(lambda: "budget.update" in events_of(goes.seen), "the events of it")
            changed = Webhook(url=stays.url, secret=Secret("from now on"))
            new = Webhook(url=comes.url, events=("request.*",))
            gateway.files.change(events=Events(webhooks=(changed, new)))
            await gateway.reload()
            gone = len(goes.seen)
            await gateway.post()
            await until(lambda: comes.seen, "an event at the new target")
            blocked.set()
            await until(lambda: len(events_of(stays.seen)) == 5, "all events, none lost")
    per_request = ["request.completed", "budget.update"]
    assert events_of(stays.seen)[:5] == ["server.start", *per_request, *per_request]
    assert stays.last.get("x-webhook-secret") == ["from now on"]
    assert events_of(comes.seen) == ["request.completed"]
    assert len(goes.seen) == gone
    assert "lost" not in gateway.said.text


async def test_a_target_may_come_where_there_was_none(tmp_path: Path) -> None:
    async with (
        provider() as upstream,
        provider() as target,
        proxy(tmp_path, upstream) as gateway,
    ):
        gateway.files.change(events=Events(webhooks=(Webhook(url=target.url),)))
        await gateway.reload()
        await gateway.post()
        await until(lambda: len(target.seen) == 2, "the events of a request")
    assert events_of(target.seen)[:2] == ["request.completed", "budget.update"]


# The central server.


async def test_the_centre_reloads_too(tmp_path: Path) -> None:
    async with provider() as target, centre(tmp_path) as central:
        gateway_files: Files = central.files
        gateway_files.change(events=Events(webhooks=(Webhook(url=target.url),)))
        said = await reloaded(gateway_files, central.said)
        central.tokens.add()
        await until(lambda: target.seen, "token.created at the new target")
        assert (await central.get("/api/v1/tokens", API_KEY)).status == 200
    assert "reloaded: 1 setting changed: events.webhooks;" in said
    assert events_of(target.seen) == ["token.created"]
