"""Per kind of personal data and secret: what is found, and what only looks alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.detectors import DETECTORS, KINDS, luhn

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK=\n-----END RSA PRIVATE KEY-----"
TOKEN = "tkn_0b8f3c52-7f1e-4d2a-9c3b-1234567890ab"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"

# kind: texts in which «...» is what must be found
FOUND: dict[str, list[str]] = {
    "ssn": ["«123-45-6789»", "mine is «123 45 6789».", "né «001-01-0001»", "a:«899-99-9999»,"],
    "credit_card": [
        "«4111111111111111»",
        "«4111 1111 1111 1111»",
        "«4111-1111-1111-1111».",
        "«4111.1111.1111.1111»",
        "«4111 1111 1111 1111» 12/27 123",
        "amex «3782 822463 10005»",
        "«378282246310005» 1234",
        "diners «30569309025904»",
        "«6011 1111 1111 1117»",
        "19 digits «6304000000000000000»",
        "13 digits «4222222222222»",
        "«4-111-1111-1111-1111»",
    ],
    "email": [
        "«a@b.co»",
        "<«first.last+tag@mail.example.org»>",
        "mailto:«O'NEIL@EXAMPLE.COM».",
        "«x_1%y-z@sub-domain.example.museum»",
    ],
    "phone": [
        "«(415) 555-2671»",
        "call «415-555-2671»!",
        "«415.555.2671»",
        "«415 555 2671»",
        "«1-800-555-0199»",
        "«+1 (415) 555-2671»",
        "«+14155552671»",
        "«+49 30 901820»",
        "«+44 20 7946 0958»",
    ],
    "ip_address": [
        "«192.168.0.1»",
        "http://«10.0.0.1»:8080/",
        "«255.255.255.255»",
        "«2001:db8::1»",
        "[«2001:db8::1»]:443",
        "at «2001:db8::1»: down",
        "«::1»",
        "«fe80::1»%eth0",
        "«2001:0DB8:85a3:0000:0000:8a2e:0370:7334»",
        "«::ffff:192.0.2.1»",
    ],
    "aws_key": ["«AKIAIOSFODNN7EXAMPLE»", 'id="«ASIAIOSFODNN7EXAMPLE»"'],
    "api_key": [
        "«sk-abcdefghijklmnopqrstuvwx»",
        "«sk-proj-abc_DEF-0123456789abcdef»",
        "«sk-ant-api03-abcdefghijklmnop»",
        "«gsk_abcdefghijklmnopqrst»",
        "«AIzaSyA-abcdefghijklmnopqrstuvwxyz01234»",
        "«sk_live_abcdefghijklmnop»",
        "«xoxb-123456789012-abc»",
        f"«{TOKEN}»",
        '"«api_key": "0123456789abcdef»"',
        "«API-KEY = abcdefgh12345678»",
        "«apikey:abcdefgh12345678»",
    ],
    "jwt": [f"«{JWT}»", f"Bearer «{JWT}»"],
    "private_key": [
        f"«{PEM}»\nmore",
        f"«{PEM}» and «{PEM}»",
        "«-----BEGIN PRIVATE KEY-----\ncut off here»",
        "«-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----»",
        "«-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----»",
    ],
    "connection_string": [
        "«postgres://user:pass@host:5432/db»",
        'url = "«postgresql+asyncpg://u:p@h/db?ssl=1»"',
        "«mongodb+srv://u:p@cluster.example»",
        "«redis://:secret@cache:6379/0»",
        "«MYSQL://root:x@localhost»",
    ],
    "github_token": [
        "«ghp_abcdefghijklmnopqrstuvwxyz0123456789»",
        "«ghs_abcdefghijklmnopqrstuvwxyz0123456789»",
        "«github_pat_11ABCDEFG0abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG»",
    ],
    "iban": [
        "«DE89370400440532013000»",
        "«DE89 3704 0044 0532 0130 00»",
        "pay «GB82 WEST 1234 5698 7654 32» now",
        "«NO93 8601 1117 947»",
        "«BE68 5390 0754 7034», please",
        "«MT84 MALT 0110 0001 2345 MTLC AST0 01S»",
    ],
}

# kind: texts in which nothing may be found
CLEAN: dict[str, list[str]] = {
    "ssn": [
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "123456789",
        "1234-45-6789",
        "123-45-67890",
        "2024-10-1234",
    ],
    "credit_card": [
        "4111111111111112",
        "4111 1111 1111 1112",
        "0000000000000000",
        "411111111111",
        "41111111111111111111111",
        "x4111111111111111",
        "5555 5555 5555",
    ],
    "email": ["a@b", "@b.co", "a b@", "a@b.c", "a@-b.co", "user at example.com", "a@b..co"],
    "phone": [
        "4155552671",
        "123-456-7890",
        "415-155-2671",
        "+1234567",
        "12-34-56",
        "555-2671",
        "2024-10-31 12:00",
        "1415-555-26711",
    ],
    "ip_address": [
        "256.1.1.1",
        "1.2.3",
        "0.0.0.0",
        "12:30:45",
        "::",
        "std::cout",
        "Foo::bar",
        "Vec::deref()",
        "a: b",
        "01.02.03.04",
        "10:20",
        "{:d}",
        "de:ad:be:ef",
    ],
    "aws_key": [
        "AKIAIOSFODNN7EXAMPL",
        "AKIAIOSFODNN7EXAMPLEX",
        "akiaiosfodnn7example",
        "XAKIAIOSFODNN7EXAMPLE",
        "AKIAIOSFODNN1EXAMPLE",
    ],
    "api_key": [
        "sk-short",
        "risk-abcdefghijklmnopqrstuvwx",
        "api_key = short",
        "api key",
        "tkn_0b8f3c52-7f1e-1d2a-9c3b-1234567890ab",
        "AIzaShort",
        "sk_test_short",
    ],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9", "eyJhbGci.eyJzdWI.x", "a.b.c", JWT.rpartition(".")[0]],
    "private_key": [
        "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----",
        "PRIVATE KEY",
        "-----BEGIN CERTIFICATE-----",
    ],
    "connection_string": [
        "postgres://host/db",
        "postgres://user@host/db",
        "https://u:p@host/",
        "postgres is at host:5432",
        "redis://localhost:6379",
    ],
    "github_token": ["ghp_short", "ghx_abcdefghijklmnopqrstuvwxyz0123456789", "github_pat_short"],
    "iban": [
        "DE88370400440532013000",
        "DE89 3704",
        "GB82 WEST 1234 5698 7654 33",
        "de89370400440532013000",
        "XDE89370400440532013000",
    ],
}


def marked(kind: str, text: str) -> str:
    """`text` with what was found in marks."""
    out, done = "", 0
    for start, end in DETECTORS[kind].spans(text):
        out += f"{text[done:start]}«{text[start:end]}»"
        done = end
    return out + text[done:]


def test_every_kind_has_examples_of_both() -> None:
    assert set(FOUND) == set(CLEAN) == set(KINDS)


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in FOUND.items() for t in texts])
def test_what_is_found(kind: str, text: str) -> None:
    assert marked(kind, text.replace("«", "").replace("»", "")) == text


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in CLEAN.items() for t in texts])
def test_what_only_looks_alike(kind: str, text: str) -> None:
    assert marked(kind, text) == text


PROSE = """The meeting of 2024-10-31 at 12:30:45 covered versions 3.11 and 3.12. Build 1234567 took
99.5 % of 1,000,000 ms. See std::vec::Vec, a[1:2], {'key': 'value'}, https://example.com/a?b=c#d,
commit 5d41402abc4b2a76b9719d911017c592, uuid 123e4567-e89b-12d3-a456-426614174000, RFC 9110 §10."""


@pytest.mark.parametrize("kind", KINDS)
def test_prose_and_code_hold_nothing(kind: str) -> None:
    assert marked(kind, PROSE) == PROSE


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789", min_size=1, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_luhn_has_one_check_digit_and_sees_each_wrong_digit(
    body: str, place: int, add: int
) -> None:
    [whole] = [body + digit for digit in "0123456789" if luhn(body + digit)]
    place %= len(whole)
    wrong = str((int(whole[place]) + add) % 10)
    assert not luhn(whole[:place] + wrong + whole[place + 1 :])
