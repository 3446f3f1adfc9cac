"""Paths that no dialect knows, so that a policy that opens some can be tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenomics import strictjson
from tokenomics.dialects.sse import event
from tokenomics.echo.plan import Answer, Events, Plan, json_body


def elsewhere(plan: Plan) -> Answer:
    """What was asked, said back: the method, the path and a text."""
    document = {
        "id": f"echo-{plan.id}",
        "object": "echo",
        "method": plan.method,
        "path": plan.path,
        "text": plan.text,
    }
    if not plan.ask.stream:
        return json_body(document)
    return Events(_chunks(document, plan.words))


def _chunks(document: dict[str, str], words: Sequence[str]) -> Iterator[bytes]:
    for word in words:
        yield event(strictjson.dumps({**document, "text": word}))
    yield event(b"[DONE]")
