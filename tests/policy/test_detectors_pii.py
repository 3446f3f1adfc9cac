"""Personal data: what is found, and what only looks alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.detector_cases import Table, each, marked, plain
from tokenomics.policy.detectors import DETECTORS, luhn

FOUND: Table = {
    "ssn": [
        "«123-45-6789»",
        "mine is «123 45 6789».",
        "né «001-01-0001»",
        "a:«899-99-9999»,",
        "«123-45-6789»_«123-45-6780»",
        r'{"text": "ssn:\n«123-45-6789»\n"}',
        "«123‑45‑6789»",
        "«１２３－４５－６７８９»",
        "«١٢٣-٤٥-٦٧٨٩»",
        "«12\u200b3-45-\u20606789»",
        "SSN: «123456789»",
        '"ssn": "«123456789»"',
        "her social security number is «123456789»",
    ],
    "credit_card": [
        "«4111111111111111»",
        "«4111 1111 1111 1111»",
        "«4111-1111-1111-1111».",
        "«4111.1111.1111.1111»",
        "«4111 - 1111 - 1111 - 1111»",
        "«4111 1111 1111 1111» 12/27 123",
        "«4111111111111111» 1227",
        "«4111 1111 1111 1111» 123",
        "amex «3782 822463 10005»",
        "«378282246310005» 1234",
        "diners «30569309025904», «3056 930902 5904»",
        "«6011 1111 1111 1117»",
        "19 digits «6304000000000000000»",
        "13 digits «4222222222222»",
        "«4-111-1111-1111-1111»",
        "«4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1»",
        "1234«4111 1111 1111 1111»",
        "5234 «4111 1111 1111 1111» 1111",
        "«4111111111111111» «5500005555555559»",
        "«4111-1111-1111-1111» «5500-0055-5555-5559»",
        '{"card":"«4111111111111111»","n":1}',
        r"card:\n«4111111111111111»\n",
        "«4111\u00a01111\u00a01111\u00a01111»",
        "«4111–1111–1111–1111»",
        "«４１１１１１１１１１１１１１１１»",
        "«४१११११११११११११११»",
        "«4111\u200b1111\u200b1111\u200b1111»",
        "invoice_«4111111111111111».pdf",
        "«4571736000000075», «2221000000000009», «6200000000000005», «3530111333300000»",
    ],
    "email": [
        "«a@b.co»",
        'to «"john doe"@example.com», now',
        'a "quote" and «"jörg.k"@example.com»',
        '"a" <«b@c.co»>',
        "<«first.last+tag@mail.example.org»>",
        "mailto:«O'NEIL@EXAMPLE.COM».",
        "«x_1%y-z@sub-domain.example.museum»",
        '{"to": "«a@example.com»"}',
        r'{"text": "write to\n«a@example.com»\nplease"}',
        "«anna@example.com»:hunter2",
        "«a@example.com»,«b@example.com»;«c@example.com»",
        "«josé.müller@exämple.de»",
        "почта «иван@пример.рф»",
        "«a@xn--e1afmkfd.xn--p1ai»",
        "联系«a@example.com»吧",
        "«a＠example．com»",
        "«a@exa\u00admple.com»",
        "'«a@example.com»'",
        "url?to=«a@example.com»&x=1",
        "ssh://«anna@host.example.com»/repo",
    ],
    "phone": [
        "«(415) 555-2671»",
        "call «415-555-2671»!",
        "«415.555.2671»",
        "«415 555 2671»",
        "«415–555–2671»",
        "«1-800-555-0199»",
        "«+1 (415) 555-2671»",
        "«+14155552671»",
        "«+49 30 901820»",
        "«+44 20 7946 0958»",
        "«+44 (0)20 7946 0958»",
        "«+33 1 23 45 67 89», or «+33612345678»",
        "«+1-415-555-2671»x123",
        "«(415)555-2671»x99",
        "«555-123-4567»",
        "tel:«+14155552671»",
        r"tel\n«+14155552671»",
        "«+14155552671» «415-555-2671»",
        "«001-415-555-2671»",
        "«+919876543210»",
        "«+٤٩ ٣٠ ٩٠١٨٢٠»",
        "my phone number is «4155552671»",
        '"phone": "«030 901820»"',
        "Mobile: «07700 900123»",
        "fax «03.91.12.17.13»",
    ],
    "ip_address": [
        "«192.168.0.1»",
        "http://«10.0.0.1»:8080/",
        "«255.255.255.255»",
        "«127.0.0.1»",
        "«10.0.0.0»/8",
        "«10.0.0.1»-«10.0.0.255»",
        "root@«10.0.0.1»:/srv",
        "HOST=«10.0.0.1»",
        r"up:\n«10.0.0.1»\n",
        "«10。0。0。1»",
        "«2001:db8::1»",
        "[«2001:db8::1»]:443",
        "at «2001:db8::1»: down",
        "«::1»",
        "http://[«::1»]:8080",
        "«fe80::1»%eth0",
        "«fd12:3456:789a::»/48",
        "«2001:0DB8:85a3:0000:0000:8a2e:0370:7334»",
        "«4dcc:a0e6:47e7:f3cb:e553:ef87:f71:e85e»",
        "«::ffff:192.0.2.1»",
        "«64:ff9b::192.0.2.33»",
        "«2001:db8::1».",
    ],
    "iban": [
        "«DE89370400440532013000»",
        "«DE89 3704 0044 0532 0130 00»",
        "«DE89-3704-0044-0532-0130-00»",
        "«de89370400440532013000»",
        "pay «GB82 WEST 1234 5698 7654 32» now",
        "«NO93 8601 1117 947»",
        "«BE68 5390 0754 7034», please",
        "«MT84 MALT 0110 0001 2345 MTLC AST0 01S»",
        "PAY NOW TO «DE89 3704 0044 0532 0130 00» OR ELSE",
        "AT12 «DE89 3704 0044 0532 0130 00»",
        "«DE89370400440532013000» «GB82WEST12345698765432»",
        r"iban:\n«DE89370400440532013000»",
        "iban_«DE89370400440532013000»",
        "«DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000»",
    ],
}

CLEAN: Table = {
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
        "123-45 6789",
        "a123-45-6789",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
    "credit_card": [
        "4111111111111112",
        "4111 1111 1111 1112",
        "0000000000000000",
        "411111111111",
        "41111111111111111111111",
        "x4111111111111111",
        "5555 5555 5555",
        "order 1000000000000008",  # the checksum is right, but nobody issues these
        "at 1730372445123",
        "0.4111111111111111",
        "4111 1111-1111.1111",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
        "2024-10-31 12:30:45.123456",
        "20241031123045123",
        "12345678-1234-1234-1234-123456789012",
        "d41d8cd98f00b204e9800998ecf8427e",
        "4111111111111111abcdef",
        "4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1",
        "[4111, 1111, 1111, 1111]",
    ],
    "email": [
        "a@b",
        "@b.co",
        "a b@",
        "a@b.c",
        "a@-b.co",
        "user at example.com",
        "a@b..co",
        "@angular/core@17.0.1",
        "lodash@4.17.21",
        "git@github.com:user/repo.git",
        "ssh://git@gitlab.example.com/x.git",
        "@app.route('/')",
        "icon@2x.png",
        "a@1.2.3.4",
        "@media (max-width: 1px)",
    ],
    "phone": [
        "4155552671",
        "123-456-7890",
        "415-155-2671",
        "411-555-2671",
        "+1234567",
        "+1 234 567",
        "12-34-56",
        "555-2671",
        "2024-10-31 12:00",
        "1415-555-26711",
        "a+14155552671",
        "+999 123 456 789",
        "0012345678901",
        "+0100",
        "123e4567-e89b-12d3-a456-426614174000",
        "phone on 2024-10-31",
        "iphone 1234567890",
        "10.415.555.2671",
    ],
    "ip_address": [
        "256.1.1.1",
        "1.2.3",
        "0.0.0.0",
        "255.255.255.0",
        "4.0.0.0",
        "1.2.3.4.5",
        "v1.2.3.4",
        "version 1.2.3.4",
        '"version": "1.2.3.4"',
        ">=1.2.3.4",
        "^1.2.3.4",
        "1.2.3.4-beta",
        "12:30:45",
        "2024:10:31",
        "::",
        "std::cout",
        "Foo::bar",
        "fade::cafe",
        "feed::beef",
        "Vec::deref()",
        "a: b",
        "01.02.03.04",
        "10:20",
        "{:d}",
        "de:ad:be:ef",
        "00:1a:2b:3c:4d:5e",
        "00:1a:2b:ff:fe:3c:4d:5e",
        "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
        "items[::1]",
        "items[1::2]",
        "x[::2]",
    ],
    "iban": [
        "DE88370400440532013000",
        "DE89 3704",
        "GB82 WEST 1234 5698 7654 33",
        "XDE89370400440532013000",
        "DE893704004405320130001",
        "ZZ89370400440532013000",
        "5d41402abc4b2a76b9719d911017c592",
    ],
}


@pytest.mark.parametrize(("kind", "text"), each(FOUND))
def test_what_is_found(kind: str, text: str) -> None:
    assert marked(kind, plain(text)) == text


@pytest.mark.parametrize(("kind", "text"), each(CLEAN))
def test_what_only_looks_alike(kind: str, text: str) -> None:
    assert marked(kind, text) == text


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789", min_size=1, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_luhn_has_one_check_digit_and_sees_each_wrong_digit(
    body: str, place: int, add: int
) -> None:
    [whole] = [body + digit for digit in "0123456789" if luhn(body + digit)]
    place %= len(whole)
    wrong = str((int(whole[place]) + add) % 10)
    assert not luhn(whole[:place] + wrong + whole[place + 1 :])


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789 ", max_size=60), st.sampled_from(["4111 1111 1111 1111"]))
def test_a_card_is_found_whatever_numbers_stand_before_it(before: str, card: str) -> None:
    text = f"{before} {card}"
    last = [*DETECTORS["credit_card"].spans(text)][-1]
    assert last[0] <= len(text) - 4 < last[1]
