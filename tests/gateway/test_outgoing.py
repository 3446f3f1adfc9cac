"""How a provider is reached, as its row of providers.yaml says: through the whole proxy."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.support.node import proxy
from tests.support.upstream import hangs, provider
from tokenomics.config.settings import Seconds, Upstream


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """A CA nobody knows, its certificate in `ca.pem`."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def row(url: str, **more: Any) -> dict[str, Any]:
    return {"openai": {"upstream_url": url, **more}}


@pytest.mark.parametrize(
    ("how", "status"),
    [({}, 502), ({"ca_file": "ca.pem"}, 200), ({"insecure": True}, 200)],
    ids=["unknown CA", "ca_file", "insecure"],
)
async def test_a_provider_behind_a_private_ca(
    tmp_path: Path, authority: trustme.CA, how: dict[str, Any], status: int
) -> None:
    if "ca_file" in how:
        how = {"ca_file": str(tmp_path / "ca.pem")}
    async with provider(tls=server_side(authority)) as upstream:
        providers = row(upstream.url, **how)
        async with proxy(tmp_path, upstream, providers=providers) as gateway:
            answer = await gateway.post()
    assert answer.status == status, answer.body
    if status == 502:
        assert "certificate verify failed" in answer.message.lower().replace("_", " ")


async def test_a_provider_that_wants_a_client_certificate(
    tmp_path: Path, authority: trustme.CA
) -> None:
    context = server_side(authority)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    pair = tmp_path / "client.pem"
    authority.issue_cert("gateway.test").private_key_and_cert_chain_pem.write_to_path(str(pair))
    how = {"ca_file": str(tmp_path / "ca.pem"), "cert_file": str(pair)}
    async with provider(tls=context) as upstream:
        providers = row(upstream.url, **how)
        async with proxy(tmp_path, upstream, providers=providers) as gateway:
            assert (await gateway.post()).status == 200
            gateway.files.change(providers=row(upstream.url, ca_file=how["ca_file"]))
            await gateway.reload()
            assert (await gateway.post()).status == 502


async def test_a_provider_with_a_proxy_of_its_own(tmp_path: Path, nursery: trio.Nursery) -> None:
    heads: list[bytes] = []

    async def tunnel(stream: trio.SocketStream) -> None:
        async with stream:
            heads.append(bytes(await stream.receive_some(65536)))
            await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            await stream.receive_some(1)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, tunnel, [listener])
    port = listener.socket.getsockname()[1]
    url = f"http://user:hunter2@127.0.0.1:{port}"
    async with provider() as upstream:
        providers = row(upstream.url, proxy=url)
        async with proxy(tmp_path, upstream, providers=providers) as gateway:
            answer = await gateway.post()
            gateway.files.change(providers=row(upstream.url, proxy="direct"))
            await gateway.reload()
            assert (await gateway.post()).status == 200
    assert (answer.status, answer.code) == (502, "upstream_unreachable")
    assert f"proxy 127.0.0.1:{port}: it answered 403 to CONNECT" in answer.message
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.1\r\n".encode())
    assert "hunter2" not in answer.message + gateway.said.text + gateway.said.requests.getvalue()


async def test_the_bound_on_connections_is_told_to_who_waits_in_vain(tmp_path: Path) -> None:
    settings = Upstream(connect_timeout=Seconds(0.02), max_connections=1)
    async with provider(hangs) as upstream, proxy(tmp_path, upstream) as gateway:
        gateway.files.change(upstream=settings)
        said = await gateway.reload()
        async with trio.open_nursery() as clients:
            clients.start_soon(gateway.post)
            with trio.fail_after(5):
                while not upstream.running:
                    await trio.testing.wait_all_tasks_blocked(0.001)
            answer = await gateway.post()
            clients.cancel_scope.cancel()
    assert answer.code == "upstream_unreachable"
    assert "all 1 connections are in use" in answer.message
    assert "upstream.connect_timeout, upstream.max_connections" in said


async def test_a_policys_own_url_does_not_inherit_how_the_provider_is_reached(
    tmp_path: Path, authority: trustme.CA
) -> None:
    """An `insecure` that was meant for one host must not open another."""
    async with provider(tls=server_side(authority)) as upstream:
        policy = {"base_key_env": "OPENAI_API_KEY", "upstream_url": upstream.url}
        providers = row("https://other.test", insecure=True)
        async with proxy(tmp_path, upstream, policy, providers=providers) as gateway:
            assert (await gateway.post()).code == "upstream_unreachable"
