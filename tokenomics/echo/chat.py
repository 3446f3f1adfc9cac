"""Chat and completions, as OpenAI answers them.

https://platform.openai.com/docs/api-reference/chat/object, .../chat-streaming,
.../completions/object
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.sse import event
from tokenomics.echo.plan import Answer, Events, Plan, json_body

MAX_CHOICES = 128  # what OpenAI allows; a list of prompts could ask for more


def chat(plan: Plan) -> Answer:
    """Chat completions: one message a choice, or a tool call."""
    if plan.ask.stream:
        return Events(_chunks(plan, chat=True))
    message: dict[str, Any] = {"role": "assistant", "content": plan.text, "refusal": None}
    if plan.wish.tool:
        arguments = "".join(plan.arguments)
        message["content"] = None
        message["tool_calls"] = [_tool_call(plan, {"name": plan.wish.tool, "arguments": arguments})]
    return _whole(plan, "chat.completion", {"message": message})


def completions(plan: Plan) -> Answer:
    """Legacy completions, which know no tools."""
    if plan.ask.stream:
        return Events(_chunks(plan, chat=False))
    return _whole(plan, "text_completion", {"text": plan.text})


def _whole(plan: Plan, kind: str, inner: dict[str, Any]) -> Answer:
    rest = {"logprobs": None, "finish_reason": _finish(plan, kind == "chat.completion")}
    choices = [{"index": i, **inner, **rest} for i in range(_count(plan))]
    return json_body({**_frame(plan, kind), "choices": choices, "usage": _usage(plan)})


def _chunks(plan: Plan, *, chat: bool) -> Iterator[bytes]:
    """For every choice a chunk with the role, one a word (or piece of a tool call) and one with the
    end; then the usage, if it was asked for."""
    frame = _frame(plan, "chat.completion.chunk" if chat else "text_completion")
    for i in range(_count(plan)):
        for inner in _deltas(plan) if chat else [{"text": word} for word in plan.words]:
            yield _chunk(frame, i, inner, None)
        yield _chunk(frame, i, {"delta": {}} if chat else {"text": ""}, _finish(plan, chat))
    if plan.ask.usage_asked:
        yield event(strictjson.dumps({**frame, "choices": [], "usage": _usage(plan)}))
    yield event(b"[DONE]")


def _chunk(frame: dict[str, Any], index: int, inner: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": index, **inner, "logprobs": None, "finish_reason": finish}
    return event(strictjson.dumps({**frame, "choices": [choice]}))


def _deltas(plan: Plan) -> Iterator[dict[str, Any]]:
    if plan.wish.tool:
        call = _tool_call(plan, {"name": plan.wish.tool, "arguments": ""})
        first = {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}
        yield {"delta": first}
        for piece in plan.arguments:
            yield {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}
        return
    yield {"delta": {"role": "assistant", "content": "", "refusal": None}}
    for word in plan.words:
        yield {"delta": {"content": word}}


def _tool_call(plan: Plan, function: dict[str, str]) -> dict[str, Any]:
    return {"id": f"call_{plan.id}", "type": "function", "function": function}


def _finish(plan: Plan, chat: bool) -> str:
    if chat and plan.wish.tool:
        return "tool_calls"
    return "length" if plan.cut else "stop"


def _count(plan: Plan) -> int:
    return min(plan.ask.choices, MAX_CHOICES)


def _frame(plan: Plan, kind: str) -> dict[str, Any]:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {
        "id": f"{prefix}-{plan.id}",
        "object": kind,
        "created": plan.now,
        "model": plan.ask.model,
    }


def _usage(plan: Plan) -> dict[str, int]:
    chat = plan.ask.endpoint.name == "chat"
    output = (plan.output if chat else len(plan.words)) * _count(plan)
    return {
        "prompt_tokens": plan.input,
        "completion_tokens": output,
        "total_tokens": plan.input + output,
    }
