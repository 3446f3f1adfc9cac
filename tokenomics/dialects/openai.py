"""OpenAI's dialect but for Responses: chat, completions, embeddings, moderations, images, audio,
and rerank, which others have added in its style.

https://platform.openai.com/docs/api-reference/chat, .../completions, .../embeddings,
.../moderations, .../images, .../audio; rerank: https://docs.cohere.com/reference/rerank,
https://docs.together.ai/reference/rerank-1.
"""

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
    Turns,
    check_content,
    check_messages,
    document_texts,
    since_assistant,
    whole_number,
    wrong,
)
from tokenomics.dialects.texts import MAX_TEXTS, Text, Words, walk
from tokenomics.errors import Refusal

_ROLES = frozenset("system developer user assistant tool function".split())
_SKIP = frozenset("role type id tool_call_id url data file_data file_id format detail".split())
# The API's own keys, and those of JSON schema: they say nothing themselves.
KNOWN = _SKIP | frozenset(
    "messages content text refusal name tool_calls function arguments function_call image_url"
    " input_audio file filename audio annotations reasoning_content tools functions tool_choice"
    " description parameters strict properties required items enum additionalProperties anyOf allOf"
    " oneOf not default title const pattern minimum maximum minItems maxItems minLength maxLength"
    " $ref $defs definitions response_format json_schema schema prediction stop prompt suffix input"
    " web_search_options instructions query documents instruction reasoning_details cache_control"
    " ttl images mask".split()
)
_READ = KNOWN - {"documents"}  # what is to be searched is the client's own JSON
_MESSAGES = Words(KNOWN, _SKIP - {"data"})
# Tool definitions and schemas are shown as they are: no string or number in them is skipped.
SCHEMAS = Words(KNOWN, frozenset(), numbers=True)
# Top-level keys that no model reads: who asks, how it is billed, sampled and delivered.
_HIDDEN = frozenset("model stream n user store metadata service_tier safety_identifier".split())
_SAMPLING = _HIDDEN | frozenset(
    "stream_options best_of temperature top_p top_k min_p seed prompt_cache_key"
    " prompt_cache_retention prompt_cache_options logit_bias logprobs top_logprobs max_tokens"
    " max_completion_tokens frequency_penalty presence_penalty repetition_penalty modalities"
    " reasoning_effort verbosity parallel_tool_calls echo".split()
)
_EMBEDDING = _HIDDEN | frozenset("encoding_format dimensions".split())
_IMAGES = _HIDDEN | frozenset(
    "background moderation output_compression output_format partial_images quality response_format"
    " size style input_fidelity".split()
)
_SPEECH = _HIDDEN | frozenset("voice response_format speed stream_format".split())
_HEARING = _HIDDEN | frozenset(
    "response_format temperature language timestamp_granularities[] include[]"
    " chunking_strategy".split()
)
_RERANK = _HIDDEN | frozenset(
    "top_n return_documents max_tokens_per_doc max_chunks_per_doc".split()
)


# Chat


def _check_chat(endpoint: Endpoint, document: Document) -> None:
    check_messages(document.get(endpoint.required), endpoint.required)


def _chat_texts(endpoint: Endpoint, document: Document) -> list[Text]:
    """A role that is none of the API's is text too."""

    def below(key: str, value: Any) -> list[Text]:
        if key == "messages":
            return message_texts(value, _MESSAGES, _ROLES)
        schema = key in ("tools", "functions", "response_format")
        return walk(value, (key,), SCHEMAS if schema else _MESSAGES)

    return document_texts(endpoint, document, _READ, below)


def message_texts(
    messages: list[dict[str, Any]], words: Words, roles: frozenset[str]
) -> list[Text]:
    """The texts of chat messages; no more than asked for if there are too many."""
    out: list[Text] = []
    for i, message in enumerate(messages):
        content = message.get("content")
        if len(message) == 2 and isinstance(content, str):  # most are that: no walk is needed
            out.append(Text(("messages", i, "content"), content))
        else:
            out += walk(message, ("messages", i), words)
        if len(out) > MAX_TEXTS:
            break
        if message["role"] not in roles:
            out.append(Text(("messages", i, "role"), message["role"]))
    return out


def _chat_choices(_endpoint: Endpoint, document: Document) -> int:
    return whole_number(document, "n", 1, 128) or 1


def _prompted_chat(ask: Ask, document: Document, prompts: Prompts) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in prompts]
    return {"messages": messages + document["messages"]}


def message_turns(document: Document) -> Turns:
    """Where the conversation of chat messages goes on."""
    roles = [message["role"] for message in document["messages"]]
    return Turns("messages", roles, since_assistant(roles))


def _chat_images(document: Document) -> int:
    contents = [m.get("content") for m in document.get("messages") or ()]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return sum(1 for part in parts if isinstance(part, dict) and "image_url" in part)


# Completions: `prompt` is text, texts, a token array or token arrays


def _check_input(endpoint: Endpoint, document: Document) -> None:
    value = document.get(endpoint.required)
    if not isinstance(value, str | list) or not value:
        raise wrong("must be text or a list", endpoint.required)


def _completion_choices(_endpoint: Endpoint, document: Document) -> int:
    """How many texts are generated, each up to the output cap."""
    each = whole_number(document, "n", 1, 128) or 1
    each = max(each, whole_number(document, "best_of", 1, 128) or 1)
    prompt = document["prompt"]
    many = isinstance(prompt, list) and not isinstance(prompt[0], int)  # a list of ints is one
    return each * len(prompt) if many else each


