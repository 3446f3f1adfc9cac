"""Every place in which a text travels: by endpoint, direction and shape, as clients send it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.upstream import DONE, Step, answers, chunk, completion, event, streams
from tokenomics.net.connection import Reply, Request

BOUNDARY = "a-boundary"
FORM = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")


def form(**fields: str) -> bytes:
    """A form with text fields and a sound file."""
    parts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts.append('name="file"; filename="a.mp3"\r\ncontent-type: audio/mpeg\r\n\r\n\x01\x02')
    body = "".join(f"--{BOUNDARY}\r\ncontent-disposition: form-data; {part}\r\n" for part in parts)
    return f"{body}--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Shape:
    """A request with a text somewhere in it, and the answer that an endpoint gives."""

    path: str
    request: Callable[[str], dict[str, Any] | bytes]
    headers: tuple[tuple[str, str], ...] = ()
    provider: str = "openai"


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def chats(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [*messages, {"role": "user", "content": "Hi"}], **more}


def claude(content: Any, **more: Any) -> dict[str, Any]:
    return user(content, max_tokens=100, **more)


def response(value: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "input": value, **more}


def _call(text: str) -> dict[str, Any]:
    arguments = json.dumps({"to": text})
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def _tool(text: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "description": text, "parameters": {}}}


_CHAT: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": user,
    "parts": lambda t: user([{"type": "text", "text": "See:"}, {"type": "text", "text": t}]),
    "string parts": lambda t: user(["See:", t]),
    "system": lambda t: chats({"role": "system", "content": t}),
    "developer": lambda t: chats({"role": "developer", "content": [{"type": "text", "text": t}]}),
    "assistant": lambda t: chats({"role": "assistant", "content": t}),
    "tool result": lambda t: chats({"role": "tool", "tool_call_id": "call_1", "content": t}),
    "tool call": lambda t: chats({"role": "assistant", "content": None, "tool_calls": [_call(t)]}),
    "tool definition": lambda t: user("Hi", tools=[_tool(t)]),
    "name": lambda t: chats({"role": "user", "name": t, "content": "Hi"}),
    "schema": lambda t: user(
        "Hi",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"description": t}},
        },
    ),
    "prediction": lambda t: user("Hi", prediction={"type": "content", "content": t}),
    "unknown field": lambda t: user("Hi", note=t),
    "a key": lambda t: user("Hi", note={t: 1}),
}
_RESPONSES: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": response,
    "message": lambda t: response([{"role": "user", "content": t}]),
    "parts": lambda t: response(
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": t}]}]
    ),
    "instructions": lambda t: response("Hi", instructions=t),
    "tool result": lambda t: response(
        [{"type": "function_call_output", "call_id": "c", "output": t}]
    ),
    "tool result parts": lambda t: response(
        [
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_text", "text": t}],
            }
        ]
    ),
    "tool call": lambda t: response(
        [{"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"a": t})}]
    ),
    "custom tool call": lambda t: response(
        [{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": t}]
    ),
    "reasoning": lambda t: response(
        [{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": t}]}]
    ),
    "prompt variable": lambda t: response("Hi", prompt={"id": "p", "variables": {"who": t}}),
    "tool definition": lambda t: response(
        "Hi", tools=[{"type": "function", "name": "f", "description": t, "parameters": {}}]
    ),
    "schema": lambda t: response(
        "Hi", text={"format": {"type": "json_schema", "name": "s", "schema": {"description": t}}}
    ),
}
_MESSAGES: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": claude,
    "parts": lambda t: claude([{"type": "text", "text": t}]),
    "system": lambda t: claude("Hi", system=t),
    "system parts": lambda t: claude("Hi", system=[{"type": "text", "text": t}]),
    "tool call": lambda t: chats(
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"id": t}}],
        },
        max_tokens=9,
    ),
    "tool result": lambda t: claude([{"type": "tool_result", "tool_use_id": "t", "content": t}]),
    "tool result parts": lambda t: claude(
        [
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "text", "text": t}],
            }
        ]
    ),
    "document": lambda t: claude(
        [
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": t},
            }
        ]
    ),
    "tool definition": lambda t: claude(
        "Hi", tools=[{"name": "f", "description": t, "input_schema": {"type": "object"}}]
    ),
    "thinking": lambda t: chats(
        {"role": "assistant", "content": [{"type": "thinking", "thinking": t, "signature": "s"}]},
        max_tokens=9,
    ),
}

INPUTS: dict[str, Shape] = {
    **{f"chat {name}": Shape("/v1/chat/completions", make) for name, make in _CHAT.items()},
    **{f"responses {name}": Shape("/v1/responses", make) for name, make in _RESPONSES.items()},
    **{
        f"messages {name}": Shape("/v1/messages", make, provider="anthropic")
        for name, make in _MESSAGES.items()
    },
    "count_tokens": Shape("/v1/messages/count_tokens", claude, provider="anthropic"),
    "completions text": Shape("/v1/completions", lambda t: {"model": "m", "prompt": t}),
    "completions list": Shape("/v1/completions", lambda t: {"model": "m", "prompt": ["a", t]}),
    "completions suffix": Shape(
        "/v1/completions", lambda t: {"model": "m", "prompt": "a", "suffix": t}
    ),
    "embeddings text": Shape("/v1/embeddings", lambda t: {"model": "m", "input": t}),
    "embeddings list": Shape("/v1/embeddings", lambda t: {"model": "m", "input": ["a", t]}),
    "moderations text": Shape("/v1/moderations", lambda t: {"input": t}),
    "moderations parts": Shape(
        "/v1/moderations", lambda t: {"model": "m", "input": [{"type": "text", "text": t}]}
    ),
    "images": Shape("/v1/images/generations", lambda t: {"model": "m", "prompt": t}),
    "image edits": Shape("/v1/images/edits", lambda t: form(model="m", prompt=t), (FORM,)),
    "speech": Shape("/v1/audio/speech", lambda t: {"model": "m", "input": t, "voice": "v"}),
    "speech instructions": Shape(
        "/v1/audio/speech", lambda t: {"model": "m", "input": "a", "voice": "v", "instructions": t}
    ),
    "transcriptions": Shape(
        "/v1/audio/transcriptions", lambda t: form(model="m", prompt=t), (FORM,)
    ),
    "translations": Shape("/v1/audio/translations", lambda t: form(model="m", prompt=t), (FORM,)),
    "rerank query": Shape("/v1/rerank", lambda t: {"model": "m", "query": t, "documents": ["a"]}),
    "rerank documents": Shape(
        "/v1/rerank", lambda t: {"model": "m", "query": "a", "documents": ["b", {"text": t}]}
    ),
    "open path": Shape("/v1/batches", lambda t: {"model": "m", "anything": [{"deep": t}]}),
    "open path key": Shape("/v1/batches", lambda t: {"anything": {t: 1}}),
    "open form": Shape("/v1/files", lambda t: form(purpose=t), (FORM,)),
}


# What comes back


@dataclass(frozen=True)
class AnswerShape:
    """A request, and a provider that answers it with a text in one shape."""

    path: str
    request: dict[str, Any] | bytes
    step: Callable[[str], Step]
    headers: tuple[tuple[str, str], ...] = ()
    provider: str = "openai"
    ends: str = ""  # what the last data of a whole stream holds, "" for a whole answer


def pieces(text: str, size: int = 3) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def _message(**message: Any) -> dict[str, Any]:
    document = completion()
    document["choices"][0]["message"] = {"role": "assistant", "content": None, **message}
    return document


def _chat_stream(text: str) -> Step:
    return streams(*[chunk(p) for p in pieces(text)], chunk(None, "stop"), DONE)


def _delta(**delta: Any) -> bytes:
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def _chat_call_stream(text: str) -> Step:
    first = {"index": 0, "id": "call_1", "type": "function"}
    calls = [{**first, "function": {"name": "f", "arguments": ""}}]
    arguments = json.dumps({"to": text})
    calls += [{"index": 0, "function": {"arguments": p}} for p in pieces(arguments)]
    return streams(*[_delta(tool_calls=[c]) for c in calls], chunk(None, "tool_calls"), DONE)


def _completion_stream(text: str) -> Step:
    events = [event({"choices": [{"index": 0, "text": p}]}) for p in pieces(text)]
    return streams(*events, event({"choices": [{"text": "", "finish_reason": "stop"}]}), DONE)


def named(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + event({"type": kind, **fields})


def _claude_answer(*content: dict[str, Any]) -> Step:
    usage = {"input_tokens": 7, "output_tokens": 3}
    return answers(
        {"id": "msg_1", "type": "message", "role": "assistant", "content": content, "usage": usage}
    )


def claude_events(start: dict[str, Any], deltas: list[dict[str, Any]]) -> list[bytes]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    message["usage"] = {"input_tokens": 7, "output_tokens": 1}
    return [
        named("message_start", message=message),
        named("content_block_start", index=0, content_block=start),
        named("ping"),
        *[named("content_block_delta", index=0, delta=d) for d in deltas],
        named("content_block_stop", index=0),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}),
        named("message_stop"),
    ]


def _claude_stream(text: str) -> Step:
    deltas = [{"type": "text_delta", "text": p} for p in pieces(text)]
    return streams(*claude_events({"type": "text", "text": ""}, deltas))


def _claude_thinking_stream(text: str) -> Step:
    deltas = [{"type": "thinking_delta", "thinking": p} for p in pieces(text)]
    return streams(*claude_events({"type": "thinking", "thinking": ""}, deltas))


def _claude_call_stream(text: str) -> Step:
    arguments = json.dumps({"to": text})
    deltas = [{"type": "input_json_delta", "partial_json": p} for p in pieces(arguments)]
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    return streams(*claude_events(start, deltas))


def response_document(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    return {"id": "resp_1", "object": "response", "output": [item], "usage": usage, **more}


def response_events(text: str, **more: Any) -> list[bytes]:
    whole = response_document(text, **more)
    item, part = whole["output"][0], whole["output"][0]["content"][0]
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": {**whole, "output": [], "usage": None}}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        *[("response.output_text.delta", {**place, "delta": p}) for p in pieces(text)],
        ("response.output_text.done", {**place, "text": text}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": whole}),
    ]
    return [named(kind, sequence_number=i, **fields) for i, (kind, fields) in enumerate(kinds)]


def _response_stream(text: str) -> Step:
    return streams(*response_events(text))


def _response_call(text: str) -> Step:
    item = {"type": "function_call", "call_id": "c", "name": "f"}
    item["arguments"] = json.dumps({"to": text})
    return answers({"id": "resp_1", "object": "response", "output": [item]})


def _plain(text: str, kind: bytes = b"text/plain") -> Step:
    async def step(_request: Request, reply: Reply) -> None:
        await reply.send(200, [(b"content-type", kind)], text.encode())

    return step


def _transcript_stream(text: str) -> Step:
    deltas = [event({"type": "transcript.text.delta", "delta": p}) for p in pieces(text)]
    return streams(*deltas, event({"type": "transcript.text.done", "text": text}))


_HI = user("Hi")
_STREAM = user("Hi", stream=True)
_ASK = claude("Hi")
_ASK_STREAM = claude("Hi", stream=True)
_RESPOND = response("Hi")
_RESPOND_STREAM = response("Hi", stream=True)
_CHAT_PATH, _RESPONSES_PATH, _MESSAGES_PATH = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
)


def _anthropic(
    step: Callable[[str], Step], request: dict[str, Any] = _ASK, ends: str = ""
) -> AnswerShape:
    return AnswerShape(_MESSAGES_PATH, request, step, provider="anthropic", ends=ends)


OUTPUTS: dict[str, AnswerShape] = {
    "chat text": AnswerShape(_CHAT_PATH, _HI, lambda t: answers(completion(t))),
    "chat parts": AnswerShape(
        _CHAT_PATH, _HI, lambda t: answers(_message(content=[{"type": "text", "text": t}]))
    ),
    "chat tool call": AnswerShape(
        _CHAT_PATH, _HI, lambda t: answers(_message(tool_calls=[_call(t)]))
    ),
    "chat refusal": AnswerShape(_CHAT_PATH, _HI, lambda t: answers(_message(refusal=t))),
    "chat reasoning": AnswerShape(
        _CHAT_PATH, _HI, lambda t: answers(_message(reasoning_content=t))
    ),
    "chat stream": AnswerShape(_CHAT_PATH, _STREAM, _chat_stream, ends="[DONE]"),
    "chat tool call stream": AnswerShape(_CHAT_PATH, _STREAM, _chat_call_stream, ends="[DONE]"),
    "chat reasoning stream": AnswerShape(
        _CHAT_PATH,
        _STREAM,
        lambda t: streams(*[_delta(reasoning_content=p) for p in pieces(t)], DONE),
        ends="[DONE]",
    ),
    "completions text": AnswerShape(
        "/v1/completions",
        {"model": "m", "prompt": "a"},
        lambda t: answers({"choices": [{"text": t}]}),
    ),
    "completions stream": AnswerShape(
        "/v1/completions",
        {"model": "m", "prompt": "a", "stream": True},
        _completion_stream,
        ends="[DONE]",
    ),
    "messages text": _anthropic(lambda t: _claude_answer({"type": "text", "text": t})),
    "messages tool call": _anthropic(
        lambda t: _claude_answer({"type": "tool_use", "id": "t", "name": "f", "input": {"to": t}})
    ),
    "messages stream": _anthropic(_claude_stream, _ASK_STREAM, "message_stop"),
    "messages thinking stream": _anthropic(_claude_thinking_stream, _ASK_STREAM, "message_stop"),
    "messages tool call stream": _anthropic(_claude_call_stream, _ASK_STREAM, "message_stop"),
    "responses text": AnswerShape(
        _RESPONSES_PATH, _RESPOND, lambda t: answers(response_document(t))
    ),
    "responses tool call": AnswerShape(_RESPONSES_PATH, _RESPOND, _response_call),
    "responses stream": AnswerShape(
        _RESPONSES_PATH, _RESPOND_STREAM, _response_stream, ends="response.completed"
    ),
    "moderations": AnswerShape(
        "/v1/moderations", {"input": "a"}, lambda t: answers({"results": [{"note": t}]})
    ),
    "embeddings": AnswerShape(
        "/v1/embeddings", {"model": "m", "input": "a"}, lambda t: answers({"note": t})
    ),
    "images": AnswerShape(
        "/v1/images/generations",
        {"model": "m", "prompt": "a"},
        lambda t: answers({"data": [{"b64_json": "iVBORw0KGgo=", "revised_prompt": t}]}),
    ),
    "rerank": AnswerShape(
        "/v1/rerank",
        {"model": "m", "query": "a", "documents": ["b"]},
        lambda t: answers({"results": [{"index": 0, "document": {"text": t}}]}),
    ),
    "transcription": AnswerShape(
        "/v1/audio/transcriptions", form(model="m"), lambda t: answers({"text": t}), (FORM,)
    ),
    "transcription text": AnswerShape(
        "/v1/audio/transcriptions", form(model="m"), lambda t: _plain(t), (FORM,)
    ),
    "transcription stream": AnswerShape(
        "/v1/audio/transcriptions",
        form(model="m", stream="true"),
        _transcript_stream,
        (FORM,),
        ends="transcript.text.done",
    ),
    "open path": AnswerShape("/v1/batches", {"a": 1}, lambda t: answers({"deep": [{"er": t}]})),
    "open path text": AnswerShape(
        "/v1/batches", {"a": 1}, lambda t: _plain(t, b"application/octet-stream")
    ),
    "an error": AnswerShape(
        _CHAT_PATH, _HI, lambda t: answers({"error": {"message": f"not {t}"}}, 400)
    ),
}
