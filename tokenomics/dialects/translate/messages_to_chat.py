"""A whole answer of Anthropic's, as a chat completion; and its errors, as OpenAI's.

https://docs.anthropic.com/en/api/messages, .../errors,
https://docs.anthropic.com/en/api/handling-stop-reasons,
https://platform.openai.com/docs/api-reference/chat/object. What a model thought is in
`reasoning_content`, which clients know of DeepSeek
(https://api-docs.deepseek.com/guides/reasoning_model); `thinking_blocks` are Anthropic's own
blocks, to be sent back with the next turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.usage import Usage, read_usage
from tokenomics.errors import Refusal

Document = dict[str, Any]

# What has no name of its own is an end like any other: `pause_turn` comes from tools of Anthropic's
# that are never asked for.
_FINISHED = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def translate(body: bytes, now: int) -> bytes:
    """The body of an answer; `now` is when it was made, in seconds. Raises Refusal
    `upstream_invalid` if it is no message."""
    try:
        message = strictjson.loads(body)
    except strictjson.BadJSON:  # its reason may name what the answer holds
        raise Refusal("upstream_invalid", "the provider's answer is no valid JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        raise Refusal("upstream_invalid", "the provider's answer is not a message")
    choice = {
        "index": 0,
        "message": _message(message),
        "logprobs": None,
        "finish_reason": finish_reason(message.get("stop_reason")),
    }
    answer = {**head(message, "chat.completion", now), "choices": [choice]}
    usage = usage_of(message.get("usage"))
    return strictjson.dumps(answer if usage is None else {**answer, "usage": usage_object(usage)})


def head(message: Mapping[str, Any], kind: str, now: int) -> Document:
    """What an answer and each of its chunks begin with."""
    return {
        "id": str(message.get("id", "")),
        "object": kind,
        "created": now,
        "model": str(message.get("model", "")),
    }


def finish_reason(stop_reason: Any) -> str:
    """Why it ended, in OpenAI's words."""
    return _FINISHED.get(str(stop_reason), "stop")


def refusal_of(message: Mapping[str, Any]) -> str | None:
    """Why the model refuses, where it does and says so."""
    details = message.get("stop_details")
    why = details.get("explanation") if isinstance(details, dict) else None
    return why if isinstance(why, str) and message.get("stop_reason") == "refusal" else None


def usage_of(value: Any) -> Usage | None:
    """What Anthropic counted, its thinking among it."""
    usage = read_usage(value)
    details = value.get("output_tokens_details") if usage is not None else None
    thought = details.get("thinking_tokens") if isinstance(details, dict) else None
    if usage is None or type(thought) is not int:
        return usage
    return usage._replace(reasoning=max(0, min(thought, usage.output)))


def usage_object(usage: Usage) -> Document:
    """The same in OpenAI's words, which count what was cached in the input."""
    written = usage.cache_write + usage.cache_write_1h
    details = {"cached_tokens": usage.cached} | ({"cache_write_tokens": written} if written else {})
    counts: Document = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": details,
    }
    if usage.reasoning:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return counts


def _message(message: Document) -> Document:
    blocks = [block for block in message["content"] if isinstance(block, dict)]
    refusal = refusal_of(message)
    texts = [str(block.get("text", "")) for block in blocks if block.get("type") == "text"]
    out: Document = {
        "role": "assistant",
        "content": "".join(texts),
        "refusal": refusal,
    }
    thinking = [kept for block in blocks if (kept := thinking_block(block)) is not None]
    if thinking:
        out["reasoning_content"] = "".join([block.get("thinking", "") for block in thinking])
        out["thinking_blocks"] = thinking
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    if calls:
        out["tool_calls"] = calls
    if (calls or refusal is not None) and not texts:
        out["content"] = None
    return out


def thinking_block(block: Mapping[str, Any]) -> Document | None:
    """What must come back as it was; None if the block is none of thinking."""
    if block.get("type") == "thinking":
        thought, signature = block.get("thinking"), block.get("signature")
        return {
            "type": "thinking",
            "thinking": thought if isinstance(thought, str) else "",
            "signature": signature if isinstance(signature, str) else "",
        }
    if block.get("type") == "redacted_thinking":
        return {"type": "redacted_thinking", "data": str(block.get("data", ""))}
    return None


def _call(block: Document) -> Document:
    arguments = strictjson.dumps(block.get("input") or {}).decode()
    function = {"name": str(block.get("name", "")), "arguments": arguments}
    return {"id": str(block.get("id", "")), "type": "function", "function": function}


# Errors: https://platform.openai.com/docs/guides/error-codes


def translate_error(body: bytes) -> bytes:
    """The body of an error answer, with the type and message that Anthropic gave it. What is no
    error of Anthropic's (a page of some server between) stays as it is."""
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON:
        return body
    error = error_object(document)
    return body if error is None else strictjson.dumps({"error": error})


def error_object(document: Any) -> Document | None:
    """What OpenAI's clients find under `error`; None if it is no error of Anthropic's."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    kind = error.get("type")
    kind = kind if isinstance(kind, str) else "api_error"
    more = {"param": error.get("param"), "code": error.get("code") or kind}
    return {"message": error["message"], "type": kind, **more}
