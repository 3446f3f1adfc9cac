"""The application that is the provider: reads a request, lets a dialect answer it, sends that."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from tokenomics.dialects.ask import Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.echo.chat import chat, completions
from tokenomics.echo.elsewhere import elsewhere
from tokenomics.echo.faults import fault
from tokenomics.echo.messages import count_tokens, messages
from tokenomics.echo.pictures import images
from tokenomics.echo.plan import JSON, Answer, Body, Events, Plan, make_plan
from tokenomics.echo.responses import responses
from tokenomics.echo.sound import speech, transcripts
from tokenomics.echo.vectors import embeddings, moderations, rerank
from tokenomics.echo.wish import BadWish, Wish
from tokenomics.errors import Refusal
from tokenomics.net.connection import Reply, Request
from tokenomics.net.wire import WireError

ANSWERS: dict[str, Callable[[Plan], Answer]] = {
    "chat": chat,
    "completions": completions,
    "responses": responses,
    "messages": messages,
    "count_tokens": count_tokens,
    "embeddings": embeddings,
    "moderations": moderations,
    "rerank": rerank,
    "images": images,
    "speech": speech,
    "audio": transcripts,
    "open": elsewhere,
}
_JSON = [(b"content-type", JSON.encode())]
_SSE = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


async def echo_app(request: Request, reply: Reply) -> None:
    """Answer one request as a provider would. Raises WireError if it is asked to break off."""
    head = request.head
    endpoint = _endpoint(head.method, head.path)
    try:
        ask = read(endpoint, await request.body(), head.get(b"content-type") or "")
        plan = make_plan(ask, head.method, head.path, int(time.time()))
        # Made before anything goes out: it may refuse. A stream's events are made as they are sent.
        answer = ANSWERS[endpoint.name](plan)
    except Refusal as e:
        await reply.send(e.status, _JSON, fault(endpoint.shape, e.status, e.message, e.code))
        return
    except BadWish as e:
        message = f"not an echo directive: {e}"
        await reply.send(400, _JSON, fault(endpoint.shape, 400, message))
        return
    await trio.sleep(plan.wish.delay)
    if plan.wish.status != 200:
        await _fail(plan.wish, endpoint, reply)
    elif isinstance(answer, Body):
        await _whole(plan.wish, answer, reply)
    else:
        await _stream(plan.wish, answer, reply)


def _endpoint(method: str, path: str) -> Endpoint:
    known = ENDPOINTS.get(path.removeprefix("/v1")) if method == "POST" else None
    return known or open_endpoint(path)


async def _fail(wish: Wish, endpoint: Endpoint, reply: Reply) -> None:
    after = [(b"retry-after", wish.retry_after.encode())] if wish.retry_after else []
    body = fault(endpoint.shape, wish.status, f"echo was asked for {wish.status}")
    await reply.send(wish.status, [*_JSON, *after], body)


async def _whole(wish: Wish, answer: Body, reply: Reply) -> None:
    headers = [(b"content-type", answer.type.encode())]
    if wish.breaks is None:
        await reply.send(200, headers, answer.data)
        return
    await reply.start(200, headers)
    await reply.write(answer.data[: wish.breaks])
    raise WireError("asked to break off")


async def _stream(wish: Wish, answer: Events, reply: Reply) -> None:
    await reply.start(200, _SSE)
    for i, chunk in enumerate(answer.chunks):
        if i == wish.breaks:
            raise WireError("asked to break off")
        await trio.sleep(wish.gap)
        await reply.write(chunk)
    await reply.end()
