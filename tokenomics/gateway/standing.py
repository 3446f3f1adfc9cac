"""How a token's limits stand, as header lines; and the answer to who was not admitted.

OpenAI's names: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers;
Anthropic's: https://docs.anthropic.com/en/api/rate-limits#response-headers. A budget of tokens
stands with the token windows: what is tightest is told.
"""

from __future__ import annotations

import math
import time

from tokenomics.errors import Headers, Refusal
from tokenomics.policy.limits import MAX_RETRY_AFTER, Denied, Lease
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Due
from tokenomics.units import rfc3339

UNITS = (REQUESTS, TOKENS)


def standing_lines(lease: Lease, shape: str) -> bytes:
    """The header lines of an answer; `shape` is "openai" or "anthropic", where both are sent."""
    if not lease.standing:
        return b""
    now = time.time()
    out = b""
    for unit in UNITS:
        tightest: tuple[int, Due] | None = None
        for due, total in lease.standing:
            left = due.limit.most - total
            if due.limit.unit == unit and (tightest is None or left < tightest[0]):
                tightest = left, due
        if tightest is not None:
            left, due = max(tightest[0], 0), tightest[1]
            out += _lines(unit, due.limit.most, left, _reset(due, now), shape, now)
    return out


def _lines(unit: str, most: int, left: int, reset: float, shape: str, now: float) -> bytes:
    name = unit.encode()
    out = b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\n" % (name, most, name, left)
    if math.isfinite(reset):
        out += b"x-ratelimit-reset-%b: %b\r\n" % (name, go_duration(reset).encode())
    if shape == "anthropic":
        out += b"anthropic-ratelimit-%b-limit: %d\r\n" % (name, most)
        out += b"anthropic-ratelimit-%b-remaining: %d\r\n" % (name, left)
        if math.isfinite(reset):
            when = rfc3339(now + reset).encode()
            out += b"anthropic-ratelimit-%b-reset: %b\r\n" % (name, when)
    return out


def _reset(due: Due, now: float) -> float:
    """Seconds until all that was counted is gone."""
    limit = due.limit
    if not limit.window:
        return due.ends - now
    return limit.window - now % limit.window if limit.fixed else limit.window


def go_duration(seconds: float) -> str:
    """`6m0s`, `1s`, `120ms`: as OpenAI's headers have it."""
    if seconds < 1:
        return f"{max(math.ceil(seconds * 1000), 0)}ms"
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def refusal(denied: Denied) -> Refusal:
    """The answer to a request that was not admitted. A rate 429 says when to come back; an
    exhausted budget tells SDKs not to try again, and people when it begins anew."""
    message = denied.message
    headers: Headers = ()
    if denied.unit != COST and denied.code != "too_many_parallel":
        left = max(denied.limit - denied.used, 0)
        headers = (
            (f"x-ratelimit-limit-{denied.unit}", str(denied.limit)),
            (f"x-ratelimit-remaining-{denied.unit}", str(left)),
        )
    if denied.retry_after is not None:
        seconds = max(math.ceil(denied.retry_after), 1)
        if headers:
            headers += ((f"x-ratelimit-reset-{denied.unit}", go_duration(denied.retry_after)),)
        headers += (("retry-after", str(min(seconds, MAX_RETRY_AFTER))),)
        return Refusal(denied.code, message, headers=headers)
    headers += (("x-should-retry", "false"),)
    if denied.resets_at is not None:
        when = rfc3339(math.ceil(denied.resets_at))
        message += f"; it begins anew at {when}"
        headers += (("x-tokenomics-reset", when),)
    elif denied.code == "insufficient_quota":
        message += "; it never begins anew, whoever gave you the token can raise it"
    return Refusal(denied.code, message, headers=headers)
