"""The certificates of a listener: chosen by name, resumed, replaced while it listens."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509

from tests.net.peers import Peer, Stage, get, serve
from tests.net.test_tls import shake_hands
from tokenomics.errors import Invalid
from tokenomics.net.connection import Reply, Request
from tokenomics.net.shown import Listener, Pair, load_shown

MAIN, API, WILD = "localhost", "api.test", "*.wild.test"


@pytest.fixture
def folder(authority: trustme.CA, tmp_path: Path) -> Path:
    """A certificate for each name, in a file of its first label; `*` is `wild`."""
    for name, file in ((MAIN, "main"), (API, "api"), (WILD, "wild"), ("x.wild.test", "exact")):
        write(authority, tmp_path / file, name)
    return tmp_path


def write(authority: trustme.CA, path: Path, *names: str, common: str | None = None) -> Pair:
    issued = authority.issue_cert(*names, common_name=common)
    issued.private_key_pem.write_to_path(str(path.with_suffix(".key")))
    path.with_suffix(".crt").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
    return pair(path)


def pair(path: Path) -> Pair:
    return Pair(path.with_suffix(".crt"), path.with_suffix(".key"), f"the place of {path.name}")


def listener(folder: Path, *files: str) -> Listener:
    main, *others = [pair(folder / file) for file in files]
    return Listener(load_shown(main, others))


def names_shown(server: Listener, name: str | None) -> set[str]:
    """The names in the certificate that a client gets which asks for a name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return names_in(_peer_certificate(server, context, name))


def names_in(der: bytes) -> set[str]:
    certificate = x509.load_der_x509_certificate(der)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def _peer_certificate(server: Listener, context: ssl.SSLContext, name: str | None) -> bytes:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.context.wrap_bio(to_server, to_client, server_side=True)
    ours = context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(5):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    der = ours.getpeercert(binary_form=True)
    assert der is not None
    return der


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (None, MAIN),
        (MAIN, MAIN),
        ("unknown.test", MAIN),
        (API, API),
        ("API.Test", API),
        ("a.wild.test", WILD),
        ("a.b.wild.test", MAIN),
        ("wild.test", MAIN),
        ("x.wild.test", "x.wild.test"),
    ],
)
def test_the_certificate_is_that_of_the_name_that_is_asked_for(
    folder: Path, asked: str | None, shown: str
) -> None:
    assert names_shown(listener(folder, "main", "api", "wild", "exact"), asked) == {shown}


def test_the_first_certificate_of_a_name_is_shown(authority: trustme.CA, folder: Path) -> None:
    write(authority, folder / "both", API, "second.test")
    assert names_shown(listener(folder, "main", "both", "api"), API) == {API, "second.test"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_chosen_certificate_is_good_for_a_client_of_each_version(
    folder: Path, ca_file: Path, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = listener(folder, "main", "api")
    ours = shake_hands(server.context, context, API)
    assert ours.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_nothing_older_than_tls_1_2_is_spoken(folder: Path) -> None:
    old = ssl.create_default_context()
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake_hands(listener(folder, "main").context, old, MAIN)


def test_a_client_that_speaks_only_http_2_gets_its_connection(folder: Path, ca_file: Path) -> None:
    """Whether it then speaks HTTP/1.1 is for it to say."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.set_alpn_protocols(["h2"])
    ours = shake_hands(listener(folder, "main").context, context, MAIN)
    assert ours.selected_alpn_protocol() is None


def test_every_fault_is_told_with_its_place(authority: trustme.CA, folder: Path) -> None:
    (folder / "bad.crt").write_text("garbage")
    (folder / "bad.key").write_text("garbage")
    nameless = write(authority, folder / "nameless", common="only.a.common.name")
    with pytest.raises(Invalid) as caught:
        load_shown(pair(folder / "gone"), [pair(folder / "bad"), nameless])
    gone, bad, unnamed = str(caught.value).splitlines()
    assert gone.startswith("the place of gone: ")
    assert "gone.crt" in gone
    assert bad.startswith("the place of bad: ")
    assert unnamed.endswith("nameless.crt has no host name that a client could ask for")


# Over sockets.


async def ping(request: Request, reply: Reply) -> None:
    await reply.send(200, [], b"pong")


async def started(nursery: trio.Nursery, server: Listener, ca_file: Path) -> Stage:
    client = ssl.create_default_context(cafile=str(ca_file))
    client.check_hostname = False  # `peers.connect` asks for an address
    return await serve(nursery, ping, tls=(server.context, client))


def certificate_of(peer: Peer) -> set[str]:
    assert isinstance(peer.stream, trio.SSLStream)
    return names_in(peer.stream.getpeercert(binary_form=True))


async def test_a_swap_holds_for_new_connections_and_cuts_no_old_one(
    nursery: trio.Nursery, folder: Path, ca_file: Path
) -> None:
    server = listener(folder, "main")
    stage = await started(nursery, server, ca_file)
    old = await stage.connect()
    server.shown = load_shown(pair(folder / "api"))
    new = await stage.connect()
    assert (certificate_of(old), certificate_of(new)) == ({MAIN}, {API})
    for peer in (old, new):
        await peer.send(get())
        assert (await peer.answer()).body == b"pong"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed_also_over_a_swap(
    nursery: trio.Nursery, folder: Path, ca_file: Path, version: ssl.TLSVersion
) -> None:
    server = listener(folder, "main", "api")
    stage = await started(nursery, server, ca_file)
    context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = context.maximum_version = version
    session: ssl.SSLSession | None = None
    reused = []
    for _ in range(3):
        found, session = await trio.to_thread.run_sync(blocking, stage.port, context, session)
        reused.append(found)
        server.shown = load_shown(pair(folder / "main"), [pair(folder / "api")])
    assert reused == [False, True, True]


def blocking(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[bool | None, ssl.SSLSession | None]:
    """One request as Python's own TLS sockets make it: (was the session resumed, the session)."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as sock,
        context.wrap_socket(sock, server_hostname=API, session=session) as tls,
    ):
        tls.sendall(get())
        assert b"pong" in tls.recv(65536)  # with TLS 1.3 the ticket comes before it
        return tls.session_reused, tls.session