def _prompted_completion(ask: Ask, document: Document, prompts: Prompts) -> dict[str, Any]:
    """Raises Refusal where no text can be put in front, or where it would be shown back."""
    if ask.blind:
        raise wrong("this token's policy puts prompts in front: send text", "prompt")
    if ask.document.get("echo"):
        raise wrong("this token's policy puts prompts in front, which are not shown back", "echo")
    value = document["prompt"]
    head = "".join(content + "\n\n" for _, content in prompts)
    return {"prompt": head + value if isinstance(value, str) else [head + text for text in value]}


def _all_texts(endpoint: Endpoint, document: Document) -> list[Text]:
    def below(key: str, value: Any) -> list[Text]:
        return walk(value, (key,), _MESSAGES)

    return document_texts(endpoint, document, _READ, below)


def _has_tokens(endpoint: Endpoint, document: Document) -> bool:
    """Token arrays (`prompt` and `input` may hold them) say nothing to a rule."""
    value = document[endpoint.required]
    return isinstance(value, list) and not all(isinstance(item, str) for item in value)


# One text and its settings


def _check_text(endpoint: Endpoint, document: Document) -> None:
    value = document.get(endpoint.required)
    if not isinstance(value, str) or not value:
        raise wrong("must be text", endpoint.required)


def _check_moderation(endpoint: Endpoint, document: Document) -> None:
    _check_input(endpoint, document)
    check_content(document["input"], "input")


def _check_rerank(endpoint: Endpoint, document: Document) -> None:
    _check_text(endpoint, document)
    value = document.get("documents")
    if not isinstance(value, list) or not value:
        raise wrong("must be a list of texts", "documents")


def _check_file(_endpoint: Endpoint, _document: Document) -> None:
    """The provider knows which files it needs."""


def _open_texts(endpoint: Endpoint, document: Document) -> list[Text]:
    """Whatever else is sent: every string, number and key of it."""
    return document_texts(endpoint, document, frozenset(), lambda _key, _value: [])


def _check_open(_endpoint: Endpoint, _document: Document) -> None:
    """Nobody here knows what it must hold."""


CHAT = Dialect(
    "openai",
    _check_chat,
    _chat_texts,
    choices=_chat_choices,
    prompted=_prompted_chat,
    turns=message_turns,
    images=_chat_images,
)
COMPLETIONS = Dialect(
    "openai",
    _check_input,
    _all_texts,
    choices=_completion_choices,
    prompted=_prompted_completion,
    blind=_has_tokens,
)
EMBEDDINGS = Dialect("openai", _check_input, _all_texts, blind=_has_tokens)
MODERATIONS = Dialect("openai", _check_moderation, _all_texts)
ONE_TEXT = Dialect("events", _check_text, _all_texts)
RERANK = Dialect("openai", _check_rerank, _all_texts)
FILES = Dialect("events", _check_file, _all_texts)
OPEN = Dialect("events", _check_open, _open_texts)

ROWS = (
    Endpoint(
        "chat",
        "/chat/completions",
        CHAT,
        "openai",
        "messages",
        generates=True,
        caps=("max_completion_tokens", "max_tokens"),
        hidden=_SAMPLING,
    ),
    Endpoint(
        "completions",
        "/completions",
        COMPLETIONS,
        "openai",
        "prompt",
        generates=True,
        caps=("max_tokens",),
        hidden=_SAMPLING,
    ),
    Endpoint("embeddings", "/embeddings", EMBEDDINGS, "openai", "input", hidden=_EMBEDDING),
    Endpoint(
        "moderations",
        "/moderations",
        MODERATIONS,
        "openai",
        "input",
        hidden=_HIDDEN,
        free=True,
        default_model="omni-moderation-latest",
    ),
    Endpoint("images", "/images/generations", ONE_TEXT, "openai", "prompt", hidden=_IMAGES),
    Endpoint("images", "/images/edits", FILES, "openai", "prompt", hidden=_IMAGES, form=True),
    Endpoint("images", "/images/variations", FILES, "openai", "image", hidden=_IMAGES, form=True),
    Endpoint(
        "speech", "/audio/speech", ONE_TEXT, "openai", "input", hidden=_SPEECH, any_answer=True
    ),
    Endpoint(
        "audio",
        "/audio/transcriptions",
        FILES,
        "openai",
        "file",
        hidden=_HEARING,
        form=True,
        any_answer=True,
    ),
    Endpoint(
        "audio",
        "/audio/translations",
        FILES,
        "openai",
        "file",
        hidden=_HEARING,
        form=True,
        any_answer=True,
    ),
    Endpoint("rerank", "/rerank", RERANK, "openai", "query", hidden=_RERANK),
)


def error_body(refusal: Refusal) -> bytes:
    """https://platform.openai.com/docs/guides/error-codes"""
    return strictjson.dumps(
        {
            "error": {
                "message": refusal.message,
                "type": refusal.type,
                "param": refusal.param,
                "code": refusal.code,
            }
        }
    )


def model_list(models: Sequence[tuple[str, str]]) -> bytes:
    """https://platform.openai.com/docs/api-reference/models/list, of (model, owner)."""
    return strictjson.dumps({"object": "list", "data": [_model(*m) for m in models]})


def model_object(model: str, owner: str) -> bytes:
    """https://platform.openai.com/docs/api-reference/models/retrieve"""
    return strictjson.dumps(_model(model, owner))


def _model(model: str, owner: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": owner}
