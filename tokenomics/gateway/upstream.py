"""Calls to providers: the request as a provider wants it, retries, fallbacks.

What a provider answers is returned as it came; the relay decides what the client sees. Which key a
request goes out with is the keyring's to say, and whether it may go out again that of
`policy.retries`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import trio
from trio import current_time

from tokenomics.config.providers import ECHO_URL, Provider
from tokenomics.dialects.ask import Endpoint
from tokenomics.dialects.translate.table import translation
from tokenomics.errors import Refusal
from tokenomics.gateway.keyring import Attempt, Keyring
from tokenomics.net.client import (
    Broken,
    Call,
    Client,
    Crowded,
    Patience,
    TimedOut,
    Unreachable,
)
from tokenomics.net.coding import BadCoding, decode
from tokenomics.net.heads import AnswerHead, RequestHead
from tokenomics.net.message import encode, request_head, upstream_headers
from tokenomics.net.origin import Origin, parse_origin
from tokenomics.outcome import Outcome
from tokenomics.policy.breaker import Place
from tokenomics.policy.model import Retry
from tokenomics.policy.retries import backoff, key_refusal, try_again, wanted_wait
from tokenomics.policy.route import Route, Target

MAX_ERROR_BODY = 1 << 20  # bytes of an error answer that are kept to pass it on
# By these a client names an account of its own choice: that it is refused says nothing of the key,
# and must not take it from everybody.
_CLIENTS_ACCOUNT = (b"openai-organization", b"openai-project", b"x-goog-user-project")
CHAT = "/chat/completions"  # whatever a provider has at its place is what is translated to
ECHO_ORIGIN = Origin("builtin", "echo", 0)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A provider's error answer, kept whole: it is passed on if nothing better comes. The key that
    was sent is masked in it. `final` if another model would be told the same."""

    head: AnswerHead
    body: bytes
    target: Target
    final: bool = True


class Answered(NamedTuple):
    """A provider's answer whose body is still to be read, and the target that gave it. Whoever
    reads it closes the call and ends the attempt."""

    call: Call
    target: Target
    attempt: Attempt


class _Failure(NamedTuple):
    """An attempt that failed: what is `known` by it, whether the same may be sent `again` after
    `wait` seconds, and whether its key is set `aside`, so that another one costs no retry."""

    known: ErrorAnswer | Refusal
    again: bool = False
    wait: float = 0.0
    aside: bool = False


class Sending(NamedTuple):
    """What one request brings to every attempt. `body_for` makes the bytes for a target, with their
    content type, and may refuse; `cover` holds what a fallback costs, or refuses."""

    endpoint: Endpoint
    head: RequestHead
    request_id: str
    body_for: Callable[[Target], Awaitable[tuple[bytes, str]]]
    cover: Callable[[Target], Awaitable[None]]


