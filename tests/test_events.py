"""What an event looks like on the wire, who wants it, and how it is signed."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics import events
from tokenomics.events import Event

PACKAGE = Path(events.__file__).parent
EVENT = Event("evt_" + "0" * 32, "token.created", 1795423598.25, {"token_hash": "ab", "count": 1})


def test_a_body_has_the_originals_keys_in_the_originals_order() -> None:
    assert EVENT.body() == (
        b'{"id":"evt_00000000000000000000000000000000","type":"token.created",'
        b'"timestamp":"2026-11-23T08:46:38.250000Z","data":{"count":1,"token_hash":"ab"}}'
    )


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_a_body_holds_its_data(data: dict[str, str | int | None]) -> None:
    assert json.loads(Event("evt_1", "x", 0, data).body())["data"] == data


@pytest.mark.parametrize(
    ("filters", "type_", "wanted"),
    [
        ([], "token.created", True),
        (["*"], "token.created", True),
        (["token.created"], "token.created", True),
        (["token.*"], "token.created", True),
        (["rule.*", "token.*"], "token.created", True),
        (["token.deleted"], "token.created", False),
        (["rule.*"], "token.created", False),
        (["token"], "token.created", False),
        (["token.create"], "token.created", False),
        (["token.*"], "tokenomics.start", False),
        ([""], "token.created", False),
        (["*.created"], "token.created", False),
    ],
    ids=str,
)
def test_a_filter_is_exact_a_prefix_or_a_star(filters: list[str], type_: str, wanted: bool) -> None:
    assert events.matches(filters, type_) is wanted


def test_the_originals_signature_is_hex_hmac_sha256_of_the_body() -> None:
    # RFC 4231, test case 2.
    assert events.signature("Jefe", b"what do ya want for nothing?") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_whsec_key_signs_as_the_standards_libraries_do() -> None:
    # The example of the Standard Webhooks reference libraries.
    signed = events.standard_signature(
        WHSEC, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("key", ["plain", "whsec_not base64!"])
def test_any_other_key_signs_as_it_is(key: str) -> None:
    plain = events.standard_signature(key, "evt_1", 7, b"{}")
    assert plain != events.standard_signature(WHSEC, "evt_1", 7, b"{}")
    assert events.signature(key, b"evt_1.7.{}") == "sha256=" + hex_of(plain)


def hex_of(standard: str) -> str:
    return base64.b64decode(standard.removeprefix("v1,")).hex()


def test_a_delivery_says_what_it_is_and_proves_where_it_comes_from() -> None:
    body = EVENT.body()
    sent = events.headers(EVENT, body, secret="s", signing_key="k", now=1795423600.9)
    assert dict(sent) == {
        "Content-Type": "application/json",
        "User-Agent": "Tokenomics-Webhook/1.0",
        "X-Event-ID": EVENT.id,
        "X-Event-Type": "token.created",
        "webhook-id": EVENT.id,
        "webhook-timestamp": "1795423600",
        "X-Webhook-Secret": "s",
        "X-Webhook-Signature": events.signature("k", body),
        "webhook-signature": events.standard_signature("k", EVENT.id, 1795423600, body),
    }
    assert len(sent) == len(dict(sent))


def test_without_secrets_nothing_is_proved_and_nothing_empty_is_sent() -> None:
    sent = dict(events.headers(EVENT, b"{}", secret="", signing_key="", now=1))
    assert {"X-Webhook-Secret", "X-Webhook-Signature", "webhook-signature"}.isdisjoint(sent)


@pytest.mark.parametrize(
    ("expected", "sent", "holds"),
    [("s", "s", True), ("s", "S", False), ("s", "", False), ("s", None, False), ("", None, True)],
)
def test_a_configured_secret_must_be_sent(expected: str, sent: str | None, holds: bool) -> None:
    assert events.secret_holds(expected, sent) is holds


BODY = b'{"type":"token.deleted"}'


@pytest.mark.parametrize(
    ("key", "sent", "body", "holds"),
    [
        ("k", events.signature("k", BODY), BODY, True),
        ("k", events.signature("k", BODY), BODY + b" ", False),
        ("k", events.signature("other", BODY), BODY, False),
        ("k", events.signature("k", BODY).removeprefix("sha256="), BODY, False),
        ("k", "", BODY, False),
        ("k", None, BODY, False),
        ("", None, BODY, True),
    ],
    ids=["right", "other body", "other key", "no sha256=", "empty", "missing", "no key set"],
)
def test_a_configured_signing_key_must_have_signed_the_body(
    key: str, sent: str | None, body: bytes, holds: bool
) -> None:
    assert events.signature_holds(key, sent, body) is holds


def emitted() -> set[str]:
    """The event types that stand in calls of `emit`."""
    texts = [file.read_text() for file in PACKAGE.rglob("*.py")]
    return {type_ for text in texts for type_ in re.findall(r'emit\(\s*"([a-z.]+)"', text)}


def test_every_event_the_code_sends_is_in_the_list() -> None:
    assert "request.completed" in emitted()
    assert emitted() <= events.TYPES
