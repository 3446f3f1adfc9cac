"""The certificates of a listener from its settings: loaded, renewed in time, faults told."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.net.test_tls import certificate, names, shake_hands, trusting
from tests.support.node import Said
from tokenomics.cli.https import Https
from tokenomics.config.settings import Certificate, Tls
from tokenomics.errors import Failed, Invalid
from tokenomics.net.tls import CERTIFICATE_DAYS, RENEW_DAYS, ensure_certificate, utc_now

NOW = utc_now()  # certificates made here are used in handshakes, which look at the clock


class Clock:
    """A time of day that is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward_to_the_last_month(self) -> None:
        self.now += timedelta(days=CERTIFICATE_DAYS - RENEW_DAYS, minutes=1)


def shown_by(https: Https, folder: Path) -> bytes | None:
    client = trusting(folder)
    return shake_hands(https.context, client, "localhost").getpeercert(binary_form=True)


async def test_the_own_certificate_is_renewed_before_its_end(tmp_path: Path) -> None:
    clock, said = Clock(), Said()
    https = Https(Tls(cert_dir=tmp_path), clock)
    first = shown_by(https, tmp_path)
    await https.renew(said.log)
    assert shown_by(https, tmp_path) == first
    assert said.text == ""
    clock.forward_to_the_last_month()
    await https.renew(said.log)
    assert "the TLS certificate was renewed" in said.text
    end = certificate(tmp_path / "server.crt").not_valid_after_utc
    assert end > clock.now + timedelta(days=CERTIFICATE_DAYS - 1)
    assert https._loaded.shown.pem == (tmp_path / "server.crt").read_bytes()


async def test_a_certificate_that_another_process_renewed_is_taken(tmp_path: Path) -> None:
    https, said = Https(Tls(cert_dir=tmp_path)), Said()
    (tmp_path / "server.crt").unlink()
    ensure_certificate(tmp_path, (), NOW)
    old = shown_by(https, tmp_path)
    await https.renew(said.log)
    assert shown_by(https, tmp_path) != old


async def test_a_failed_renewal_is_said_once_and_tried_again(tmp_path: Path) -> None:
    clock, said = Clock(), Said()
    https = Https(Tls(cert_dir=tmp_path), clock)
    first = shown_by(https, tmp_path)
    clock.forward_to_the_last_month()
    ca = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.key").write_text("garbage")
    for _ in range(2):
        await https.renew(said.log)
    assert said.text.count("could not be renewed") == 1
    assert str(tmp_path) in said.text
    assert shown_by(https, tmp_path) == first
    (tmp_path / "ca.key").write_bytes(ca)
    await https.renew(said.log)
    assert "was renewed" in said.text


async def test_a_certificate_of_the_operators_is_left_alone(tmp_path: Path) -> None:
    cert_file, key_file = ensure_certificate(tmp_path, (), NOW)
    https = Https(Tls(cert_file=str(cert_file), key_file=str(key_file)), Clock())
    (tmp_path / "server.crt").unlink()
    said = Said()
    await https.renew(said.log)
    assert (https.ca_file, said.text) == (None, "")


def test_more_certificates_are_shown_to_who_asks_for_their_names(tmp_path: Path) -> None:
    pair = ensure_certificate(tmp_path / "other", ("other.test",), NOW)
    more = (Certificate(str(pair[0]), str(pair[1])),)
    https = Https(Tls(cert_dir=tmp_path / "own", certificates=more))
    assert https.ca_file == tmp_path / "own" / "ca.crt"
    assert shake_hands(https.context, trusting(tmp_path / "other"), "other.test")
    assert shake_hands(https.context, trusting(tmp_path / "own"), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(https.context, trusting(tmp_path / "own"), "other.test")
    assert "other.test" in names(pair[0])


@pytest.mark.parametrize(
    ("tls", "error", "says"),
    [
        (Tls(auto_gen=False), Failed, "needs cert_file and key_file, or auto_gen"),
        (Tls(cert_file="a.crt"), Failed, "needs cert_file and key_file"),
        (Tls(cert_file="a.crt", key_file="a.key"), Invalid, "server.tls: TLS certificate a.crt"),
    ],
    ids=["nothing", "half", "missing"],
)
def test_settings_without_a_certificate_are_refused(
    tls: Tls, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Https(tls)


def test_an_additional_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^server.tls.certificates\[0\]: TLS certificate b.crt"):
        Https(Tls(cert_dir=tmp_path, certificates=(Certificate("b.crt", "b.key"),)))


def test_garbage_in_the_own_folder_is_named(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, (), NOW)
    (tmp_path / "server.crt").write_text("garbage")
    with pytest.raises(Failed, match=f"certificates in {tmp_path} cannot be read"):
        Https(Tls(cert_dir=tmp_path))
