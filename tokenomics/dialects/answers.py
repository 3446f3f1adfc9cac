"""Whole answers of every dialect: usage, texts, and whether they are whole."""

from __future__ import annotations

import json
import re
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.names import ANSWER_KEYS, COUNTED, FREE
from tokenomics.dialects.texts import OWN_JSON, Text, Words, replaced, walk
from tokenomics.dialects.usage import Usage, read_usage

_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_NEAR = 256  # bytes at either end of a body within which its brace is looked for first


def strings_at(keys: str) -> re.Pattern[bytes]:
    """Finds the strings at some keys in JSON, as they are written: what was generated, for an
    answer that ends before its usage comes. Only their length is used."""
    return re.compile(rb'"(?:%b)"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"' % keys.encode())


_GENERATED = strings_at("content|reasoning_content|reasoning|refusal|arguments|text|thinking")
_decoder = json.JSONDecoder()
# Strings of an answer that are no text: what links, names and times things.
_SKIP = frozenset(
    "id object type role model status finish_reason stop_reason native_finish_reason url image_url"
    " file_url phase call_id item_id tool_use_id tool_call_id response_id previous_response_id"
    " file_id container_id system_fingerprint service_tier provider media_type format".split()
)
_COUNTED = Words(frozenset(), _SKIP, keys=False)
WORDS = Words(
    ANSWER_KEYS, _SKIP, below=dict.fromkeys(FREE, OWN_JSON) | dict.fromkeys(COUNTED, _COUNTED)
)
# Sound in pieces: the key of its base64, by the type of the event. Chat's has no type.
_SOUND = {
    "speech.audio.delta": ("audio",),
    "response.audio.delta": ("delta",),
    "response.output_audio.delta": ("delta",),
}
_CHAT_SOUND = ("audio", "data")
# Top-level keys that repeat the request or count; `instructions` are put right apart.
_NO_TEXT = frozenset("usage tools tool_choice metadata instructions x_groq timings".split())


def usage_of(body: bytes) -> Usage | None:
    """The usage of a whole answer, parsing nothing else of it. It stands near the end."""
    end = len(body)
    while (start := body.rfind(b'"usage"', 0, end)) >= 0:
        match = _USAGE.match(body, start) if body[start - 1 : start] != b"\\" else None
        usage = _usage_at(body, match.end()) if match else None
        if usage is not None:
            return usage
        end = start
    return None


def _usage_at(body: bytes, start: int) -> Usage | None:
    try:
        value, _ = _decoder.raw_decode(str(body[start:], "utf-8"))
    except (ValueError, RecursionError):
        return None
    return read_usage(value)


def text_of(body: bytes) -> str:
    """What the assistant says in a whole answer, for memory."""
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON:
        return ""
    if not isinstance(document, dict):
        return ""
    if isinstance(document.get("output"), list):  # a response
        return "".join(_block_texts(item.get("content")) for item in _objects(document["output"]))
    if isinstance(document.get("content"), list):  # a message
        return _block_texts(document["content"])
    return "".join(choice_texts(document, "message"))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _block_texts(blocks: Any) -> str:
    texts = [block.get("text") for block in _objects(blocks)]
    return "".join(text for text in texts if isinstance(text, str))


def choice_texts(document: Any, part: str) -> list[str]:
    """The texts of the first choice: `part` is "message" or "delta"."""
    choices = document.get("choices") if isinstance(document, dict) else None
    out = []
    for choice in _objects(choices):
        if choice.get("index", 0) == 0:
            inner = choice.get(part)
            text = inner.get("content") if isinstance(inner, dict) else choice.get("text")
            out += [text] if isinstance(text, str) else []
    return out


def generated_in(body: bytes) -> int:
    """Output tokens of all choices and tool calls in an answer or a part of one, estimated."""
    return -(-sum(len(text) for text in _GENERATED.findall(body)) // 3)


def looks_whole(body: bytes) -> bool:
    """Whether a 200 body is a JSON object: what most endpoints answer with."""
    start = body[:_NEAR].lstrip() or body.lstrip()
    end = body[-_NEAR:].rstrip() or body.rstrip()
    return start[:1] == b"{" and end[-1:] == b"}"


def answer_texts(document: Any, *, known: bool = True) -> list[Text]:
    """Every text of an answer, or of a stream's event, that goes to the client. Of an answer that
    is in no `known` dialect that is all of it."""
    if not known:
        return walk(document, (), OWN_JSON)
    if not isinstance(document, dict):
        return walk(document, (), WORDS)
    inner = document.get("response")  # a stream's event around the whole
    around = isinstance(inner, dict)
    kept = {
        key: value
        for key, value in document.items()
        if key not in _NO_TEXT and not (around and key == "response")
    }
    texts = walk(kept, (), WORDS)
    if around:
        texts += [Text(("response", *text.path), text.value) for text in answer_texts(inner)]
    sound = _SOUND.get(str(document.get("type")), _CHAT_SOUND)
    return [text for text in texts if text.path[-len(sound) :] != sound]


def without_logprobs(document: Any) -> Any:
    """A document without the tokens beside its texts: they would show what was masked."""
    if isinstance(document, list):
        return [without_logprobs(item) for item in document]
    if not isinstance(document, dict):
        return document
    kept = {key: without_logprobs(value) for key, value in document.items() if key != "logprobs"}
    if "logprobs" in document:
        kept["logprobs"] = [] if isinstance(document["logprobs"], list) else None
    return kept


def with_instructions(document: Any, own: str | None) -> Any:
    """A response, or an event around one, with the client's own instructions instead of those that
    its policy put there: Responses shows them back."""
    if not isinstance(document, dict):
        return document
    if isinstance(document.get("response"), dict):
        return {**document, "response": with_instructions(document["response"], own)}
    if "instructions" in document:
        return replaced(document, {("instructions",): own})
    return document
