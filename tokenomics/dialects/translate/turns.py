"""Anthropic's messages as chat's: who says what. Part of `messages_request`.

Blocks: https://docs.anthropic.com/en/api/messages, .../build-with-claude/pdf-support. Messages and
parts: https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages

Texts that stand alone are sent as one text, not as parts: servers with a template of their own
know nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.ask import wrong
from tokenomics.dialects.translate.content import check_name

Block = dict[str, Any]
Message = dict[str, Any]
Placed = tuple[Block, str]  # a block and where it stands

MAX_ID = 40  # characters of a call's id: OpenAI says so in its errors
_PARAGRAPH = "\n\n"
_PDF = "application/pdf"
# Of earlier turns. Only Anthropic can read them, and some providers refuse a message that has
# `reasoning_content`.
_THOUGHTS = ("thinking", "redacted_thinking")


def converse(system: Any, messages: list[Message]) -> list[Message]:
    """Messages that were checked, translated. Whoever speaks twice in a row speaks once, as
    Anthropic reads it. Raises Refusal with the place of what chat does not have."""
    told = _joined([_text(block, place) for block, place in _blocks(system, "system")])
    out: list[Message] = [{"role": "system", "content": told}] if told else []
    for role, said in _turns(messages):
        if role == "assistant":
            out += _assistant(said)
        elif role == "user":
            out += _user(said)
        else:
            texts = _joined([_text(block, place) for block, place in said])
            out += [{"role": "system", "content": texts}] if texts else []
    if not any(message["role"] != "system" for message in out):
        raise wrong("nobody says anything, and this provider needs a message", "messages")
    return out


def _turns(messages: list[Message]) -> Iterator[tuple[str, list[Placed]]]:
    role, said = "", list[Placed]()
    for i, message in enumerate(messages):
        if message["role"] not in ("user", "assistant", "system"):
            raise wrong("must be user or assistant", f"messages[{i}].role")
        if message["role"] != role and said:
            yield role, said
            said = []
        role = message["role"]
        said += _blocks(message.get("content"), f"messages[{i}].content")
    if said:
        yield role, said


def _blocks(content: Any, place: str) -> Iterator[Placed]:
    """The blocks of a content, each with its place; texts of nothing but space are left out."""
    blocks = content if isinstance(content, list) else [] if content is None else [content]
    for j, block in enumerate(blocks):
        block = {"type": "text", "text": block} if isinstance(block, str) else block
        where = f"{place}[{j}]" if blocks is content else place
        if not isinstance(block, dict):
            raise wrong("must be an object", where)
        text = block.get("text")
        if not isinstance(text, str | None):
            raise wrong("must be text", f"{where}.text")
        if block.get("type") != "text" or (text or "").strip():
            yield block, where


def _text(block: Block, place: str) -> str:
    if block.get("type") != "text":
        raise wrong("must be text", f"{place}.type")
    return str(block["text"])


def _joined(texts: list[str]) -> str:
    return _PARAGRAPH.join([text for text in texts if text.strip()])


def _content(parts: list[Block]) -> Any:
    """Parts, or one text where they are nothing but texts."""
    if all(part["type"] == "text" for part in parts):
        return _joined([part["text"] for part in parts])
    return parts


# The user, and what tools answered


def _user(said: list[Placed]) -> list[Message]:
    """The results of calls, which must follow them, and then the rest. Pictures and documents in a
    result come after all results, for chat's have only text."""
    results: list[Message] = []
    parts: list[Block] = []
    for block, place in said:
        if block.get("type") == "tool_result":
            text, shown = _result(block, place)
            results.append({"role": "tool", "tool_call_id": _id(block, place, "tool_use_id")})
            results[-1]["content"] = text
            parts += shown
    parts += [_shown(block, place) for block, place in said if block.get("type") != "tool_result"]
    return [*results, {"role": "user", "content": _content(parts)}] if parts else results


def _result(block: Block, place: str) -> tuple[str, list[Block]]:
    """What a tool answered: its text, and what else it shows. That it failed can only be said."""
    found = [_shown(inner, at) for inner, at in _blocks(block.get("content"), f"{place}.content")]
    text = _joined([part["text"] for part in found if part["type"] == "text"])
    if block.get("is_error") is True:
        text = f"Error: {text}" if text else "Error"
    shown = [part for part in found if part["type"] != "text"]
    if not shown:
        return text, []
    note = "What this tool call shows stands in the next message of the user."
    about = {"type": "text", "text": f"From tool call {_id(block, place, 'tool_use_id')}:"}
    return _joined([text, note]), [about, *shown]


def _shown(block: Block, place: str) -> Block:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": block["text"]}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": _image(block.get("source"), place)}}
    if kind == "document":
        return _document(block, place)
    raise wrong("must be text, image or document at this provider", f"{place}.type")


def _image(source: Any, place: str) -> str:
    source = source if isinstance(source, dict) else {}
    kind, data, url = source.get("media_type"), source.get("data"), source.get("url")
    if source.get("type") == "url" and isinstance(url, str):
        return url
    if source.get("type") == "base64" and isinstance(kind, str) and isinstance(data, str):
        return f"data:{kind};base64,{data}"
    raise wrong("must be base64 or a url at this provider", f"{place}.source")


def _document(block: Block, place: str) -> Block:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    title, context, data = block.get("title"), block.get("context"), source.get("data")
    kind = source.get("media_type", _PDF)
    if source.get("type") == "base64" and isinstance(data, str) and kind == _PDF:
        name = title if isinstance(title, str) and title else "document.pdf"
        file = {"filename": name, "file_data": f"data:{_PDF};base64,{data}"}
        return {"type": "file", "file": file}
    where = f"{place}.source"
    if source.get("type") == "content":
        data = _joined(
            [_text(*inner) for inner in _blocks(source.get("content"), f"{where}.content")]
        )
    elif source.get("type") != "text":
        raise wrong("must be a PDF in base64, text or content at this provider", where)
    texts = [text for text in (title, context, data) if isinstance(text, str)]
    return {"type": "text", "text": _joined(texts)}


# The assistant


def _assistant(said: list[Placed]) -> list[Message]:
    texts: list[str] = []
    calls: list[Block] = []
    for block, place in said:
        kind = block.get("type")
        if kind == "tool_use":
            calls.append(_call(block, place))
        elif kind == "text":
            texts.append(block["text"])
        elif kind not in _THOUGHTS:
            raise wrong("must be text or tool_use at this provider", f"{place}.type")
    if not texts and not calls:
        return []
    # A sentence with a citation in it comes in several texts.
    out: Message = {"role": "assistant", "content": "".join(texts) or None}
    return [{**out, "tool_calls": calls} if calls else out]


def _call(block: Block, place: str) -> Block:
    given = block.get("input")
    if not isinstance(given, dict):
        raise wrong("must be an object", f"{place}.input")
    function = {
        "name": check_name(block.get("name"), f"{place}.name"),
        "arguments": strictjson.dumps(given).decode(),
    }
    return {"id": _id(block, place, "id"), "type": "function", "function": function}


def _id(block: Block, place: str, key: str) -> str:
    """A call's id. What stands for a long one is the same in the call and in its result, and never
    goes back."""
    value = block.get(key)
    if not isinstance(value, str) or not value:
        raise wrong("must be the id of a call", f"{place}.{key}")
    if len(value) <= MAX_ID:
        return value
    return "call_" + hashlib.sha256(value.encode()).hexdigest()[:32]
