"""The way of a request through the proxy, and nothing else: `Gateway.travel` is the list of stages.

identify, read, plan, inspect, admit, call, relay, settle: each is one line there, one module, one
way to fail. What happens along the way is written to the `Outcome`, which ends up in the log, the
events and the memory when the request is over.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import lru_cache

import trio

from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.dialects.endpoints import error_body
from tokenomics.dialects.translate.table import translation
from tokenomics.dialects.usage import Usage
from tokenomics.errors import Refusal
from tokenomics.gateway import admission, standing
from tokenomics.gateway.admission import Admission
from tokenomics.gateway.explain import Case, Explanation, explain
from tokenomics.gateway.identity import Grant, TokenBook
from tokenomics.gateway.inspection import Drafts, read
from tokenomics.gateway.output import Output
from tokenomics.gateway.relay import Receipt, Relay
from tokenomics.gateway.reporting import Reporter
from tokenomics.gateway.upstream import Answered, ErrorAnswer, Sending, Upstream
from tokenomics.net.coding import BadCoding, decode
from tokenomics.net.connection import Reply, Request, date_line
from tokenomics.net.heads import AnswerHead
from tokenomics.net.message import block, downstream_block, encode
from tokenomics.net.wire import WireError
from tokenomics.outcome import Outcome
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.model import Retry
from tokenomics.policy.route import Route, Site, Target
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.usage import Usage as Accounts

# More than this is decoded in a thread: it may become a thousand times as much.
INFLATE_THREAD_BYTES = 1024
CLIENT_CLOSED = 499  # the status nginx logs for a client that went away
JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything the road needs; built by `cli/proxy.py`."""

    site: Site
    book: TokenBook
    usage: Accounts
    upstream: Upstream
    reporter: Reporter

    async def handle(self, endpoint: Endpoint, request: Request, reply: Reply) -> None:
        """Answer one request to a governed endpoint, and report how it went."""
        outcome = Outcome(new_id(), request.head.path, time.time(), endpoint.shape)
        begun = time.perf_counter()
        try:
            await self.travel(endpoint, request, reply, outcome)
        except Refusal as refusal:
            await self._refuse(reply, refusal, outcome)
        except (trio.Cancelled, WireError):
            outcome.status = outcome.status or CLIENT_CLOSED
            outcome.code = outcome.code or "client_closed"
            raise
        except Exception as e:  # noqa: BLE001  outer door: a bug ends one request
            self.reporter.bug(outcome, e)
            wrong = Refusal("internal_error", f"the proxy failed; its log has {outcome.id}")
            await self._refuse(reply, wrong, outcome)
        finally:
            outcome.seconds = time.perf_counter() - begun
            self.reporter.finished(outcome)

    async def _refuse(self, reply: Reply, refusal: Refusal, outcome: Outcome) -> None:
        outcome.status, outcome.code = refusal.status, refusal.code
        if not reply.started:  # else the connection ends unfinished, which says the same
            await refuse(reply, refusal, outcome.id, outcome.shape)

    async def travel(
        self, endpoint: Endpoint, request: Request, reply: Reply, outcome: Outcome
    ) -> None:
        """The road. Raises Refusal where it ends early."""
        grant = self.book.identify(request.head, self.reporter.expired, request.peer)
        outcome.hash, outcome.metadata = grant.hash, grant.policy.metadata
        ask = await read(endpoint, await _body(request), request.head)
        outcome.model, outcome.stream = ask.model, ask.stream
        outcome.client_retries = _retries(request.head.get(b"x-stainless-retry-count"))
        route = grant.route(ask.model, self.site)
        outcome.skipped = route.skipped
        kind = request.head.get(b"content-type") or ""
        drafts = Drafts(ask, kind, self.reporter.findings(outcome))
        await drafts.under(route.targets[0])
        async with await self._admit(grant, ask, route.targets[0], outcome) as admitted:
            sending = self._sending(request, ask, drafts, admitted, outcome)
            answer = await self._call(grant, route, sending, admitted, outcome)
            receipt = await self._relay(answer, ask, grant, reply, admitted, outcome)
        if receipt.complete:
            served = await drafts.under(answer.target)
            self.reporter.remember(grant, served, receipt, outcome)

    async def explain(self, endpoint: Endpoint, request: Request, told: Explanation) -> None:
        """Tell what `travel` would do with a request."""
        try:
            grant = self.book.identify(request.head, self.reporter.expired, request.peer)
            told.add("token", f"{grant.hash[:EVENT_HASH_DIGITS]}, valid here and now")
        except Refusal as refusal:
            told.refuse("token", refusal)
            return
        try:
            ask = await read(endpoint, await _body(request), request.head)
        except Refusal as refusal:
            told.refuse("body", refusal)
            return

        async def trial(target: Target, want: Want) -> Lease | Denied:
            return await self.usage.trial(grant.account, target.limits, want)

        case = Case(
            policy=grant.policy,
            site=self.site,
            endpoint=endpoint,
            model=ask.model,
            ask=ask,
            content_type=request.head.get(b"content-type") or "",
            reach=self.upstream.check,
            trial=trial,
        )
        await explain(case, told)

    async def _admit(self, grant: Grant, ask: Ask, target: Target, outcome: Outcome) -> Admission:
        warn = self.reporter.warnings(outcome)
        admitted = await admission.admit(self.usage, grant.account, ask, target, warn)
        if isinstance(admitted, Denied):
            self.reporter.denied(outcome, admitted)
            raise standing.refusal(admitted)
        return admitted

    def _sending(
        self, request: Request, ask: Ask, drafts: Drafts, admitted: Admission, outcome: Outcome
    ) -> Sending:
        async def body_for(target: Target) -> tuple[bytes, str]:
            return await (await drafts.under(target)).sent(admitted.lease)

        async def cover(target: Target) -> None:
            denied = await admitted.cover(target)
            if denied is not None:
                raise standing.refusal(denied)

        return Sending(
            endpoint=ask.endpoint,
            head=request.head,
            request_id=outcome.id,
            body_for=body_for,
            cover=cover,
        )

    async def _call(
        self, grant: Grant, route: Route, sending: Sending, admitted: Admission, outcome: Outcome
    ) -> Answered | ErrorAnswer:
        begun = time.perf_counter()
        # Nobody here knows what it would do twice.
        retry = Retry() if sending.endpoint.name == "open" else grant.policy.retry
        try:
            return await self.upstream.answer(route, retry, sending, outcome)
        except trio.Cancelled:
            admitted.charge(Usage(admitted.input_estimate, 0))  # the provider has read it
            raise
        except Refusal as e:
            if e.code == "upstream_timeout":
                admitted.charge(Usage(admitted.input_estimate, 0))
            raise
        finally:
            outcome.head_seconds = time.perf_counter() - begun

    async def _relay(
        self,
        answer: Answered | ErrorAnswer,
        ask: Ask,
        grant: Grant,
        reply: Reply,
        admitted: Admission,
        outcome: Outcome,
    ) -> Receipt:
        receipt = Receipt()
        stands = standing.standing_lines(admitted.lease, outcome.shape)
        output = self._output(ask, answer.target, outcome)
        way = translation(ask.endpoint, answer.target.provider.speaks)
        if isinstance(answer, ErrorAnswer):
            lines = _answer_lines(answer.head, outcome, stands)
            kind = answer.head.fields.get(b"content-type", b"").decode("latin-1")
            body = answer.body if way is None else way.error(answer.body, answer.head.status)
            body = await output.whole(body, kind) if output else body
            await reply.send(answer.head.status, (), body, lines=lines)
            return receipt
        relay = Relay(
            ask=ask,
            reply=reply,
            lines=_answer_lines(answer.call.answer, outcome, stands),
            output=output,
            outcome=outcome,
            timeout=answer.target.timeout,
            keep_text=grant.policy.memory is not None,
            input_estimate=lambda: admitted.input_estimate,
            bound=admitted if answer.target.limits.bounded else None,
            way=way,
        )
        with answer.attempt, answer.call:
            try:
                await relay.run(answer.call, receipt)
            finally:
                if receipt.usage is not None:
                    admitted.charge(receipt.usage)
                outcome.usage, outcome.estimated = receipt.usage, receipt.estimated
            answer.attempt.ended(outcome.code)
        return receipt

    def _output(self, ask: Ask, target: Target, outcome: Outcome) -> Output | None:
        """What an answer goes through, if anything. Responses shows instructions back, the policy's
        too."""
        added = bool(target.prompts) and ask.endpoint.dialect.name == "responses"
        if not added and not any(rule.covers("output") for rule in target.rules):
            return None
        own = ask.document.get("instructions")
        tell = self.reporter.findings(outcome, "output")
        known = ask.endpoint.name != "open"
        return Output(target.rules, tell, (own,) if added else None, known)


