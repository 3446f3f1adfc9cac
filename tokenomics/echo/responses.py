"""Responses, as OpenAI answers them.

https://platform.openai.com/docs/api-reference/responses/object, .../responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.sse import named_event
from tokenomics.echo.plan import Answer, Events, Plan, json_body

# Settings that a response shows back, and what stands there if none was sent.
_SHOWN: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
# What a function tool is shown with if the client left it out.
_FUNCTION = {"description": None, "parameters": None, "strict": True}
Event = tuple[str, dict[str, Any]]


def responses(plan: Plan) -> Answer:
    """A response with one output item: a message, or a function call."""
    if not plan.ask.stream:
        return json_body(_ended(plan))
    return Events(_numbered(_events(plan)))


def _numbered(events: Iterator[Event]) -> Iterator[bytes]:
    for number, (name, fields) in enumerate(events):
        document = {"type": name, "sequence_number": number, **fields}
        yield named_event(name, strictjson.dumps(document))


def _events(plan: Plan) -> Iterator[Event]:
    begun = {"response": _response(plan, "in_progress", [], None)}
    yield "response.created", begun
    yield "response.in_progress", begun
    yield from _call_events(plan) if plan.wish.tool else _message_events(plan)
    response = _ended(plan)
    yield f"response.{response['status']}", {"response": response}


def _message_events(plan: Plan) -> Iterator[Event]:
    yield "response.output_item.added", _at(item=_message(plan, "in_progress", []))
    here = {**_at(item_id=_message_id(plan)), "content_index": 0}
    yield "response.content_part.added", {**here, "part": _part("")}
    for word in plan.words:
        yield "response.output_text.delta", {**here, "delta": word, "logprobs": []}
    yield "response.output_text.done", {**here, "text": plan.text, "logprobs": []}
    yield "response.content_part.done", {**here, "part": _part(plan.text)}
    yield "response.output_item.done", _at(item=_item(plan))


def _call_events(plan: Plan) -> Iterator[Event]:
    yield "response.output_item.added", _at(item=_call(plan, "in_progress", ""))
    here = _at(item_id=f"fc_{plan.id}")
    for piece in plan.arguments:
        yield "response.function_call_arguments.delta", {**here, "delta": piece}
    yield "response.function_call_arguments.done", {**here, "arguments": "".join(plan.arguments)}
    yield "response.output_item.done", _at(item=_item(plan))


def _at(**fields: Any) -> dict[str, Any]:
    return {"output_index": 0, **fields}


def _item(plan: Plan) -> dict[str, Any]:
    if plan.wish.tool:
        return _call(plan, "completed", "".join(plan.arguments))
    return _message(plan, "incomplete" if plan.cut else "completed", [_part(plan.text)])


def _message_id(plan: Plan) -> str:
    return f"msg_{plan.id}"


def _message(plan: Plan, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _message_id(plan),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(plan: Plan, status: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"fc_{plan.id}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{plan.id}",
        "name": plan.wish.tool,
        "arguments": arguments,
    }


def _ended(plan: Plan) -> dict[str, Any]:
    usage = {
        "input_tokens": plan.input,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": plan.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": plan.input + plan.output,
    }
    cut = plan.cut and not plan.wish.tool
    return _response(plan, "incomplete" if cut else "completed", [_item(plan)], usage)


def _response(
    plan: Plan, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
) -> dict[str, Any]:
    reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
    shown = {key: plan.document.get(key) for key in _SHOWN}
    return {
        "id": f"resp_{plan.id}",
        "object": "response",
        "created_at": plan.now,
        "completed_at": plan.now if status == "completed" else None,
        "status": status,
        "error": None,
        "incomplete_details": reason,
        "model": plan.ask.model,
        "output": output,
        **{key: _SHOWN[key] if value is None else value for key, value in shown.items()},
        "tools": _tools(plan.document.get("tools")),
        "usage": usage,
    }


def _tools(tools: Any) -> list[Any]:
    given = tools if isinstance(tools, list) else []
    return [{**_FUNCTION, **tool} if _is_function(tool) else tool for tool in given]


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function"
