"""A whole chat completion, as a message of Anthropic's; and OpenAI's errors, as Anthropic's.

https://platform.openai.com/docs/api-reference/chat/object,
https://docs.anthropic.com/en/api/messages, .../errors. What a model thought stands in
`reasoning_content` (https://api-docs.deepseek.com/guides/reasoning_model, vLLM), in `reasoning`
(https://console.groq.com/docs/reasoning, OpenRouter), or in parts of the content
(https://docs.mistral.ai/capabilities/reasoning).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenomics import strictjson
from tokenomics.dialects.anthropic import ERROR_TYPES, error_type
from tokenomics.dialects.usage import Usage, read_usage
from tokenomics.errors import Refusal

Document = dict[str, Any]

# `tool_calls` is left to whether there are any: some say `stop` with calls, some the other way.
_STOPPED = {
    "stop": "end_turn",
    "tool_calls": "end_turn",
    "function_call": "end_turn",
    "length": "max_tokens",
    "model_length": "max_tokens",
    "content_filter": "refusal",
}


class Said(NamedTuple):
    """What a message, or a piece of one, says: its thought, its text, why it refuses."""

    thought: str
    text: str
    refusal: str


def translate(body: bytes, now: int) -> bytes:
    """The body of an answer; `now` is when it was made, in seconds. Raises Refusal
    `upstream_invalid` if it is no chat completion, or if a call in it cannot be read."""
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON:  # its reason may name what the answer holds
        raise invalid("the provider's answer is no valid JSON") from None
    choice = first_choice(document)
    message = choice.get("message") if choice is not None else None
    if not isinstance(message, dict) or choice is None:
        raise invalid("the provider's answer is not a chat completion")
    finish = choice.get("finish_reason")
    if finish == "error":
        raise invalid("the provider says that its answer failed")
    blocks = _blocks(message, document, finish)
    called = any(block["type"] == "tool_use" for block in blocks)
    out: Document = {**head(document, now), "content": blocks}
    out |= stopped(choice, called=called, refused=bool(said_in(message).refusal))
    out["usage"] = usage_object(usage_in(document) or Usage(0, 0))
    return strictjson.dumps(out)


def invalid(message: str) -> Refusal:
    """What the provider sent cannot be translated."""
    return Refusal("upstream_invalid", message)


def first_choice(document: Any) -> Document | None:
    """The choice of an answer or a chunk; more than one are never asked for."""
    choices = document.get("choices") if isinstance(document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def head(document: Mapping[str, Any], now: int) -> Document:
    """What a message begins with."""
    return {
        "id": f"msg_{document.get('id') or now}",
        "type": "message",
        "role": "assistant",
        "model": str(document.get("model") or ""),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def stopped(choice: Mapping[str, Any], *, called: bool, refused: bool) -> Document:
    """Why it ended, in Anthropic's words. Which text it stopped at only vLLM tells, as the
    `stop_reason` of the choice."""
    reason = _STOPPED.get(str(choice.get("finish_reason")), "end_turn")
    sequence = choice.get("stop_reason")
    if refused:
        reason = "refusal"
    elif reason == "end_turn" and called:
        reason = "tool_use"
    elif reason == "end_turn" and isinstance(sequence, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": sequence}
    return {"stop_reason": reason, "stop_sequence": None}


def usage_in(document: Mapping[str, Any]) -> Usage | None:
    """What the provider counted, in an answer or a chunk. Groq has a place of its own for it in
    streams: https://console.groq.com/docs/api-reference#chat-create."""
    own = document.get("x_groq")
    usage = read_usage(document.get("usage"))
    return usage or read_usage(own.get("usage") if isinstance(own, dict) else None)


def usage_object(usage: Usage) -> Document:
    """The same in Anthropic's words, which count what was cached beside the input."""
    written = usage.cache_write + usage.cache_write_1h
    return {
        "input_tokens": max(usage.input - usage.cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }


# Blocks


def _blocks(message: Document, document: Document, finish: Any) -> list[Document]:
    """What it thought, said, and called, in this order. What it thought has no signature."""
    said = said_in(message)
    out: list[Document] = []
    if said.thought:
        out.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    if text := said.text + said.refusal:
        out.append({"type": "text", "text": text})
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not isinstance(function, dict):
            raise invalid("the provider's answer has a tool call without a name")
        given = arguments(function.get("arguments"))
        if given is None and finish == "length":  # it was cut off within
            continue
        if given is None:
            raise invalid("a tool call in the provider's answer has arguments that are no object")
        id_ = call_id(call.get("id"), document.get("id"), index)
        out.append({"type": "tool_use", "id": id_, "name": name, "input": given})
    return out


def said_in(message: Mapping[str, Any]) -> Said:
    """What a message says beside its calls, or a delta."""
    content, refusal = message.get("content"), message.get("refusal")
    thought = message.get("reasoning_content") or message.get("reasoning")
    thoughts = [thought] if isinstance(thought, str) else []
    texts = [content] if isinstance(content, str) else []
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text") or ""))
        elif kind == "thinking":
            inner = part.get("thinking")
            pieces = inner if isinstance(inner, list) else [{"text": inner}]
            thoughts += [str(p.get("text") or "") for p in pieces if isinstance(p, dict)]
    return Said("".join(thoughts), "".join(texts), refusal if isinstance(refusal, str) else "")


def arguments(text: Any) -> Document | None:
    """The object in a call's arguments, None if there is none. Of a tool without parameters some
    models write no text at all, and some servers send the object itself."""
    if text is None or isinstance(text, dict):
        return text or {}
    try:
        value = strictjson.loads(text) if text.strip() else {}
    except (strictjson.BadJSON, AttributeError):
        return None
    return value if isinstance(value, dict) else None


def call_id(value: Any, answer: Any, index: int) -> str:
    """A call's id; one of ours where a provider gives none, for the result must name it."""
    if isinstance(value, str) and value:
        return value
    return "toolu_" + hashlib.sha256(f"{answer}\n{index}".encode()).hexdigest()[:24]


# Errors: https://docs.anthropic.com/en/api/errors


def translate_error(body: bytes, status: int) -> bytes:
    """The body of an error answer, with the message that the provider gave it and the type of its
    status. What is no error of OpenAI's (a page of some server between) stays as it is."""
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON:
        return body
    message = _message(document)
    return body if message is None else strictjson.dumps(_error(message, status))


def error_in(document: Mapping[str, Any]) -> Document:
    """An error within a stream; its status is its code, if that is a number."""
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    found = _error(_message(document) or "the provider failed", code if type(code) is int else 500)
    if type(code) is not int and kind in ERROR_TYPES.values():
        found["error"]["type"] = kind
    return found


def _error(message: str, status: int) -> Document:
    return {"type": "error", "error": {"type": error_type(status), "message": message}}


def _message(document: Any) -> str | None:
    """What went wrong. Mistral and older vLLMs have no `error` around it, FastAPI's servers a
    `detail`."""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str) and error:
        return error
    inner = error if isinstance(error, dict) else document
    for key in ("message", "detail"):
        value = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict | list) and value:
            return strictjson.dumps(value).decode()
    return None
