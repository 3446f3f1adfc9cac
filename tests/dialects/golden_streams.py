"""Golden streams of each dialect, in pieces of a given size, and what each of their texts says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.sse import event, events, named_event

Document = dict[str, Any]
TEXT = "Write to alice@example.com, who keeps the secret; not to alice@exam, nor secre"
ARGUMENTS = json.dumps({"to": "alice@example.com", "card": 4111111111111111, "n": [1, "secre"]})


def documents(stream: bytes) -> list[Document]:
    found = [json.loads(data) for _, data in events(stream) if data.startswith(b"{")]
    assert all(isinstance(document, dict) for document in found)
    return found


def pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


# OpenAI's chat and completions


def chat_event(delta: Document | None, index: int = 0, **fields: Any) -> Document:
    choice: Document = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    choice |= {key: fields.pop(key) for key in ("finish_reason", "logprobs") if key in fields}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice] if delta is not None else [],
        **fields,
    }


def call(index: int, arguments: str, **fields: Any) -> Document:
    inner = {"arguments": arguments, **({"name": fields.pop("name")} if "name" in fields else {})}
    return {"tool_calls": [{"index": index, **fields, "function": inner}]}


def chat_events(size: int, finish: Any = None) -> Iterator[Document]:
    """Three choices side by side: text with thinking, parallel calls, a refusal."""
    yield chat_event({"role": "assistant", "content": ""}, finish_reason=finish)
    for piece in pieces(TEXT, size):
        yield chat_event({"reasoning_content": piece}, finish_reason=finish)
        yield chat_event({"reasoning": piece}, finish_reason=finish)
        detail = {"type": "reasoning.text", "index": 0, "text": piece}
        yield chat_event({"reasoning_details": [detail]}, finish_reason=finish)
    for i in range(2):
        name = {"name": f"f{i}", "id": f"call_{i}", "type": "function"}
        yield chat_event({"role": "assistant", **call(i, "", **name)}, 1, finish_reason=finish)
    for piece in pieces(TEXT, size):
        logprobs = {"content": [{"token": piece, "top_logprobs": [{"token": piece}]}]}
        yield chat_event({"content": piece}, logprobs=logprobs, finish_reason=finish)
        yield chat_event({"refusal": piece}, 2, finish_reason=finish)
    for piece in pieces(ARGUMENTS, size):
        yield chat_event(call(0, piece), 1, finish_reason=finish)
        yield chat_event(call(1, piece), 1, finish_reason=finish)
    for index, reason in enumerate(("stop", "tool_calls", "stop")):
        yield chat_event({}, index, finish_reason=reason)
    yield chat_event(None, usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})


def chat_stream(size: int = 3, finish: Any = None) -> bytes:
    body = b"".join(event(strictjson.dumps(d)) for d in chat_events(size, finish))
    return body + b": a comment\n\n" + b"data: [DONE]\n\n"


def chat_channels(found: list[Document]) -> dict[Any, str]:
    out: dict[Any, str] = {}
    for document in found:
        for choice in document.get("choices", []):
            delta, index = choice.get("delta") or {}, choice["index"]
            for key, value in delta.items():
                if key in ("content", "refusal", "reasoning", "reasoning_content"):
                    out[index, key] = out.get((index, key), "") + value
            for detail in delta.get("reasoning_details", []):
                out[index, "detail"] = out.get((index, "detail"), "") + detail["text"]
            for tool in delta.get("tool_calls", []):
                key = (index, "call", tool["index"])
                out[key] = out.get(key, "") + tool["function"].get("arguments", "")
    return out


# Anthropic's messages


def message_events(size: int) -> Iterator[Document]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    yield {"type": "message_start", "message": {**head, "usage": {"input_tokens": 1}}}
    yield {"type": "ping"}
    blocks: list[tuple[Document, str, str, str]] = [
        ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking", TEXT),
        ({"type": "text", "text": ""}, "text_delta", "text", TEXT),
        (
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            "input_json_delta",
            "partial_json",
            ARGUMENTS,
        ),
        ({"type": "text", "text": "the se"}, "text_delta", "text", "cret"),
    ]
    for index, (block, kind, key, text) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for piece in pieces(text, size):
            yield {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": kind, key: piece},
            }
            yield {"type": "ping"}
        if key == "thinking":
            delta = {"type": "signature_delta", "signature": "secret"}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        citation = {"type": "citations_delta", "citation": {"cited_text": "secret"}}
        if key == "text":
            yield {"type": "content_block_delta", "index": index, "delta": citation}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 9},
    }
    yield {"type": "message_stop"}


def message_stream(size: int = 3) -> bytes:
    return b"".join(named_event(d["type"], strictjson.dumps(d)) for d in message_events(size))


def message_channels(found: list[Document]) -> dict[Any, str]:
    out: dict[Any, str] = {}
    for document in found:
        block = document.get("content_block") or document.get("delta") or {}
        for key in ("text", "thinking", "partial_json"):
            if key in block and "index" in document:
                channel = (document["index"], key)
                out[channel] = out.get(channel, "") + block[key]
    return out


# Responses


def response_events(size: int) -> Iterator[Document]:
    for number, document in enumerate(_response_events(size)):
        yield {**document, "sequence_number": number}


def _response_events(size: int) -> Iterator[Document]:
    head: Document = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m"}
    head |= {"instructions": "of the policy", "parallel_tool_calls": True, "tool_choice": "auto"}
    head |= {"tools": [], "output": []}
    yield {"type": "response.created", "response": {**head, "status": "in_progress"}}
    place: Document = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    for piece in pieces(TEXT, size):
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": TEXT}
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    other: Document = {"item_id": "fc_1", "output_index": 2}
    message: Document = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "in_progress",
    }
    yield {
        "type": "response.output_item.added",
        "output_index": 1,
        "item": {**message, "content": []},
    }
    part: Document = {"type": "output_text", "annotations": [], "text": ""}
    yield {"type": "response.content_part.added", **place, "part": part}
    item: Document = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f"}
    item |= {"arguments": "", "status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": 2, "item": item}
    both = itertools.zip_longest(pieces(TEXT, size), pieces(ARGUMENTS, size))
    for text, arguments in both:  # side by side
        if text is not None:
            logprobs = [{"token": text, "logprob": -1, "top_logprobs": []}]
            delta = {"delta": text, "logprobs": logprobs, "obfuscation": "secret"}
            yield {"type": "response.output_text.delta", **place, **delta}
        if arguments is not None:
            yield {"type": "response.function_call_arguments.delta", **other, "delta": arguments}
    yield {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []}
    yield {
        "type": "response.function_call_arguments.done",
        **other,
        "name": "f",
        "arguments": ARGUMENTS,
    }
    part = {**part, "text": TEXT}
    yield {"type": "response.content_part.done", **place, "part": part}
    message = {**message, "status": "completed", "content": [part]}
    yield {"type": "response.output_item.done", "output_index": 1, "item": message}
    item = {**item, "status": "completed", "arguments": ARGUMENTS}
    yield {"type": "response.output_item.done", "output_index": 2, "item": item}
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    usage |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    whole = {**head, "status": "completed", "output": [message, item], "usage": usage}
    yield {"type": "response.completed", "response": whole}


def response_stream(size: int = 3) -> bytes:
    return b"".join(named_event(d["type"], strictjson.dumps(d)) for d in response_events(size))


def response_channels(found: list[Document]) -> dict[Any, str]:
    out: dict[Any, str] = {}
    for document in found:
        if document["type"].endswith(".delta"):
            key = (document["type"], document["item_id"])
            out[key] = out.get(key, "") + document["delta"]
    return out


# Transcripts


def transcript_stream(size: int = 3) -> bytes:
    deltas = [{"type": "transcript.text.delta", "delta": piece} for piece in pieces(TEXT, size)]
    done = {"type": "transcript.text.done", "text": TEXT, "logprobs": [{"token": "secret"}]}
    return b"".join(event(strictjson.dumps(d)) for d in [*deltas, done])


def transcript_channels(found: list[Document]) -> dict[Any, str]:
    return {"text": "".join(document.get("delta", "") for document in found)}


STREAMS: dict[str, tuple[Callable[[int], bytes], Callable[[list[Document]], dict[Any, str]]]] = {
    "openai": (chat_stream, chat_channels),
    "anthropic": (message_stream, message_channels),
    "responses": (response_stream, response_channels),
    "events": (transcript_stream, transcript_channels),
}
