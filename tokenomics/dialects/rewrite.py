"""The bytes for a provider, made from a request that was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects import forms
from tokenomics.dialects.ask import MAX_OUTPUT, Ask, Prompts
from tokenomics.dialects.texts import masked as with_masked


def rewrite(
    ask: Ask,
    *,
    model: str,
    masked: Sequence[str] | None,
    prompts: Prompts,
    cap: int | None,
    bounded: bool,
    cap_key: str,
) -> tuple[bytes, str]:
    """The body for a provider, and its content type ("" for JSON).

    `masked` has one text per `ask.texts`, or is None where nothing was masked; `prompts` are (role,
    content) put in front; `cap` bounds all output tokens; with `bounded` the client's own bound
    must hold, so it stands in the key that the provider knows (`cap_key`) too. If nothing changes,
    these are the client's own bytes; if keys are only added, they are that with an end of ours.
    Raises Refusal where the prompts cannot be put in front.
    """
    document = with_masked(ask.document, ask.texts, masked) if masked is not None else ask.document
    top: dict[str, Any] = {}
    if model and model != ask.document.get("model"):
        top["model"] = model
    if ask.endpoint.generates:
        if prompts:
            top.update(ask.endpoint.dialect.prompted(ask, document, prompts))
        if bounded:
            top.update(_cap(ask, cap, cap_key))
        if ask.stream and not ask.usage_asked and ask.endpoint.dialect.name == "openai":
            options = ask.document.get("stream_options") or {}
            top["stream_options"] = {**options, "include_usage": True}
    if ask.form is not None:
        return forms.encode(ask.form, {**document, **top})
    if document is not ask.document or not top.keys().isdisjoint(document):
        return strictjson.dumps({**document, **top}), ""
    if not top or ask.raw.lstrip()[:1] != b"{":  # bytes, or nothing at all, name no model
        return ask.raw, ""
    if not document:
        return strictjson.dumps(top), ""
    return ask.raw.rstrip()[:-1] + b"," + strictjson.dumps(top)[1:], ""


def _cap(ask: Ask, cap: int | None, cap_key: str) -> dict[str, int]:
    """The fields that bound the output: the client's own, lowered to `cap`."""
    caps = ask.endpoint.caps
    each = None if cap is None else max(cap // ask.choices, 1)
    given = {key: ask.document[key] for key in caps if ask.document.get(key)}
    if not given:
        key = cap_key if cap_key in caps else caps[-1]
        return {} if each is None else {key: each}
    out = {k: each for k, value in given.items() if each is not None and value > each}
    # OpenAI's own takes the older key; others ignore the newer one.
    if cap_key in caps and cap_key == "max_tokens" and cap_key not in given:
        out[cap_key] = min(each or MAX_OUTPUT, *given.values())
    return out
