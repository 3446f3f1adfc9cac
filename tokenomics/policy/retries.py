"""What an error answer says of trying again: whether, when, and whether the key was refused.

`Retry-After` is RFC 9110 section 10.2.3. `retry-after-ms` and `x-should-retry` are what OpenAI's
servers send and its SDKs follow (https://github.com/openai/openai-python, `_base_client.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tokenomics.policy.model import Retry

BACKOFF_SECONDS = 0.25  # doubles with each try, with full jitter
MAX_BACKOFF_SECONDS = 8.0
_NUMBER = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
_DATE = re.compile(
    rb"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
# An account without money: https://platform.openai.com/docs/guides/error-codes
_NO_QUOTA = "insufficient_quota"

Fields = Mapping[bytes, bytes]


def backoff(tries: int, roll: float) -> float:
    """Seconds to wait after so many tries; `roll` is a random number from 0 to 1."""
    return min(BACKOFF_SECONDS * 2.0**tries, MAX_BACKOFF_SECONDS) * roll


def try_again(status: int, fields: Fields, retry: Retry) -> bool:
    """Whether the same may be sent again. The provider's own word beats the policy's list."""
    said = fields.get(b"x-should-retry", b"").lower()
    if said in (b"true", b"false"):
        return said == b"true"
    return status in retry.retry_on


def wanted_wait(fields: Fields, now: float) -> float:
    """Seconds that the provider asks to wait for; `now` is in epoch seconds."""
    millis = fields.get(b"retry-after-ms", b"")
    if _NUMBER.fullmatch(millis):
        return float(millis) / 1000
    value = fields.get(b"retry-after", b"")
    if _NUMBER.fullmatch(value):
        return float(value)
    return max(_date(value) - now, 0.0)


def _date(value: bytes) -> float:
    """The epoch second of an HTTP date in the form that servers must send; 0 of anything else."""
    match = _DATE.fullmatch(value)
    if match is None or match[2] not in _MONTHS:
        return 0.0
    day, year, hour, minute, second = (int(match[n]) for n in (1, 3, 4, 5, 6))
    try:
        when = datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0.0
    return when.timestamp()


def key_refusal(status: int, body: bytes) -> str:
    """Why a provider will take no request with this key, or "" if that is not what it says."""
    if status == 401:
        return "status 401: it does not take the key"
    if status == 402:
        return "status 402: it wants to be paid"
    if status in (403, 429) and _NO_QUOTA.encode() in body and _says_no_quota(body):
        return f"status {status}: {_NO_QUOTA}"
    return ""


def _says_no_quota(body: bytes) -> bool:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    error = document.get("error") if isinstance(document, dict) else None
    return isinstance(error, dict) and _NO_QUOTA in (error.get("code"), error.get("type"))
