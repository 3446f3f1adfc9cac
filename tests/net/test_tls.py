"""TLS contexts, and the own CA and certificate: made, kept, renewed."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.net.peers import PATIENCE, get, serve
from tokenomics.errors import Failed, Invalid
from tokenomics.net.connection import Reply, Request
from tokenomics.net.tls import (
    CERTIFICATE_DAYS,
    RENEW_DAYS,
    client_context,
    ensure_certificate,
    fingerprint,
    own_names,
    server_context,
    utc_now,
)

NOW = utc_now()  # certificates made here are used in handshakes, which look at the clock


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(path: Path) -> set[str]:
    extension = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in extension.value}


def trusting(folder: Path) -> ssl.SSLContext:
    """A client that trusts the own CA, as strict as OpenSSL gets (Python 3.13's default)."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """A handshake in memory; the client's end."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(5):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.version()
    return ours


# The own CA and certificate.


def test_what_is_made_is_complete_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "tls"
    cert_file, key_file = ensure_certificate(folder, (), NOW)
    assert (cert_file, key_file) == (folder / "server.crt", folder / "server.key")
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "server.crt": 0o644, "server.key": 0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    ensure_certificate(tmp_path, ("proxy.example",), NOW)
    before = contents()
    last_day = NOW + timedelta(days=CERTIFICATE_DAYS - RENEW_DAYS, seconds=-1)
    ensure_certificate(tmp_path, ("proxy.example",), last_day)
    assert contents() == before


@pytest.mark.parametrize(
    "extra",
    [("proxy.example",), ("10.0.0.1",), ("fe80:0::1",), ("b\xfccher.example",), ("*.example",)],
    ids=["name", "ipv4", "ipv6", "idna", "wildcard"],
)
def test_a_configured_name_is_in_it_and_found_again(tmp_path: Path, extra: tuple[str, ...]) -> None:
    cert_file, _ = ensure_certificate(tmp_path, (), NOW)
    plain = cert_file.read_bytes()
    ensure_certificate(tmp_path, extra, NOW)
    named = cert_file.read_bytes()
    assert named != plain
    ensure_certificate(tmp_path, extra, NOW)
    assert cert_file.read_bytes() == named


def test_new_names_make_a_new_certificate_of_the_same_ca(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path, (), NOW)
    ca = (tmp_path / "ca.crt").read_bytes()
    assert "new.example" not in names(cert_file)
    ensure_certificate(tmp_path, ("new.example",), NOW)
    assert {"new.example", *own_names(())} <= names(cert_file)
    assert (tmp_path / "ca.crt").read_bytes() == ca


def test_a_name_less_keeps_the_certificate(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path, ("old.example",), NOW)
    before = cert_file.read_bytes()
    ensure_certificate(tmp_path, (), NOW)
    assert cert_file.read_bytes() == before


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(days=RENEW_DAYS * 2)])
def test_a_certificate_near_its_end_is_renewed_by_the_same_ca(
    tmp_path: Path, late: timedelta
) -> None:
    cert_file, key_file = ensure_certificate(tmp_path, (), NOW)
    ca, key = (tmp_path / "ca.crt").read_bytes(), key_file.read_bytes()
    then = NOW + timedelta(days=CERTIFICATE_DAYS - RENEW_DAYS) + late
    ensure_certificate(tmp_path, (), then)
    end = then.replace(microsecond=0) + timedelta(days=CERTIFICATE_DAYS)
    assert certificate(cert_file).not_valid_after_utc == end
    assert (tmp_path / "ca.crt").read_bytes() == ca
    assert key_file.read_bytes() != key


@pytest.mark.parametrize("lost", ["server.crt", "server.key", "ca.crt", "ca.key"])
def test_a_lost_file_is_made_again_with_what_depends_on_it(tmp_path: Path, lost: str) -> None:
    ensure_certificate(tmp_path, (), NOW)
    (tmp_path / lost).unlink()
    pair = ensure_certificate(tmp_path, (), NOW)
    assert shake_hands(server_context(*pair), trusting(tmp_path), "localhost")


def test_a_key_that_does_not_fit_is_mended(tmp_path: Path) -> None:
    """Two processes that share a folder and renew at once may leave one's key and the other's
    certificate."""
    _, other_key = ensure_certificate(tmp_path / "other", (), NOW)
    folder = tmp_path / "own"
    ensure_certificate(folder, (), NOW)
    shutil.copy(other_key, folder / "server.key")
    pair = ensure_certificate(folder, (), NOW)
    assert shake_hands(server_context(*pair), trusting(folder), "localhost")


def test_it_holds_from_a_little_before_now(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path, (), NOW)
    for path in (cert_file, tmp_path / "ca.crt"):
        assert certificate(path).not_valid_before_utc < NOW - timedelta(minutes=30)


