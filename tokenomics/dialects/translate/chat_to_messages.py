"""A request for chat completions, as one for Anthropic's messages.

What is carried, dropped and refused is a table in `tokenomics docs translation`.
https://platform.openai.com/docs/api-reference/chat/create, https://docs.anthropic.com/en/api/messages;
Anthropic's own account of the differences:
https://platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tokenomics.dialects.ask import wrong
from tokenomics.dialects.translate.content import check_name, converse, mark_cached

DEFAULT_MOST = 4096  # output tokens, where nobody knows what the model may write
MIN_BUDGET = 1024  # tokens of thinking: the API's own bound

# The tokens that an effort is worth where thinking has a budget: from the least that the API takes,
# four times as many with each step.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 16384}
# The same where the model judges by itself; `xhigh` only some models know.
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}

_VERSION = re.compile(r"claude-(?:[a-z]+-)*(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
# https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking: before it thinking has a
# budget, which later models refuse.
_ADAPTIVE = (4, 6)
# https://platform.claude.com/docs/en/about-claude/models/migration-guide: from then on they refuse
# temperature, top_p and top_k.
_UNSAMPLED = (4, 7)
_NEWEST = (99, 0)

Request = dict[str, Any]


class _Unknown(NamedTuple):
    """A field that has no counterpart: whether a value of it asks for something, and what to do."""

    asks: Callable[[Any], bool]
    advice: str


_GIVEN = bool
_REFUSED = {
    "n": _Unknown(
        lambda n: n not in (None, 1), "this provider gives one answer: ask again for more"
    ),
    "logprobs": _Unknown(_GIVEN, "this provider does not tell them"),
    "audio": _Unknown(_GIVEN, "this provider does not speak"),
    "modalities": _Unknown(lambda m: m not in (None, ["text"]), "this provider answers with text"),
    "functions": _Unknown(_GIVEN, "use tools"),
    "function_call": _Unknown(_GIVEN, "use tool_choice"),
    "web_search_options": _Unknown(lambda w: w is not None, "this provider does not search for it"),
}


def translate(document: Request, most: int = DEFAULT_MOST) -> Request:
    """A request that was read, translated; `most` is how many tokens its model may write. Raises
    Refusal `invalid_request` with the place of what cannot be carried."""
    for key, unknown in _REFUSED.items():
        if unknown.asks(document.get(key)):
            raise wrong(unknown.advice, key)
    talk = converse(document["messages"])
    out: Request = {"model": document["model"], "max_tokens": _cap(document, most)}
    if talk.system:
        out["system"] = talk.system
    out["messages"] = talk.messages
    if document.get("stream"):
        out["stream"] = True
    user = document.get("safety_identifier") or document.get("user")
    if isinstance(user, str) and user:
        out["metadata"] = {"user_id": user}
    if stops := _stops(document.get("stop")):
        out["stop_sequences"] = stops
    out |= _tools(document)
    out |= _format(document.get("response_format"))
    _think(out, document)
    return out | _sampling(document, thinking="thinking" in out)


def _cap(document: Request, most: int) -> int:
    """The most tokens of the answer, which Anthropic must be told."""
    given = [document.get(key) for key in ("max_completion_tokens", "max_tokens")]
    return min([cap for cap in given if isinstance(cap, int)], default=most)


def _stops(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong("must be text or a list of texts", "stop")
    return [text for text in stops if text.strip()]  # Anthropic refuses those of nothing but space


# Tools: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use


def _tools(document: Request) -> Request:
    tools = document.get("tools")
    if not tools:
        return {}
    if not isinstance(tools, list):
        raise wrong("must be a list", "tools")
    out: Request = {"tools": [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]}
    choice = _choice(document.get("tool_choice"))
    if document.get("parallel_tool_calls") is False and choice != {"type": "none"}:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {**out, "tool_choice": choice} if choice else out


def _tool(tool: Any, place: str) -> Request:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type", "function") != "function":
        raise wrong("must be a function at this provider", place)
    place = f"{place}.function"
    parameters = function.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise wrong("must be a schema of an object at this provider", f"{place}.parameters")
    out: Request = {"name": check_name(function.get("name"), f"{place}.name")}
    if isinstance(function.get("description"), str):
        out["description"] = function["description"]
    out["input_schema"] = {"type": "object", **(parameters or {"properties": {}})}
    if function.get("strict") is True:
        out["strict"] = True
    return mark_cached(out, tool if "cache_control" in tool else function)


def _choice(choice: Any) -> Request | None:
    words = {"auto": "auto", "none": "none", "required": "any"}
    if choice is None:
        return None
    if isinstance(choice, str) and choice in words:
        return {"type": words[choice]}
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and choice.get("type") == "function":
        return {
            "type": "tool",
            "name": check_name(function.get("name"), "tool_choice.function.name"),
        }
    raise wrong("must be auto, none, required or a function at this provider", "tool_choice")


def _format(wanted: Any) -> Request:
    """https://platform.claude.com/docs/en/build-with-claude/structured-outputs"""
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind in (None, "text"):
        return {}
    inner = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        message = "must be text, or a json_schema with its schema, at this provider"
        raise wrong(message, "response_format")
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


