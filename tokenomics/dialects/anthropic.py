"""Anthropic's messages. https://docs.anthropic.com/en/api/messages, .../messages-count-tokens"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.ask import (
    Ask,
    Dialect,
    Document,
    Endpoint,
    Prompts,
    check_content,
    check_messages,
    document_texts,
)
from tokenomics.dialects.openai import KNOWN, SCHEMAS, message_texts, message_turns
from tokenomics.dialects.texts import OWN_JSON, Text, Words, walk
from tokenomics.errors import Refusal

_ROLES = frozenset("user assistant system".split())
_SKIP = frozenset(
    "role type id tool_use_id url media_type file_id server_name caller cache_reference".split()
)
_BLOCKS = Words(
    KNOWN
    | _SKIP
    | frozenset(
        "system source thinking citations cited_text context is_error input_schema signature"
        " enabled output_config effort context_management edits trigger value".split()
    ),
    _SKIP,
    below={"input": OWN_JSON},  # of a tool call: the tool's own JSON
)
_HIDDEN = frozenset(
    "model stream max_tokens temperature top_p top_k metadata service_tier thinking"
    " container mcp_servers inference_geo speed betas cache_control".split()
)


def _check(endpoint: Endpoint, document: Document) -> None:
    check_messages(document.get(endpoint.required), endpoint.required)
    check_content(document.get("system"), "system")


def _texts(endpoint: Endpoint, document: Document) -> list[Text]:
    def below(key: str, value: Any) -> list[Text]:
        if key == "messages":
            return message_texts(value, _BLOCKS, _ROLES)
        schema = key in ("tools", "output_config", "output_format")
        return walk(value, (key,), SCHEMAS if schema else _BLOCKS)

    return document_texts(endpoint, document, _BLOCKS.known, below)


def _prompted(_ask: Ask, document: Document, prompts: Prompts) -> dict[str, Any]:
    """What instructs goes to `system`, the rest in front of the messages."""
    changed: dict[str, Any] = {}
    instructing = [content for role, content in prompts if role in ("system", "developer")]
    if instructing:
        own = document.get("system")
        if isinstance(own, list):
            changed["system"] = [{"type": "text", "text": text} for text in instructing] + own
        else:
            changed["system"] = "\n\n".join([*instructing, *([own] if own else [])])
    talk = [
        {"role": role, "content": text} for role, text in prompts if role in ("user", "assistant")
    ]
    if talk:
        changed["messages"] = talk + document["messages"]
    return changed


def _images(document: Document) -> int:
    contents = [message.get("content") for message in document["messages"]]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return sum(1 for block in blocks if isinstance(block, dict) and block.get("type") == "image")


MESSAGES = Dialect(
    "anthropic", _check, _texts, prompted=_prompted, turns=message_turns, images=_images
)
ROWS = (
    Endpoint(
        "messages",
        "/messages",
        MESSAGES,
        "anthropic",
        "messages",
        generates=True,
        caps=("max_tokens",),
        hidden=_HIDDEN,
    ),
    Endpoint(
        "count_tokens",
        "/messages/count_tokens",
        MESSAGES,
        "anthropic",
        "messages",
        hidden=_HIDDEN,
        free=True,
    ),
)


def model_list(models: Sequence[tuple[str, str]]) -> bytes:
    """https://docs.anthropic.com/en/api/models-list, of (model, owner)."""
    names = [name for name, _ in models]
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
    return strictjson.dumps({"data": [_model(name) for name in names], "has_more": False, **ends})


def model_object(model: str, _owner: str) -> bytes:
    """https://docs.anthropic.com/en/api/models"""
    return strictjson.dumps(_model(model))


def _model(name: str) -> dict[str, Any]:
    created = "1970-01-01T00:00:00Z"
    return {"type": "model", "id": name, "display_name": name, "created_at": created}


# https://docs.anthropic.com/en/api/errors
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """Anthropic's name for what an HTTP status says."""
    other = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return ERROR_TYPES.get(status, other)


def error_body(refusal: Refusal, request_id: str) -> bytes:
    """A refusal in Anthropic's shape, which has a type for a code."""
    error = {"type": error_type(refusal.status), "message": refusal.message}
    return strictjson.dumps({"type": "error", "error": error, "request_id": request_id})
