"""Chat messages as Anthropic's: who says what, in which blocks. Part of `chat_to_messages`.

Messages: https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages,
https://docs.anthropic.com/en/api/messages. Pictures and documents:
https://docs.anthropic.com/en/docs/build-with-claude/vision, .../pdf-support. Tools:
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tokenomics import strictjson
from tokenomics.dialects.ask import wrong
from tokenomics.dialects.dataurls import opened

Block = dict[str, Any]

# What a tool's name and a call's id may be made of; the API says so in its errors.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_DATA_URL = re.compile(r"\s*data:([^;,]*)(?:;[^;,]*)*?;base64,(.*)", re.DOTALL | re.IGNORECASE)
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF = "application/pdf"


class Conversation(NamedTuple):
    """What instructs, and what was said, by turns."""

    system: list[Block]
    messages: list[dict[str, Any]]


def converse(messages: list[dict[str, Any]]) -> Conversation:
    """Messages that were checked, translated. What instructs stands in front, wherever it stood;
    whoever speaks twice in a row speaks once. Raises Refusal with the place of what Anthropic does
    not have."""
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        place, role = f"messages[{i}]", message["role"]
        if role in ("system", "developer"):
            system += _cached(_texts(message.get("content"), f"{place}.content"), message)
        elif role == "user":
            _speak(turns, role, _cached(_user(message, place), message))
        elif role == "assistant":
            _speak(turns, role, _cached(_assistant(message, place), message))
        elif role == "tool":
            _speak(turns, "user", [_result(message, place)])
        else:
            raise wrong("must be system, developer, user, assistant or tool", f"{place}.role")
    if not turns:
        raise wrong("nobody says anything, and this provider needs a message", "messages")
    return Conversation(system, turns)


def check_name(name: Any, place: str) -> str:
    """A tool's name. Raises Refusal: a changed one would have to be changed back in the answer, in
    texts too."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong("must be 1 to 128 letters, digits, _ or - at this provider", place)
    return name


def mark_cached(block: Block, source: dict[str, Any]) -> Block:
    """The block with its source's `cache_control`, if it has one: an extension that OpenRouter and
    others have, too (https://openrouter.ai/docs/features/prompt-caching)."""
    if isinstance(source.get("cache_control"), dict):
        block["cache_control"] = source["cache_control"]
    return block


