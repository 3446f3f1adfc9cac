"""Events: names, bodies, filters and signatures. Sending them is `webhooks.py`'s work.

A body is `{"id", "type", "timestamp", "data"}` in that order, as the Go original sends it. It is
signed twice: `X-Webhook-Signature` (the original's, over the body) and the three headers of
Standard Webhooks (https://www.standardwebhooks.com), whose signature covers id and time as well.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenomics.tokens import same
from tokenomics.units import rfc3339_micros

TYPES = frozenset(
    {
        "token.created",
        "token.updated",
        "token.deleted",
        "token.expired",
        "rule.violation",
        "rule.warning",
        "rule.match",
        "rule.mask",
        "budget.exceeded",
        "budget.warning",
        "budget.update",
        "rate.exceeded",
        "request.completed",
        "server.start",
        "server.stop",
        "sync.failed",
        "sync.recovered",
        "limits.unavailable",
        "limits.recovered",
        "provider.down",
        "provider.up",
    }
)
USER_AGENT = "Tokenomics-Webhook/1.0"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `id` is `evt_` and 32 hex digits, `time` is epoch seconds."""

    id: str
    type: str
    time: float
    data: dict[str, Any]

    def body(self) -> bytes:
        """The JSON that is sent; `data` has sorted keys as in the original."""
        return json.dumps(
            {
                "id": self.id,
                "type": self.type,
                "timestamp": rfc3339_micros(self.time),
                "data": dict(sorted(self.data.items())),
            },
            separators=(",", ":"),
        ).encode()


def matches(filters: Sequence[str], type_: str) -> bool:
    """Whether a filter list wants an event type: exact, `prefix.*`, `*`; empty wants all."""
    return not filters or any(
        f in ("*", type_) or (f.endswith("*") and type_.startswith(f[:-1])) for f in filters
    )


def signature(signing_key: str, body: bytes) -> str:
    """`sha256=<hex>`: the value of `X-Webhook-Signature`."""
    return "sha256=" + hmac.digest(signing_key.encode(), body, "sha256").hex()


def standard_signature(signing_key: str, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>`: the value of `webhook-signature` by Standard Webhooks. A key that is written
    as they write it, `whsec_<base64>`, is decoded; any other is taken as it is."""
    signed = b"%s.%d." % (event_id.encode(), timestamp) + body
    digest = hmac.digest(_standard_key(signing_key), signed, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def _standard_key(signing_key: str) -> bytes:
    if signing_key.startswith("whsec_"):
        with contextlib.suppress(binascii.Error):
            return base64.b64decode(signing_key.removeprefix("whsec_"), validate=True)
    return signing_key.encode()


def headers(
    event: Event, body: bytes, *, secret: str, signing_key: str, now: float
) -> list[tuple[str, str]]:
    """The headers of one delivery. `now` is the time of sending, in epoch seconds."""
    out = [
        ("Content-Type", "application/json"),
        ("User-Agent", USER_AGENT),
        ("X-Event-ID", event.id),
        ("X-Event-Type", event.type),
        ("webhook-id", event.id),
        ("webhook-timestamp", str(int(now))),
    ]
    if secret:
        out.append(("X-Webhook-Secret", secret))
    if signing_key:
        out.append(("X-Webhook-Signature", signature(signing_key, body)))
        out.append(("webhook-signature", standard_signature(signing_key, event.id, int(now), body)))
    return out


def secret_holds(expected: str, sent: str | None) -> bool:
    """Whether a received `X-Webhook-Secret` is right; true if none is configured."""
    return not expected or (sent is not None and same(expected, sent))


def signature_holds(signing_key: str, sent: str | None, body: bytes) -> bool:
    """Whether a received `X-Webhook-Signature` is right; true if no key is configured."""
    return not signing_key or (sent is not None and same(signature(signing_key, body), sent))
