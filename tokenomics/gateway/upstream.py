"""Calls to providers: the request as a provider wants it, retries, fallbacks.

What a provider answers is returned as it came; the relay decides what the client sees.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

import trio

from tokenomics.config.providers import CHAT_PATH, ECHO_URL, Provider
from tokenomics.dialects.openai import Endpoint
from tokenomics.errors import Refusal
from tokenomics.net.client import Broken, Call, Client, Unreachable
from tokenomics.net.heads import AnswerHead, RawHeaders
from tokenomics.net.message import encode, upstream_headers
from tokenomics.net.origin import Origin, parse_origin
from tokenomics.outcome import Outcome
from tokenomics.policy.model import Retry
from tokenomics.policy.route import Route, Target

MAX_ERROR_BODY = 1 << 20  # bytes of an error answer that are kept to pass it on
BACKOFF_SECONDS = 0.25  # doubles with each try, with full jitter
MAX_BACKOFF_SECONDS = 8.0
ECHO_ORIGIN = Origin("builtin", "echo", 0)

Keys = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A provider's error answer, kept whole: it is passed on if nothing better comes. The key that
    was sent is masked in it."""

    head: AnswerHead
    body: bytes
    target: Target


@dataclass(frozen=True, slots=True)
class Answered:
    """A provider's answer whose body is still to be read, and the target that gave it."""

    call: Call
    target: Target


@dataclass(frozen=True, slots=True)
class Sending:
    """What one request brings to every attempt. `body_for` makes the bytes for a target and may
    refuse; `covers` says whether a fallback's budgets have room, and holds it."""

    endpoint: Endpoint
    headers: RawHeaders
    query: str
    request_id: str
    body_for: Callable[[Target], Awaitable[bytes]]
    covers: Callable[[Target], Awaitable[bool]]


class Upstream:
    """Reaches providers with their keys. `keys` gives the value of a key's variable, or None."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def answer(
        self, route: Route, retry: Retry, sending: Sending, outcome: Outcome
    ) -> Answered | ErrorAnswer:
        """The first answer that need not be retried, else the last error answer.

        All tries together have the first target's timeout. Raises Refusal if no provider answered.
        The caller closes the Call.
        """
        seconds = route.targets[0].timeout
        last: ErrorAnswer | Refusal = Refusal(
            "upstream_timeout", f"the provider did not answer within {seconds:g} s"
        )
        with trio.move_on_after(seconds):
            for target in route.targets:
                first = target is route.targets[0]
                try:
                    if not first and not await sending.covers(target):
                        raise Refusal("insufficient_quota", "its budget has no room")
                    found = await self._persist(target, retry, sending, outcome)
                except Refusal as e:
                    if first and e.code not in _DETOUR:
                        raise
                    if not first:
                        outcome.skipped += (f"{target.model}: {e.code}",)
                    last = e if first else last
                    continue
                if isinstance(found, Answered):
                    return found
                last = found
                if found.head.status not in retry.retry_on:
                    break
        if isinstance(last, Refusal):
            raise last
        outcome.served_model, outcome.provider = last.target.model, last.target.provider.name
        return last

    async def _persist(
        self, target: Target, retry: Retry, sending: Sending, outcome: Outcome
    ) -> Answered | ErrorAnswer:
        """One target with its retries: a good answer, or the last error answer.

        Raises Refusal if the target may not be used, or could not be reached.
        """
        tries = 1 + retry.max_retries
        for n in range(1, tries + 1):
            outcome.attempts += 1
            outcome.served_model, outcome.provider = target.model, target.provider.name
            wait = random.uniform(0, min(BACKOFF_SECONDS * 2**n, MAX_BACKOFF_SECONDS))
            try:
                call = await self._call(target, sending)
                if call.answer.status < 400:
                    return Answered(call, target)
                answer = await self._keep(call, target)
            except Refusal as e:
                if n == tries or e.code not in _DETOUR:
                    raise
            else:
                if n == tries or answer.head.status not in retry.retry_on:
                    return answer
                wait = max(wait, _retry_after(answer.head))
                if wait > trio.current_effective_deadline() - trio.current_time():
                    return answer  # the next try would not fit: what is known beats a timeout
            await trio.sleep(wait)
        raise AssertionError("the loop returns or raises on its last try")

    async def _call(self, target: Target, sending: Sending) -> Call:
        """Send one request. Raises Refusal."""
        provider = target.provider
        origin = origin_of(provider)
        body = await sending.body_for(target)
        key = self._key(target)
        headers = _headers(provider, key, sending)
        path = _path(provider, sending, key)
        try:
            return await self._client.call(origin, "POST", path, headers, body)
        except Unreachable as e:
            raise Refusal(
                "upstream_unreachable", f"provider {provider.name} cannot be reached: {e}"
            ) from None
        except Broken as e:
            raise Refusal("upstream_invalid", f"provider {provider.name} broke off: {e}") from None

    async def _keep(self, call: Call, target: Target) -> ErrorAnswer:
        with call:
            try:
                body = await call.read_all(MAX_ERROR_BODY)
            except Broken as e:
                raise Refusal(
                    "upstream_invalid", f"provider {target.provider.name} broke off: {e}"
                ) from None
        return ErrorAnswer(call.answer, self.mask_key(target, body), target)

    def mask_key(self, target: Target, body: bytes) -> bytes:
        """An error body without the provider key, should the provider repeat it."""
        key = self._keys(target.key_env) if target.key_env else None
        return body.replace(key.encode(), b"***") if key else body

    def _key(self, target: Target) -> str:
        if target.provider.auth_scheme == "none" or not target.key_env:
            return ""
        key = self._keys(target.key_env)
        if not key:
            raise Refusal(
                "provider_key_missing",
                f"this proxy has no key for provider {target.provider.name}: set"
                f" {target.key_env} (or {target.key_env}_FILE) where `serve` runs",
            )
        return key


# A target that failed like this may be tried again, and the next one may do better.
_DETOUR = ("upstream_unreachable", "upstream_invalid")


def origin_of(provider: Provider) -> Origin:
    """Where a provider's connections go. Raises Refusal if its URL is none."""
    if provider.upstream_url == ECHO_URL:
        return ECHO_ORIGIN
    if not provider.speaks_openai:
        raise Refusal(
            "invalid_request",
            f"provider {provider.name} does not speak OpenAI's dialect (chat_path"
            f" {provider.chat_path}), and this version does not translate",
            param="model",
        )
    try:
        return parse_origin(provider.upstream_url)
    except ValueError as e:
        raise Refusal("upstream_unreachable", f"provider {provider.name}: {e}") from None


