"""OpenAI's dialect: chat completions, completions and embeddings.

https://platform.openai.com/docs/api-reference/chat, .../completions, .../embeddings. An endpoint is
a row of `ENDPOINTS`; a request that was read is an `Ask`, from which the bytes for a provider are
made as often as needed (`rewrite`), never changing the Ask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokenomics import strictjson
from tokenomics.dialects.texts import MAX_TEXTS, Key, Path, Text, Words, replaced, walk
from tokenomics.errors import Refusal

MAX_MODEL_NAME = 256  # characters
SAMPLE = 1024  # characters of a long text by which it is judged
MAX_OUTPUT = 10**9  # a client's output cap beyond this is a mistake
# Top-level keys that no model reads: who asks, how it is billed, sampled and delivered.
_NOT_SHOWN = frozenset(
    "model stream stream_options n best_of temperature top_p seed user store metadata service_tier"
    " safety_identifier prompt_cache_key prompt_cache_retention logit_bias logprobs top_logprobs"
    " max_tokens max_completion_tokens frequency_penalty presence_penalty encoding_format"
    " dimensions modalities reasoning_effort verbosity parallel_tool_calls echo".split()
)
# What some providers take as more models to try (https://openrouter.ai/docs/model-routing): it
# would go past the policy's list.
_ROUTING = frozenset({"models", "fallbacks", "route"})
_ROLES = frozenset("system developer user assistant tool function".split())
_SKIP = frozenset("role type id tool_call_id url data file_data file_id format detail".split())
# The API's own keys, and those of JSON schema: they say nothing themselves.
_KNOWN = _SKIP | frozenset(
    "messages content text refusal name tool_calls function arguments function_call image_url"
    " input_audio file filename audio annotations reasoning_content tools functions tool_choice"
    " description parameters strict properties required items enum additionalProperties anyOf allOf"
    " oneOf not default title const pattern minimum maximum minItems maxItems minLength maxLength"
    " $ref $defs definitions response_format json_schema schema prediction stop prompt suffix input"
    " web_search_options".split()
)
_MESSAGES = Words(_KNOWN, _SKIP)
# Tool definitions and schemas are shown as they are: no string or number in them is skipped.
_SCHEMAS = Words(_KNOWN, frozenset(), numbers=True)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the dialect. `required` is the key of its input; `generates` tells whether output
    tokens are made, `caps` are the keys that bound them."""

    name: str
    path: str
    required: str
    generates: bool
    caps: tuple[str, ...] = ()


_ROWS = (
    Endpoint(
        "chat", "/chat/completions", "messages", True, ("max_completion_tokens", "max_tokens")
    ),
    Endpoint("completions", "/completions", "prompt", True, ("max_tokens",)),
    Endpoint("embeddings", "/embeddings", "input", False),
)
ENDPOINTS: dict[str, Endpoint] = {row.path: row for row in _ROWS}


@dataclass(slots=True, eq=False)
class Ask:
    """A request that was read. `output_cap` is the client's own bound on all output tokens, None
    if it named none; of two keys it is the larger, for a provider may know only one. `blind` says
    that part of the input could not be read as text. Nothing in it changes after `read`."""

    endpoint: Endpoint
    model: str
    stream: bool
    usage_asked: bool
    choices: int
    output_cap: int | None
    blind: bool
    raw: bytes
    document: dict[str, Any]
    _texts: list[Text] | None = None
    _estimate: int | None = None

    @property
    def texts(self) -> list[Text]:
        """Every text that a model is shown, found when first asked for. Raises Refusal if there are
        more than MAX_TEXTS."""
        if self._texts is None:
            self._texts = _texts(self.document)
            if len(self._texts) > MAX_TEXTS:
                raise _wrong(f"more than {MAX_TEXTS} texts in one request", self.endpoint.required)
        return self._texts

    def estimate_input(self) -> int:
        """Input tokens, on the upper side: the texts, and some per message for its frame."""
        if self._estimate is None:
            value = self.document.get(self.endpoint.required)
            frames = 4 * len(value) if isinstance(value, list) else 4
            images = _images(self.document) * 800  # 1024 x 1024 in high detail costs 765
            numbers = len(self.raw) // 3 if self.blind else 0
            texts = sum([estimate(text.value) for text in self.texts])
            self._estimate = texts + frames + images + numbers + 3
        return self._estimate