class Upstream:
    """Reaches providers with their keys. `patience` is for what no policy bounds."""

    def __init__(self, client: Client, keys: Keyring, patience: Patience | None = None) -> None:
        self._client = client
        self._keys = keys
        self._patience = lru_cache(maxsize=256)(
            lambda seconds: replace(patience or Patience(), first_byte=seconds, silence=seconds)
        )

    async def answer(
        self, route: Route, retry: Retry, sending: Sending, outcome: Outcome
    ) -> Answered | ErrorAnswer:
        """The first answer that need not be retried, else the last error answer.

        All tries together have the first target's timeout. Raises Refusal if no provider answered.
        The caller closes the Call.
        """
        first = route.targets[0]
        until = current_time() + first.timeout
        last: ErrorAnswer | Refusal | None = None
        for target in route.targets:
            try:
                if target is not first:
                    await sending.cover(target)
                found = await self._persist(target, retry, sending, outcome, until)
            except Refusal as e:
                if target is not first:
                    outcome.skipped += (f"{target.model}: {e.code}",)
                elif e.code not in _DETOUR:
                    raise
                else:
                    last = e
                if current_time() >= until:
                    break
                continue
            if isinstance(found, Answered):
                return found
            last = found
            if found.final:
                break
        if isinstance(last, ErrorAnswer):
            outcome.served_model, outcome.provider = last.target.model, last.target.provider.name
            return last
        raise last or AssertionError("a route has a target")

    def check(self, endpoint: Endpoint, target: Target) -> None:
        """Whether a target could be called from here. Raises Refusal if its provider's key is not
        known, or if it speaks no dialect that the endpoint can be translated to."""
        self._keys.check(target)
        origin_of(target.provider, endpoint)
        segment_of(target)

    async def _persist(
        self, target: Target, retry: Retry, sending: Sending, outcome: Outcome, until: float
    ) -> Answered | ErrorAnswer:
        """One target with its retries: a good answer, or the last error answer.

        Raises Refusal if the target may not be used, is down, or could not be reached.
        """
        tried: list[Place] = []
        left = retry.max_retries
        known: ErrorAnswer | Refusal | None = None
        while True:
            outcome.served_model, outcome.provider = target.model, target.provider.name
            try:
                attempt = self._keys.take(target, tried)
            except Refusal as e:
                known = known or e  # how it failed says more than that it is down by that
                break
            outcome.attempts += 1
            tried.append(attempt.deployment.place)
            found = await self._try(attempt, retry, sending, until)
            if isinstance(found, Answered):
                return found
            known = found.known
            other = self._keys.has_ready(target, but=tried)
            if found.aside and other and current_time() < until:
                continue
            if not found.again or left <= 0 or not self._keys.has_ready(target):
                break
            left -= 1
            wait = backoff(len(tried), random.random())
            if not other:
                wait = max(wait, found.wait)
            if current_time() + wait >= until:  # what is known beats a timeout
                break
            await trio.sleep(wait)
        if isinstance(known, Refusal):
            raise known
        return known

    async def _try(
        self, attempt: Attempt, retry: Retry, sending: Sending, until: float
    ) -> Answered | _Failure:
        """One request. What is learnt of the key that it went out with is said, unless the answer
        is good: then its end has a say too."""
        probe = attempt.is_probe
        try:
            call = await self._call(attempt, sending, until)
            if call.answer.status < 400:
                attempt.answered()
                return Answered(call, attempt.target, attempt)
            call.end_by(until)
            head, body = await self._keep(call, attempt)
        except Refusal as e:
            attempt.ended(e.code, e.message)
            unsent = e.code == "upstream_unreachable"
            return _Failure(e, again=e.code in _DETOUR, aside=probe and unsent)
        except BaseException:
            attempt.dropped()
            raise
        refusal = ""
        if attempt.key and not any(name in sending.head.fields for name in _CLIENTS_ACCOUNT):
            refusal = key_refusal(head.status, body)
        if refusal:
            attempt.refused(refusal)
        elif head.status >= 500:
            attempt.failed(f"status {head.status}")
        else:
            attempt.succeeded()
        again = not refusal and try_again(head.status, head.fields, retry)
        final = not (again or refusal or head.status in retry.retry_on)
        known = ErrorAnswer(head, body, attempt.target, final)
        return _Failure(known, again, wanted_wait(head.fields, time.time()), bool(refusal))

    async def _call(self, attempt: Attempt, sending: Sending, until: float) -> Call:
        """Send one request. Raises Refusal."""
        target, provider, key = attempt.target, attempt.provider, attempt.key
        segment = segment_of(target)
        request = sending.head.derived.get((provider, key))
        if segment:  # a client may name any number of models: nothing is kept for each
            request = _request(provider, key, sending, segment)
        elif request is None:
            request = sending.head.derived[(provider, key)] = _request(provider, key, sending)
        origin, lines = request
        body, type_ = await sending.body_for(target)
        head = b"%b%bx-client-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (
            lines,
            b"content-type: %b\r\n" % type_.encode("latin-1") if type_ else b"",
            sending.request_id.encode(),
            len(body),
        )
        try:
            patience = self._patience(target.timeout)
            method = sending.head.method
            return await self._client.exchange(origin, method, head, body, patience, until)
        except Unreachable as e:
            if isinstance(e, Crowded):  # by ourselves
                attempt.dropped()
            raise Refusal(
                "upstream_unreachable", f"provider {provider.name} cannot be reached: {e}"
            ) from None
        except TimedOut:
            raise _late(target) from None
        except Broken as e:
            raise _invalid(target, f"broke off: {e}") from None

    async def _keep(self, call: Call, attempt: Attempt) -> tuple[AnswerHead, bytes]:
        """An error answer, without the key should the provider repeat it. Raises Refusal."""
        target = attempt.target
        with call:
            try:
                body = await call.read_all(MAX_ERROR_BODY)
                coding = call.answer.fields.get(b"content-encoding", b"").decode("latin-1")
                body = decode(body, coding.lower(), MAX_ERROR_BODY)
            except BadCoding as e:
                raise _invalid(target, f"answered badly: {e}") from None
            except TimedOut:
                raise _late(target) from None
            except Broken as e:
                raise _invalid(target, f"broke off: {e}") from None
        key = attempt.key.encode()
        return call.answer, body.replace(key, b"***") if key else body