def _path(provider: Provider, sending: Sending, key: str) -> str:
    """The target below the base URL's own path. A base URL that ends in the API's version (`/v1`)
    already has it."""
    if sending.endpoint.name == "chat":
        path = provider.chat_path
    else:
        path = CHAT_PATH.removesuffix("/chat/completions") + sending.endpoint.path
    if path.startswith("/v1/") and provider.upstream_url.rstrip("/").endswith("/v1"):
        path = path.removeprefix("/v1")
    query = [sending.query] if sending.query else []
    if provider.auth_scheme == "query" and key:
        query.append(f"key={quote(key, safe='')}")
    return path + ("?" + "&".join(query) if query else "")


def _headers(provider: Provider, key: str, sending: Sending) -> list[tuple[bytes, bytes]]:
    """The client's headers as far as they may pass, the provider's where the client sent none, and
    ours. Answers are asked for unencoded, so that inspection sees text."""
    headers = upstream_headers(sending.headers)
    own = provider.auth_header.lower().encode("ascii", "replace")
    headers = [(name, value) for name, value in headers if name != own]
    present = {name for name, _ in headers}
    for name, value in provider.headers.items():
        if name.encode() not in present:
            headers.append(encode(name, value))
    if key and provider.auth_scheme == "bearer":
        headers.append(encode("authorization", f"Bearer {key}"))
    elif key and provider.auth_scheme == "header":
        headers.append(encode(provider.auth_header.lower() or "authorization", key))
    headers.append((b"content-type", b"application/json"))
    headers.append((b"x-client-request-id", sending.request_id.encode()))
    headers.append((b"accept-encoding", b"identity"))
    return headers


def _retry_after(head: AnswerHead) -> float:
    """Seconds of a Retry-After (RFC 9110 section 10.2.3); a date counts as none."""
    value = head.fields.get(b"retry-after", b"")
    return float(value) if value.isdigit() and len(value) < 6 else 0.0