def test_a_folder_that_cannot_be_written_is_named_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Failed, match=r"file.*server\.tls\.cert_dir"):
        ensure_certificate(tmp_path / "file", (), NOW)


def test_own_names_have_no_repeats_and_keep_their_order() -> None:
    found = own_names(("localhost", "a.example", "a.example", ""))
    assert found[:3] == ["localhost", "127.0.0.1", "::1"]
    assert found[-1] == "a.example"
    assert len(found) == len(set(found))
    assert socket.gethostname() in found


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "proxy.example"])
def test_a_strict_client_accepts_it(tmp_path: Path, name: str) -> None:
    pair = ensure_certificate(tmp_path, ("proxy.example",), NOW)
    ours = shake_hands(server_context(*pair), trusting(tmp_path), name)
    assert ours.selected_alpn_protocol() is None  # none was asked for


def test_the_chain_that_is_sent_ends_in_the_ca(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path, (), NOW)
    chain = x509.load_pem_x509_certificates(cert_file.read_bytes())
    assert chain[1:] == [certificate(tmp_path / "ca.crt")]
    chain[0].verify_directly_issued_by(chain[1])


def test_another_name_or_another_ca_is_not_accepted(tmp_path: Path) -> None:
    pair = ensure_certificate(tmp_path / "one", (), NOW)
    ensure_certificate(tmp_path / "two", (), NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server_context(*pair), trusting(tmp_path / "one"), "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(*pair), trusting(tmp_path / "two"), "localhost")


def test_the_server_certificate_cannot_sign_others(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path, (), NOW)
    found = certificate(cert_file).extensions
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


async def test_it_serves_over_a_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    async def app(request: Request, reply: Reply) -> None:
        await reply.send(200, [], b"safe")

    pair = ensure_certificate(tmp_path, (), NOW)
    stage = await serve(nursery, app, tls=(server_context(*pair), trusting(tmp_path)))
    client = await stage.connect()
    await client.send(get())
    assert (await client.answer()).body == b"safe"


# Fingerprints.


def test_the_fingerprint_is_that_of_the_first_certificate(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path, (), NOW)
    expected = certificate(cert_file).fingerprint(hashes.SHA256()).hex(":").upper()
    assert fingerprint(cert_file.read_bytes()) == expected


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_the_fingerprint_is_openssls(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, (), NOW)
    path = tmp_path / "ca.crt"
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE, text=True)
    assert done.stdout.strip().split("=")[1] == fingerprint(path.read_bytes())


# Contexts.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    pair = ensure_certificate(tmp_path, (), NOW)
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    context.minimum_version = context.maximum_version = version
    spoken = shake_hands(server_context(*pair), context, "localhost").version()
    assert spoken == version.name.replace("_", ".")


def test_nothing_older_than_tls_1_2_is_offered(tmp_path: Path) -> None:
    pair = ensure_certificate(tmp_path, (), NOW)
    contexts = [server_context(*pair), client_context(), client_context(insecure=True)]
    assert [c.minimum_version for c in contexts] == [ssl.TLSVersion.TLSv1_2] * 3


def test_http_1_1_is_agreed_on(tmp_path: Path) -> None:
    pair = ensure_certificate(tmp_path, (), NOW)
    client = client_context(ca_file=str(tmp_path / "ca.crt"))
    ours = shake_hands(server_context(*pair), client, "localhost")
    assert ours.selected_alpn_protocol() == "http/1.1"


def test_a_client_verifies_unless_told_not_to() -> None:
    careful, careless = client_context(), client_context(insecure=True)
    assert (careful.verify_mode, careful.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (careless.verify_mode, careless.check_hostname) == (ssl.CERT_NONE, False)


def test_a_ca_file_is_added_to_the_systems(ca_file: Path) -> None:
    ours = client_context(ca_file=str(ca_file)).get_ca_certs(binary_form=True)
    assert {*client_context().get_ca_certs(binary_form=True)} < {*ours}


def test_a_context_is_made_once() -> None:
    assert client_context() is client_context()
    assert client_context() is not client_context(insecure=True)


@pytest.mark.parametrize("content", [None, "", "garbage"], ids=["missing", "empty", "garbage"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Invalid, match=str(path)):
        client_context(ca_file=str(path))


def test_a_certificate_and_a_key_that_do_not_fit_are_named(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path / "one", (), NOW)
    _, key_file = ensure_certificate(tmp_path / "two", (), NOW)
    with pytest.raises(Invalid, match=r"one.*two.*MISMATCH"):
        server_context(cert_file, key_file)


def test_utc_now_knows_its_zone() -> None:
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(minutes=1)