def _answer_lines(head: AnswerHead, outcome: Outcome, stands: bytes) -> bytes:
    """The header lines of an answer: the provider's as far as they pass, who served it, and how the
    token's limits stand."""
    outcome.status = head.status
    upstream_id = head.fields.get(b"x-request-id")
    if upstream_id is not None:
        outcome.upstream_id = _text(upstream_id)
    return b"%b%b%bx-request-id: %b\r\n%b%b" % (
        downstream_block(head),
        stands,
        b"" if b"date" in head.fields else date_line(int(time.time())),
        outcome.id.encode(),
        _served(outcome.served_model, outcome.provider, outcome.attempts),
        block([encode("x-upstream-request-id", outcome.upstream_id)]) if upstream_id else b"",
    )


@lru_cache(maxsize=1024)
def _served(model: str, provider: str, attempts: int) -> bytes:
    headers = [
        encode("x-tokenomics-model", _text(model.encode())),
        encode("x-tokenomics-provider", _text(provider.encode())),
        (b"x-tokenomics-attempts", b"%d" % attempts),
    ]
    return block(headers)


def _retries(said: str | None) -> int:
    """How often the client's SDK says that it has sent this before; OpenAI's and Anthropic's do."""
    return int(said) if said and said.isdecimal() and len(said) < 4 else 0


def new_id() -> str:
    """A request's id: unique, not secret."""
    return f"req_{random.getrandbits(128):032x}"


async def _body(request: Request) -> bytes:
    """A request's body without its content coding. Raises Refusal."""
    body = await request.body()
    if b"content-encoding" not in request.head.fields:
        return body
    coding = request.head.fields[b"content-encoding"].decode("latin-1")
    try:
        if len(body) <= INFLATE_THREAD_BYTES:
            return decode(body, coding.lower(), request.max_body)
        return await trio.to_thread.run_sync(decode, body, coding.lower(), request.max_body)
    except BadCoding as e:
        code = _CODING_FAULTS[e.kind]
        raise Refusal(code, f"the request body's content-encoding: {e}") from None


_CODING_FAULTS = {
    "unsupported": "unsupported_encoding",
    "broken": "invalid_request",
    "too_long": "body_too_large",
}


async def refuse(reply: Reply, refusal: Refusal, request_id: str, shape: str) -> None:
    """Send a refusal in the shape of a dialect."""
    headers = [JSON, (b"x-request-id", request_id.encode())]
    headers += [encode(name, value) for name, value in refusal.headers]
    await reply.send(refusal.status, headers, error_body(shape, refusal, request_id))


def _text(value: bytes) -> str:
    text = value.decode("latin-1")[:128]
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