def _invalid(target: Target, what: str) -> Refusal:
    return Refusal("upstream_invalid", f"provider {target.provider.name} {what}")


def _late(target: Target) -> Refusal:
    return Refusal("upstream_timeout", f"the provider did not answer within {target.timeout:g} s")


# A target that failed like this may be tried again, and the next one may do better.
_DETOUR = ("upstream_unreachable", "upstream_invalid")


def origin_of(provider: Provider, endpoint: Endpoint | None = None) -> Origin:
    """Where a provider's connections go. Raises Refusal if its URL is none, or if it cannot serve
    an endpoint in its own dialect or translated."""
    if provider.upstream_url == ECHO_URL:
        return ECHO_ORIGIN
    speaks = endpoint.speaks if endpoint is not None else ""
    if not provider.speaks(speaks) and endpoint and not translation(endpoint, provider.speaks):
        names = {"openai": "OpenAI's dialect", "anthropic": "Anthropic's dialect"}
        raise Refusal(
            "invalid_request",
            f"provider {provider.name} does not speak {names[speaks]} (dialect"
            f" {provider.dialect}), and {endpoint.path} is not translated",
            param="model",
        )
    try:
        return parse_origin(
            provider.upstream_url,
            insecure=provider.insecure,
            ca_file=provider.ca_file,
            cert_file=provider.cert_file,
            key_file=provider.key_file,
            proxy=provider.proxy,
        )
    except ValueError as e:
        raise Refusal("upstream_unreachable", f"provider {provider.name}: {e}") from None


def segment_of(target: Target) -> str:
    """What stands for the model in the provider's paths, if they name it. Raises Refusal."""
    try:
        return target.provider.segment(target.model)
    except ValueError as e:
        raise Refusal("invalid_request", str(e), param="model") from None


def _request(
    provider: Provider, key: str, sending: Sending, segment: str = ""
) -> tuple[Origin, bytes]:
    """Where a request goes, and its head but for the last two lines: the same for all requests with
    the same head. Raises Refusal."""
    origin = origin_of(provider, sending.endpoint)
    translated = translation(sending.endpoint, provider.speaks) is not None
    path = CHAT if translated else sending.endpoint.path
    target = origin.path + provider.path(path, segment)
    query = provider.query_of("" if translated else sending.head.query, key)
    if query:
        target += "?" + query
    host = (b"host", origin.authority.encode("ascii"))
    head = request_head(sending.head.method, target, [host, *_headers(provider, key, sending)])
    return origin, head[:-2]  # without the empty line


def _headers(provider: Provider, key: str, sending: Sending) -> list[tuple[bytes, bytes]]:
    """The client's headers as far as they may pass, the provider's where the client sent none, and
    ours. Answers are asked for unencoded, so that inspection sees text."""
    headers = upstream_headers(sending.head.headers)
    own = provider.auth_header.lower().encode("ascii", "replace")
    headers = [(name, value) for name, value in headers if name != own]
    if translation(sending.endpoint, provider.speaks) is not None:  # versions of the other's API
        headers = [(n, v) for n, v in headers if not n.startswith((b"anthropic-", b"openai-"))]
    present = {name for name, _ in headers}
    for name, value in provider.headers.items():
        if name.encode() not in present:
            headers.append(encode(name, value))
    headers += [encode(name, value) for name, value in provider.credentials(key)]
    headers.append((b"accept-encoding", b"identity"))
    return headers
