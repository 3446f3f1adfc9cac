"""TLS contexts, and the own CA and certificate that `serve` makes on its first start."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tokenomics.errors import Failed, Invalid
from tokenomics.files import write_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CA_DAYS = 3650
# Apple's clients refuse server certificates that hold for longer than 825 days.
CERTIFICATE_DAYS = 397
RENEW_DAYS = 30  # a certificate with less left is made anew


@functools.lru_cache(maxsize=64)  # loading the system's CAs takes 10 ms and more
def client_context(
    *, insecure: bool = False, ca_file: str = "", cert_file: str = "", key_file: str = ""
) -> ssl.SSLContext:
    """The context for connections out: the system's CAs and `ca_file`, TLS 1.2 or newer, with a
    client certificate if `cert_file` names one. Forget them by `client_context.cache_clear()` when
    files may have changed.

    Raises Invalid if a file cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as e:
            raise Invalid(f"{ca_file}: cannot be used as CA certificates: {e}") from None
    if cert_file:
        _load_pair(context, Path(cert_file), Path(key_file or cert_file))
    return context


def bare_server_context() -> ssl.SSLContext:
    """The context for a listener, TLS 1.2 or newer, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """The same with a certificate. Raises Invalid if the files do not fit."""
    context = bare_server_context()
    _load_pair(context, cert_file, key_file)
    return context


def _load_pair(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    """Use a certificate from now on, also in a context that is in use. Raises Invalid."""
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as e:
        raise Invalid(f"TLS certificate {cert_file} with key {key_file}: {e}") from None


def certificate_names(cert_file: Path) -> list[str]:
    """The host names of the first certificate of a file, in lower case; a wildcard begins with
    `*.`. Raises Invalid."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificates(cert_file.read_bytes())[0]
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError) as e:
        raise Invalid(f"TLS certificate {cert_file}: {e}") from None
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)]


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the first certificate as `AA:BB:...`, the way OpenSSL and browsers show it."""
    first, end, _ = pem.decode("ascii").partition(ssl.PEM_FOOTER)
    der = ssl.PEM_cert_to_DER_cert(first + end)
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def own_names(extra: tuple[str, ...]) -> list[str]:
    """The names an own certificate is made for, in a stable order."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn(), *extra]
    return list(dict.fromkeys(name for name in names if name))


def ensure_certificate(folder: Path, extra: tuple[str, ...], now: datetime) -> tuple[Path, Path]:
    """The own certificate and key in `folder`, made or renewed if need be; CA in `ca.crt`.

    The CA is made once and kept: clients trust it. Raises Failed if the folder cannot be written,
    or holds what cannot be read.
    """
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    names = own_names(extra)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / "ca.crt").exists() or not (folder / "ca.key").exists():
            _make_ca(folder, now)
            with contextlib.suppress(FileNotFoundError):
                cert_file.unlink()
        if not _still_good(cert_file, key_file, names, now):
            _make_certificate(folder, names, now)
    except OSError as e:
        raise Failed(
            f"certificates cannot be kept in {folder}: {e.strerror or e}; set server.tls.cert_dir"
        ) from None
    except ValueError as e:  # what cryptography says of files that are something else
        raise Failed(
            f"certificates in {folder} cannot be read: {e}; restore or delete them"
        ) from None
    return cert_file, key_file


def _still_good(cert_file: Path, key_file: Path, names: list[str], now: datetime) -> bool:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if not cert_file.exists() or not key_file.exists():
        return False
    certificate = x509.load_pem_x509_certificates(cert_file.read_bytes())[0]
    if certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        return False
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    if key.public_key() != certificate.public_key():  # two processes made one at the same time
        return False
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_alternatives(names)) <= set(found)


def _make_ca(folder: Path, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # The host's name tells apart the CAs of several proxies in a system's list.
    name = _name(f"tokenomics CA {socket.gethostname()}"[:64])
    usage = _usage(sign_certificates=True)
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(ski, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(folder / "ca.crt", folder / "ca.key", [certificate], key)


def _make_certificate(folder: Path, names: list[str], now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey), "ca.key is made by _make_ca"
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca.subject, key, now, CERTIFICATE_DAYS)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    _write_pair(folder / "server.crt", folder / "server.key", [certificate, ca], key)


def _name(common: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])


def _alternatives(names: list[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    out: list[x509.GeneralName] = []
    for name in names:
        try:
            out.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            out.append(x509.DNSName(name.encode("idna").decode()))
    return out


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clients' clocks differ a little
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(
    cert_file: Path, key_file: Path, chain: list[x509.Certificate], key: ec.EllipticCurvePrivateKey
) -> None:
    """Write the key first: a certificate without its key would look complete."""
    from cryptography.hazmat.primitives import serialization

    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(key_file, pem)
    write_private(cert_file, b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain))
    os.chmod(cert_file, 0o644)  # a certificate is public


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
