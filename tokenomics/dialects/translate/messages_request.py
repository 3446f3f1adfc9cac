"""A request for Anthropic's messages, as one for chat completions.

What is carried, dropped and refused is a table in `tokenomics docs translation`.
https://docs.anthropic.com/en/api/messages, https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tokenomics.dialects.ask import wrong
from tokenomics.dialects.translate.content import check_name
from tokenomics.dialects.translate.turns import converse

Request = dict[str, Any]

# The key for the most tokens that OpenAI's own models know, and few others do.
_NEWER_CAP = "max_completion_tokens"
MAX_USER = 64  # characters: https://platform.openai.com/docs/guides/safety-best-practices

# What asks for something that this provider does not have, and is not only advice.
_REFUSED = {
    "mcp_servers": "this provider does not call them: use tools",
    "container": "this provider has none of Anthropic's containers",
}

# https://platform.openai.com/docs/guides/reasoning, https://console.groq.com/docs/reasoning
_REASONS = re.compile(r"(?:^|[/:])(?:o\d|gpt-5(?!.*-chat)|gpt-oss)")
# These take no sampling but their own.
_UNSAMPLED = re.compile(r"(?:^|[/:])(?:o\d|gpt-5(?!.*-chat))")
# The least tokens of thinking for an effort, from the most: the way back of `chat_to_messages`.
_EFFORTS = ((16384, "high"), (4096, "medium"))
_OWN_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def translate(document: Request, most: int = 0, cap_key: str = "max_tokens") -> Request:
    """A request that was read, translated. `most` is how many tokens its model may write, 0 if
    nobody knows; `cap_key` is where the provider wants their bound. Raises Refusal
    `invalid_request` with the place of what cannot be carried."""
    for key, advice in _REFUSED.items():
        if document.get(key):
            raise wrong(advice, key)
    model = document["model"]
    out: Request = {"model": model}
    out["messages"] = converse(document.get("system"), document["messages"])
    cap = document.get("max_tokens")
    if isinstance(cap, int):
        out[cap_key] = min(cap, most or cap)
    if document.get("stream"):
        out |= {"stream": True, "stream_options": {"include_usage": True}}
    if stops := _stops(document.get("stop_sequences")):
        out["stop"] = stops
    out |= _sampling(document) if not _UNSAMPLED.search(model) else {}
    out |= _tools(document)
    out |= _format(document)
    out |= _effort(document) if _REASONS.search(model) else {}
    # Who refuses fields that he does not know, refuses this one (Mistral does).
    return out | (_user(document.get("metadata")) if cap_key == _NEWER_CAP else {})


def _stops(stops: Any) -> list[str]:
    if stops is None:
        return []
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong("must be a list of texts", "stop_sequences")
    return stops


def _sampling(document: Request) -> Request:
    """Anthropic's range is a part of OpenAI's. `top_k` has no counterpart."""
    out: Request = {}
    for key in ("temperature", "top_p"):
        value = document.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise wrong("must be a number from 0 to 1", key)
        out[key] = value
    return out


def _user(metadata: Any) -> Request:
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str) or not user:
        return {}
    # Claude Code's names a device, an account and a session, in 200 characters or so.
    short = user if len(user) <= MAX_USER else hashlib.sha256(user.encode()).hexdigest()
    return {"safety_identifier": short}


# Tools: https://platform.openai.com/docs/guides/function-calling


def _tools(document: Request) -> Request:
    tools = document.get("tools")
    if not tools:
        return {}
    if not isinstance(tools, list):
        raise wrong("must be a list", "tools")
    out: Request = {"tools": [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]}
    choice = document.get("tool_choice")
    if choice is None:
        return out
    if not isinstance(choice, dict):
        raise wrong("must be an object", "tool_choice")
    out["tool_choice"] = _choice(choice)
    if choice.get("disable_parallel_tool_use") is True:
        out["parallel_tool_calls"] = False
    return out


def _tool(tool: Any, place: str) -> Request:
    if not isinstance(tool, dict):
        raise wrong("must be an object", place)
    if tool.get("type") not in (None, "custom"):
        message = "must be a tool of your own: Anthropic's tools do not exist at this provider"
        raise wrong(message, f"{place}.type")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise wrong("must be a schema", f"{place}.input_schema")
    function: Request = {"name": check_name(tool.get("name"), f"{place}.name")}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    function["parameters"] = schema
    if tool.get("strict") is True:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: Request) -> Any:
    words = {"auto": "auto", "any": "required", "none": "none"}
    kind = choice.get("type")
    if isinstance(kind, str) and kind in words:
        return words[kind]
    if kind == "tool":
        name = check_name(choice.get("name"), "tool_choice.name")
        return {"type": "function", "function": {"name": name}}
    raise wrong("must be auto, any, tool or none", "tool_choice.type")


# What it answers with, and how hard it thinks


def _format(document: Request) -> Request:
    """https://platform.openai.com/docs/guides/structured-outputs. Anthropic keeps to a schema, so
    this has to, too: it is `strict`, and what OpenAI cannot be strict about OpenAI refuses."""
    config = document.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    place = "output_config.format"
    if wanted is None:  # its name before
        wanted, place = document.get("output_format"), "output_format"
    if wanted is None:
        return {}
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict) or wanted.get("type") != "json_schema":
        raise wrong("must be a json_schema with its schema", place)
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _effort(document: Request) -> Request:
    """A budget is an effort; what decides by itself has the effort that it was told, or the
    model's own."""
    thinking, config = document.get("thinking"), document.get("output_config")
    thinking = thinking if isinstance(thinking, dict) else {}
    budget = thinking.get("budget_tokens")
    if thinking.get("type") == "enabled" and isinstance(budget, int):
        efforts = [name for least, name in _EFFORTS if budget >= least]
        return {"reasoning_effort": (efforts or ["low"])[0]}
    told = config.get("effort") if isinstance(config, dict) else None
    effort = _OWN_EFFORTS.get(told) if isinstance(told, str) else None
    return {} if effort is None else {"reasoning_effort": effort}