def _speak(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _cached(blocks: list[Block], message: dict[str, Any]) -> list[Block]:
    """What a message says of its cache holds for all of it: up to its last block."""
    if blocks:
        mark_cached(blocks[-1], message)
    return blocks


# Parts


def _parts(content: Any, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The parts of a content, each with its place; texts of nothing but space are left out, which
    Anthropic refuses."""
    if content is None:
        return
    parts = content if isinstance(content, list) else [content]
    for j, part in enumerate(parts):
        part = {"type": "text", "text": part} if isinstance(part, str) else part
        if part.get("type") != "text" or (part.get("text") or "").strip():
            yield part, f"{place}[{j}]" if parts is content else place


def _texts(content: Any, place: str) -> list[Block]:
    out = []
    for part, where in _parts(content, place):
        if part.get("type") != "text":
            raise wrong("must be a text part at this provider", f"{where}.type")
        out.append(mark_cached({"type": "text", "text": part["text"]}, part))
    return out


def _user(message: dict[str, Any], place: str) -> list[Block]:
    parts = _parts(message.get("content"), f"{place}.content")
    return [mark_cached(_shown(part, where), part) for part, where in parts]


def _shown(part: dict[str, Any], place: str) -> Block:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        return {"type": "image", "source": _image(part.get("image_url"), place)}
    if kind == "file":
        return _document(part.get("file"), f"{place}.file")
    raise wrong("must be text, image_url or file at this provider", f"{place}.type")


def _image(value: Any, place: str) -> Block:
    url = value.get("url") if isinstance(value, dict) else value
    place = f"{place}.image_url"
    if not isinstance(url, str):
        raise wrong("must have a url", place)
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    data = _DATA_URL.fullmatch(url)
    kind = data[1].strip().lower().replace("image/jpg", "image/jpeg") if data else ""
    if data is None or kind not in _IMAGES:
        raise wrong(f"must be an http URL, or base64 of {', '.join(_IMAGES)}", place)
    return {"type": "base64", "media_type": kind, "data": data[2]}


def _document(file: Any, place: str) -> Block:
    """A file that is sent along: a PDF, or a text."""
    value = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(value, str):
        raise wrong("must have file_data: this provider does not have OpenAI's files", place)
    name = file.get("filename")
    title = {"title": name} if isinstance(name, str) and name else {}
    text = opened(value)
    if text is not None:
        source = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "source": source, **title}
    data = _DATA_URL.fullmatch(value)
    kind, base64 = (data[1].strip().lower(), data[2]) if data else (_PDF, value)
    if kind != _PDF or base64.startswith("data:"):
        raise wrong("must be a PDF or text, as a data URL", f"{place}.file_data")
    return {
        "type": "document",
        "source": {"type": "base64", "media_type": _PDF, "data": base64},
        **title,
    }


# The assistant and its tools


def _assistant(message: dict[str, Any], place: str) -> list[Block]:
    """What it thought, said, and called, in this order."""
    for key in ("function_call", "audio"):
        if message.get(key) is not None:
            raise wrong("cannot be translated for this provider", f"{place}.{key}")
    out = _thinking(message)
    for part, where in _parts(message.get("content"), f"{place}.content"):
        kind = part.get("type")
        text = part.get(kind) if kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise wrong("must be text or refusal at this provider", f"{where}.type")
        out.append(mark_cached({"type": "text", "text": text}, part))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        out.append({"type": "text", "text": refusal})
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise wrong("must be a list", f"{place}.tool_calls")
    for j, call in enumerate(calls or ()):
        out.append(_call(call, f"{place}.tool_calls[{j}]"))
    return out


def _call(call: Any, place: str) -> Block:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise wrong("must be a call of a function at this provider", place)
    return {
        "type": "tool_use",
        "id": _id(call.get("id"), f"{place}.id"),
        "name": check_name(function.get("name"), f"{place}.function.name"),
        "input": _input(function.get("arguments"), f"{place}.function.arguments"),
    }


def _input(arguments: Any, place: str) -> dict[str, Any]:
    """The object in a text; of a tool without parameters some models write no text at all."""
    if not isinstance(arguments, str | None):
        raise wrong("must be text", place)
    try:
        value = strictjson.loads(arguments) if arguments and arguments.strip() else {}
    except strictjson.BadJSON as e:
        raise wrong(f"must be a JSON object at this provider: {e}", place) from None
    if not isinstance(value, dict):
        raise wrong("must be a JSON object at this provider", place)
    return value


def _result(message: dict[str, Any], place: str) -> Block:
    block: Block = {
        "type": "tool_result",
        "tool_use_id": _id(message.get("tool_call_id"), f"{place}.tool_call_id"),
    }
    content = message.get("content")
    if isinstance(content, list):
        content = _user(message, place)
    if content:
        block["content"] = content
    if message.get("is_error") is True:  # not OpenAI's, but whoever knows of it means this
        block["is_error"] = True
    return mark_cached(block, message)


def _id(value: Any, place: str) -> str:
    """A call's id. One that another provider made may have other characters in it; what stands for
    it is the same in the call and in its result, and never goes back."""
    if not isinstance(value, str) or not value:
        raise wrong("must be the id of a call", place)
    if _ID.fullmatch(value):
        return value
    return "call_" + hashlib.sha256(value.encode()).hexdigest()[:32]


def _thinking(message: dict[str, Any]) -> list[Block]:
    """What an answer of ours had in `thinking_blocks`: with its signatures, or not at all, for
    Anthropic refuses thinking that was changed. Blocks of a stream have no text of their own, but a
    `length` of the message's `reasoning_content`."""
    out: list[Block] = []
    blocks, rest = message.get("thinking_blocks"), message.get("reasoning_content")
    rest = rest if isinstance(rest, str) else ""
    streamed = False
    for block in blocks if isinstance(blocks, list) else ():
        kind, text = (
            (block.get("type"), block.get("thinking")) if isinstance(block, dict) else (0, 0)
        )
        if kind == "redacted_thinking" and isinstance(block.get("data"), str):
            out.append({"type": kind, "data": block["data"]})
            continue
        if kind != "thinking" or not isinstance(block.get("signature"), str):
            return []
        if text is None and type(length := block.get("length")) is int and length >= 0:
            streamed = True
            text, rest = rest[:length], rest[length:]
            if len(text) != length:
                return []
        if not isinstance(text, str):
            return []
        out.append({"type": kind, "thinking": text, "signature": block["signature"]})
    return [] if streamed and rest else out