class Usage(NamedTuple):
    """Tokens as the provider counted them."""

    input: int
    output: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.input + self.output


def _wrong(message: str, param: str) -> Refusal:
    return Refusal("invalid_request", f"{param}: {message}", param=param)


def read(endpoint: Endpoint, body: bytes) -> Ask:
    """Read a request body. Raises Refusal `invalid_json` or `invalid_request`, naming the field."""
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON as e:
        raise Refusal("invalid_json", f"the request body is not JSON: {e}") from None
    if not isinstance(document, dict):
        raise Refusal("invalid_json", "the request body must be a JSON object")
    model = document.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_NAME:
        raise _wrong("must name a model", "model")
    if not model.isprintable():
        raise _wrong("must be printable text", "model")
    for key in _ROUTING & document.keys():
        if document[key]:
            raise _wrong("the proxy routes; name one model, fallbacks are the policy's", key)
    stream = document.get("stream") or False
    if not isinstance(stream, bool):
        raise _wrong("must be true or false", "stream")
    options = document.get("stream_options") or {}
    if not isinstance(options, dict):
        raise _wrong("must be an object", "stream_options")
    _check_input(endpoint, document)
    choices = _choices(endpoint, document)
    given = [_count(document, key, 1, MAX_OUTPUT) for key in endpoint.caps if key in document]
    caps = [cap for cap in given if cap is not None]
    return Ask(
        endpoint=endpoint,
        model=model,
        stream=stream and endpoint.generates,
        usage_asked=options.get("include_usage") is True,
        choices=choices,
        output_cap=(max(caps) * choices if caps else None) if endpoint.generates else 0,
        blind=_is_blind(endpoint, document),
        raw=body,
        document=document,
    )


def _texts(document: Mapping[str, Any]) -> list[Text]:
    """Every text that a model is shown. A role that is none of the API's is text too."""
    out: list[Text] = []
    for key, value in document.items():
        if key in _NOT_SHOWN:
            continue
        if key not in _KNOWN:
            out.append(Text((Key(key),), key))
        if key == "messages":
            _message_texts(value, out)
        else:
            schema = key in ("tools", "functions", "response_format")
            out += walk(value, (key,), _SCHEMAS if schema else _MESSAGES)
    return out


def _message_texts(messages: list[dict[str, Any]], out: list[Text]) -> None:
    for i, message in enumerate(messages):
        content = message.get("content")
        if len(message) == 2 and isinstance(content, str):  # most are that: no walk is needed
            out.append(Text(("messages", i, "content"), content))
        else:
            out += walk(message, ("messages", i), _MESSAGES)
        if len(out) > MAX_TEXTS:
            return
        if message["role"] not in _ROLES:
            out.append(Text(("messages", i, "role"), message["role"]))


def _count(document: Mapping[str, Any], key: str, low: int, high: int) -> int | None:
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(f"must be a whole number from {low} to {high}", key)
    return value


def _choices(endpoint: Endpoint, document: Mapping[str, Any]) -> int:
    """How many texts are generated, each up to the output cap."""
    each = (_count(document, "n", 1, 128) or 1) if "n" in document else 1
    if endpoint.name != "completions":
        return each
    each = max(each, _count(document, "best_of", 1, 128) or 1)
    prompt = document["prompt"]
    many = isinstance(prompt, list) and not isinstance(prompt[0], int)  # a list of ints is one
    return each * len(prompt) if many else each


def _check_input(endpoint: Endpoint, document: Mapping[str, Any]) -> None:
    key = endpoint.required
    value = document.get(key)
    if endpoint.name != "chat":
        if not isinstance(value, str | list) or not value:
            raise _wrong("must be text or a list", key)
        return
    if not isinstance(value, list) or not value:
        raise _wrong("must be a list of messages", key)
    for i, message in enumerate(value):
        if not isinstance(message, dict):
            raise _wrong("must be an object", f"messages[{i}]")
        if not isinstance(message.get("role"), str):
            raise _wrong("must be text", f"messages[{i}].role")
        content = message.get("content")
        if not isinstance(content, str):
            _check_content(content, f"messages[{i}].content")


