"""Connections out over real sockets: through HTTP proxies, and with client certificates."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trustme

from tests.net.peers import Peer, head, listen, patience
from tokenomics.net.client import Broken, Client, Patience, Unreachable
from tokenomics.net.origin import DIRECT, Origin
from tokenomics.net.proxies import Proxies
from tokenomics.net.resolver import Found, Resolver

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
TUNNEL = head("HTTP/1.1 200 Connection established")
NAME = "provider.test"  # loopback goes past the proxies of the environment


@dataclass
class Tunnels:
    """An HTTP proxy. It reaches 127.0.0.1 whatever the name, and keeps the heads that it got."""

    answer: bytes = TUNNEL
    port: int = 0
    heads: list[list[str]] = field(default_factory=list)

    async def script(self, peer: Peer) -> None:
        lines = (await peer.until(b"\r\n\r\n")).decode().splitlines()
        self.heads.append(lines[:-1])
        await peer.send(self.answer)
        if not self.answer.startswith(b"HTTP/1.1 200"):
            return
        port = int(lines[0].split(" ")[1].rpartition(":")[2])
        there = Peer(await trio.open_tcp_stream("127.0.0.1", port))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pipe, peer, there)
                await pipe(there, peer)
                nursery.cancel_scope.cancel()
        finally:
            there.transport.socket.close()


async def pipe(source: Peer, sink: Peer) -> None:
    while data := await source.stream.receive_some():
        await sink.stream.send_all(data)


async def http_proxy(
    nursery: trio.Nursery, answer: bytes = TUNNEL, context: ssl.SSLContext | None = None
) -> Tunnels:
    tunnels = Tunnels(answer)
    tunnels.port = await listen(nursery, tunnels.script, context)
    return tunnels


async def answer_ok(peer: Peer) -> None:
    while await peer.request() is not None:
        await peer.send(OK)


@pytest.fixture
def provider_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The context of a provider of NAME."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    return context


async def fetch(client: Client, origin: Origin) -> bytes:
    try:
        with patience(), await client.call(origin, "GET", "/", []) as call:
            return await call.read_all(2)
    finally:
        client.close()


def through(env: Mapping[str, str]) -> Client:
    return Client(proxies=Proxies.from_env(env))


# Through a proxy.


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_goes_through_the_proxy_of_the_environment(
    nursery: trio.Nursery, provider_tls: ssl.SSLContext, ca_file: Path, scheme: str
) -> None:
    port = await listen(nursery, answer_ok, provider_tls if scheme == "https" else None)
    tunnels = await http_proxy(nursery)
    origin = Origin(scheme, NAME, port, ca_file=str(ca_file))
    client = through({f"{scheme.upper()}_PROXY": f"http://127.0.0.1:{tunnels.port}"})
    assert await fetch(client, origin) == b"ok"
    assert tunnels.heads == [[f"CONNECT {NAME}:{port} HTTP/1.1", f"host: {NAME}:{port}"]]


async def test_a_tunnel_is_kept_and_used_again(
    nursery: trio.Nursery, provider_tls: ssl.SSLContext, ca_file: Path
) -> None:
    port = await listen(nursery, answer_ok, provider_tls)
    tunnels = await http_proxy(nursery)
    origin = Origin("https", NAME, port, ca_file=str(ca_file))
    client = through({"HTTPS_PROXY": f"127.0.0.1:{tunnels.port}"})
    with patience():
        for _ in range(2):
            with await client.call(origin, "GET", "/", []) as call:
                assert await call.read_all(2) == b"ok"
    assert len(tunnels.heads) == 1
    client.close()


async def test_user_and_password_are_sent_to_the_proxy_alone(
    nursery: trio.Nursery, provider_tls: ssl.SSLContext, ca_file: Path
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        seen.extend(name for name, _ in request[0].headers)
        await peer.send(OK)

    port = await listen(nursery, script, provider_tls)
    tunnels = await http_proxy(nursery)
    client = through({"HTTPS_PROXY": f"http://us%40er:pass@127.0.0.1:{tunnels.port}"})
    assert await fetch(client, Origin("https", NAME, port, ca_file=str(ca_file))) == b"ok"
    basic = base64.b64encode(b"us@er:pass").decode()
    assert f"proxy-authorization: Basic {basic}" in tunnels.heads[0]
    assert b"proxy-authorization" not in seen


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (head("HTTP/1.1 407 Auth", "Content-Length: 4") + b"who?", "wants a user and password"),
        (head("HTTP/1.1 403 No", "Content-Length: 2") + b"no", "answered 403 to CONNECT"),
        (head("HTTP/1.1 502 Bad"), "answered 502 to CONNECT"),
        (b"SSH-2.0-x\r\n\r\n", "proxy 127.0.0.1:"),
        (b"", "did not answer CONNECT"),
        (TUNNEL + b"more", "sent more than an answer"),
    ],
    ids=["407", "403", "502", "not HTTP", "closes", "says more"],
)
async def test_a_proxy_that_refuses_is_unreachable_and_says_why(
    nursery: trio.Nursery, answer: bytes, says: str
) -> None:
    sink = await listen(nursery, answer_ok)
    tunnels = await http_proxy(nursery, answer)
    client = through({"HTTP_PROXY": f"http://user:secret@127.0.0.1:{tunnels.port}"})
    with pytest.raises(Unreachable, match=says) as caught:
        await fetch(client, Origin("http", NAME, sink))
    assert f"proxy 127.0.0.1:{tunnels.port}" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_silent_proxy_is_given_up_in_time(nursery: trio.Nursery) -> None:
    async def silent(peer: Peer) -> None:
        await peer.more()
        await peer.more()

    port = await listen(nursery, silent)
    client = through({"HTTP_PROXY": f"http://127.0.0.1:{port}"})
    origin, short = Origin("http", NAME, 80), Patience(handshake=0.02)
    with patience(), pytest.raises(Unreachable, match="no answer to CONNECT within"):
        await client.call(origin, "GET", "/", [], patience=short)


async def test_a_proxy_may_be_spoken_to_in_tls(
    nursery: trio.Nursery, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """TLS to the provider in TLS to the proxy."""
    port = await listen(nursery, answer_ok, server_tls)
    tunnels = await http_proxy(nursery, context=server_tls)
    url = f"https://user:secret@127.0.0.1:{tunnels.port}"
    origin = Origin("https", "127.0.0.1", port, ca_file=str(ca_file), proxy=url)
    assert await fetch(Client(), origin) == b"ok"
    assert tunnels.heads[0][0] == f"CONNECT 127.0.0.1:{port} HTTP/1.1"


async def test_what_no_proxy_covers_is_reached_directly(nursery: trio.Nursery) -> None:
    def look_up(host: object, port: object, *_: object) -> Found:
        assert host == NAME.encode()
        stream = socket.SOCK_STREAM
        return [(socket.AF_INET, stream, 6, "", ("127.0.0.1", int(str(port))))]

    port = await listen(nursery, answer_ok)
    tunnels = await http_proxy(nursery)
    env = {"HTTP_PROXY": f"http://127.0.0.1:{tunnels.port}", "NO_PROXY": f"other, {NAME}"}
    before = trio.socket.set_custom_hostname_resolver(Resolver(look_up))
    try:
        assert await fetch(through(env), Origin("http", NAME, port)) == b"ok"
    finally:
        trio.socket.set_custom_hostname_resolver(before)
    assert tunnels.heads == []


async def test_an_origins_own_proxy_or_none_beats_the_environment(nursery: trio.Nursery) -> None:
    port = await listen(nursery, answer_ok)
    tunnels, other = await http_proxy(nursery), await http_proxy(nursery)
    env = {"HTTP_PROXY": f"http://127.0.0.1:{other.port}"}
    own = Origin("http", "127.0.0.1", port, proxy=f"http://127.0.0.1:{tunnels.port}")
    assert await fetch(through(env), own) == b"ok"
    assert await fetch(through(env), Origin("http", "127.0.0.1", port, proxy=DIRECT)) == b"ok"
    assert (len(tunnels.heads), other.heads) == (1, [])


async def test_other_proxies_serve_after_a_refresh(nursery: trio.Nursery) -> None:
    port = await listen(nursery, answer_ok)
    tunnels = await http_proxy(nursery)
    client = through({"HTTP_PROXY": "http://127.0.0.1:1"})
    origin = Origin("http", NAME, port)
    with pytest.raises(Unreachable):
        await client.call(origin, "GET", "/", [])
    url = f"http://127.0.0.1:{tunnels.port}"
    client.refresh(Proxies.from_env({"HTTP_PROXY": url}), client._pool.limits)
    assert await fetch(client, origin) == b"ok"


# TLS.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed_by_the_next_connection(
    nursery: trio.Nursery, authority: trustme.CA, ca_file: Path, version: ssl.TLSVersion
) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.minimum_version = context.maximum_version = version
    origin = Origin(
        "https", "127.0.0.1", await listen(nursery, once, context), ca_file=str(ca_file)
    )
    client = Client()
    for _ in range(3):
        assert await fetch(client, origin) == b"ok"
    assert context.session_stats()["hits"] == 2
    client.refresh(Proxies(), client._pool.limits)
    assert await fetch(client, origin) == b"ok"
    assert context.session_stats()["hits"] == 2


@pytest.fixture
def demanding(authority: trustme.CA, server_tls: ssl.SSLContext) -> ssl.SSLContext:
    """The context of a server that asks clients for a certificate of the CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_client_certificate_is_shown_to_who_asks(
    nursery: trio.Nursery,
    authority: trustme.CA,
    demanding: ssl.SSLContext,
    ca_file: Path,
    tmp_path: Path,
) -> None:
    issued = authority.issue_cert("gateway.test")
    both, cert, key = tmp_path / "both.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(both))
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    port = await listen(nursery, answer_ok, demanding)
    for cert_file, key_file in ((cert, str(key)), (both, "")):
        origin = Origin(
            "https",
            "127.0.0.1",
            port,
            ca_file=str(ca_file),
            cert_file=str(cert_file),
            key_file=key_file,
        )
        assert await fetch(Client(), origin) == b"ok"


async def test_without_the_certificate_that_is_asked_for_nothing_is_answered(
    nursery: trio.Nursery, demanding: ssl.SSLContext, ca_file: Path
) -> None:
    port = await listen(nursery, answer_ok, demanding)
    with pytest.raises((Unreachable, Broken)):  # TLS 1.3: it is said after the handshake
        await fetch(Client(), Origin("https", "127.0.0.1", port, ca_file=str(ca_file)))