# Thinking and sampling, which bound each other:
# https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#feature-compatibility


def _version(model: str) -> tuple[int, int]:
    """Which Claude it is; what is none has what the first had that thought."""
    match = _VERSION.search(model)
    if match is not None:
        return int(match[1]), int(match[2] or 0)
    return _NEWEST if "claude" in model else (0, 0)


def _think(out: Request, document: Request) -> None:
    """Let it think, if that was asked for and may be. A client may use Anthropic's own `thinking`,
    as at Anthropic's own OpenAI-compatible endpoint."""
    own, effort = document.get("thinking"), document.get("reasoning_effort")
    if own is not None:
        if not isinstance(own, dict):
            raise wrong("must be an object", "thinking")
        out |= {} if own.get("type") == "disabled" else {"thinking": own}
        return
    if effort is None or effort == "none":
        return
    if not isinstance(effort, str) or effort not in _BUDGETS:
        raise wrong(f"must be none or one of: {', '.join(_BUDGETS)}", "reasoning_effort")
    if _version(out["model"]) >= _ADAPTIVE:  # effort goes without thinking, too
        out["output_config"] = {**out.get("output_config", {}), "effort": _EFFORTS[effort]}
        if not _forced(out):
            out["thinking"] = {"type": "adaptive", "display": "summarized"}
        return
    # Half of the answer at most, for all of it has to be within the cap.
    budget = min(_BUDGETS[effort], out["max_tokens"] // 2)
    may = not _forced(out) and not _called_without_thinking(out["messages"])
    if budget >= MIN_BUDGET and may:
        out["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _forced(out: Request) -> bool:
    """Whether a tool must be used: thinking may not go with that."""
    return out.get("tool_choice", {}).get("type") in ("any", "tool")


def _called_without_thinking(messages: list[Request]) -> bool:
    """Whether the assistant's turn goes on that called a tool and whose thinking is not there: with
    a budget, such a turn must begin with it."""
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    last = messages[-1]["content"][0]["type"]
    return last == "tool_result" and bool(said) and "thinking" not in said[-1][0]["type"]


def _sampling(document: Request, *, thinking: bool) -> Request:
    out: Request = {}
    for key, high in (("temperature", 2.0), ("top_p", 1.0)):
        value = document.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
            raise wrong(f"must be a number from 0 to {high:g}", key)
        out[key] = min(value, 1)  # Anthropic's range; what is beyond is its hottest
    if thinking or _version(document["model"]) >= _UNSAMPLED:
        return {}
    if "temperature" in out:
        out.pop("top_p", None)  # later models refuse both
    return out