def _check_content(content: Any, place: str) -> None:
    if content is None:
        return
    if not isinstance(content, list):
        raise _wrong("must be text or a list of parts", place)
    for j, part in enumerate(content):
        if not isinstance(part, dict | str):
            raise _wrong("must be an object", f"{place}[{j}]")


def _is_blind(endpoint: Endpoint, document: Mapping[str, Any]) -> bool:
    """Token arrays (`prompt` and `input` may hold them) say nothing to a rule."""
    if endpoint.name == "chat":
        return False
    value = document[endpoint.required]
    return isinstance(value, list) and not all(isinstance(item, str) for item in value)


def _images(document: Mapping[str, Any]) -> int:
    contents = [m.get("content") for m in document.get("messages") or ()]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return sum(1 for part in parts if isinstance(part, dict) and "image_url" in part)


def estimate(text: str) -> int:
    """Tokens of a text, on the upper side: providers' own counts settle it later.

    English prose has about 4.3 characters a token, JSON 3, base64 and hashes 1.5; scripts beyond
    Latin have up to one token per character (all by o200k).
    """
    size = len(text)
    sample = text if size <= SAMPLE else text[:: size // SAMPLE]
    spaced = size < 64 or sample.count(" ") * 24 > len(sample)
    tokens = math.ceil(size / 3 if spaced else size / 1.4)
    if text.isascii():
        return tokens
    wide = len(text.encode("utf-8", "replace")) - size
    return tokens + math.ceil(wide * 0.55)


def rewrite(
    ask: Ask,
    *,
    model: str,
    masked: Sequence[str] | None,
    prompts: Sequence[tuple[str, str]],
    cap: int | None,
    bounded: bool,
    cap_key: str,
) -> bytes:
    """The body for a provider.

    `masked` has one text per `ask.texts`, or is None where nothing was masked; `prompts` are (role,
    content) put in front; `cap` bounds all output tokens; with `bounded` the client's own bound
    must hold, so it stands in the key that the provider knows (`cap_key`) too. If nothing changes,
    these are the client's own bytes; if keys are only added, they are that with an end of ours.
    """
    changes: dict[Path, Any] = {}
    if masked is not None:
        pairs = zip(ask.texts, masked, strict=True)
        changes = {text.path: new for text, new in pairs if new is not text.value}
    document = replaced(ask.document, changes) if changes else ask.document
    top: dict[str, Any] = {}
    if model != ask.model:
        top["model"] = model
    if prompts and ask.endpoint.generates:
        top[ask.endpoint.required] = _prompted(ask, document[ask.endpoint.required], prompts)
    if bounded and ask.endpoint.generates:
        top.update(_cap(ask, cap, cap_key))
    if ask.stream and not ask.usage_asked:
        options = ask.document.get("stream_options") or {}
        top["stream_options"] = {**options, "include_usage": True}
    if changes or not top.keys().isdisjoint(document):
        return strictjson.dumps({**document, **top})
    if not top:
        return ask.raw
    return ask.raw.rstrip()[:-1] + b"," + strictjson.dumps(top)[1:]


def _prompted(ask: Ask, value: Any, prompts: Sequence[tuple[str, str]]) -> Any:
    """A request's input with the policy's prompts in front. Raises Refusal for token arrays, which
    no text can be put in front of."""
    if ask.endpoint.name == "chat":
        return [{"role": role, "content": content} for role, content in prompts] + value
    if ask.blind:
        raise _wrong("this token's policy puts prompts in front: send text", "prompt")
    head = "".join(content + "\n\n" for _, content in prompts)
    return head + value if isinstance(value, str) else [head + text for text in value]


def _cap(ask: Ask, cap: int | None, cap_key: str) -> dict[str, int]:
    """The fields that bound the output: the client's own, lowered to `cap`."""
    each = None if cap is None else max(cap // ask.choices, 1)
    given = {key: ask.document[key] for key in ask.endpoint.caps if ask.document.get(key)}
    if not given:
        key = cap_key if cap_key in ask.endpoint.caps else "max_tokens"
        return {} if each is None else {key: each}
    out = {k: each for k, value in given.items() if each is not None and value > each}
    # OpenAI's own takes the older key; others ignore the newer one.
    if cap_key == "max_tokens" and cap_key not in given:
        out[cap_key] = min(each or MAX_OUTPUT, *given.values())
    return out


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
