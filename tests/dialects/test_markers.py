"""A marker at any place of a request that a model is shown is found, and can be masked; what must
not be touched is not found. Each string and each key of the bodies is such a place."""

from __future__ import annotations

import copy
import fnmatch
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dialects.bodies import FORM, FORM_TYPE, REQUESTS, form_body
from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.dialects.rewrite import rewrite
from tokenomics.errors import Refusal

MARK = "mArKeR"
MASK = '[X"\\]'  # what would break JSON if it were pasted in
Place = tuple[str | int, ...]  # keys and indexes; "->" where a string is JSON itself

# Places that no model reads, as patterns of their paths.
NOT_SHOWN = {
    "chat": [
        # who asks, how it is billed, sampled and delivered
        *"model user metadata.* safety_identifier service_tier reasoning_effort".split(),
        *"modalities.* logit_bias.*".split(),
        # what names and links things, and which kind they are
        "messages.*.type",
        "messages.*.id",
        "messages.*.tool_call_id",
        "*.url",
        "*.file.file_id",
        "*.detail",
        "*.format",
        # bytes
        "*.file_data",
        "*.signature",
        "*.data",
        # kinds outside messages
        *"prediction.type prediction.content.0.type web_search_options.user_location.type".split(),
        "tool_choice.type",
    ],
    "responses": [
        *"model metadata.* user previous_response_id include.* tool_choice.* reasoning.*".split(),
        *"prompt.id prompt.variables.*.type prompt.variables.*.image_url".split(),
        *"input.*.type input.*.id input.*.call_id input.*.status input.*.phase".split(),
        *"*.image_url *.detail *.file_id *.file_url *.file_data *.container_id *.url".split(),
        *"input.*.format *.encrypted_content input.*.input_audio.data".split(),
        "input.20.result",  # of image_generation_call
        # a remote tool's address and credentials
        *"tools.2.server_url tools.2.authorization tools.2.headers.* tools.2.connector_id".split(),
    ],
    "messages": [
        *"model metadata.* container mcp_servers.* thinking.*".split(),
        *"system.*.type messages.*.type messages.*.id messages.*.tool_use_id *.url".split(),
        *"*.media_type *.file_id *.server_name *.signature *.encrypted_*".split(),
        # base64, and what the provider has sealed
        *"messages.1.content.1.source.data messages.2.content.1.data".split(),
        "messages.3.content.1.content.1.source.data",
        *"tool_choice.type context_management.edits.*.type".split(),
    ],
    "completions": ["model", "user"],
    "embeddings": ["model", "user", "encoding_format"],
    "moderations": ["*.type", "*.url"],
    "images": ["model", "size", "style"],
    "image-edits": ["model", "*.image_url", "quality"],
    "speech": ["model", "voice"],
    "rerank": ["model"],
}
NOT_SHOWN["count_tokens"] = NOT_SHOWN["messages"]
# Of those patterns, what is shown all the same: a tool's own JSON and schemas skip nothing.
SHOWN = {
    "chat": ["*.arguments.*", "tools.*", "functions.*", "response_format.*"],
    "responses": [
        *"*.arguments.* *.parameters.* *.input_schema.* text.* *.attributes.* *.env.*".split(),
        "prompt.variables.url",
    ],
    "messages": ["*.input.*", "tools.*", "output_config.*"],
}
SHOWN["count_tokens"] = SHOWN["messages"]


def places(node: Any, path: Place = ()) -> Iterator[tuple[Place, bool]]:
    """Every (place, whether it is a key) of strings and keys below `node`."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key), True
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from places(value, (*path, i))
    elif isinstance(node, str):
        inner = parsed(node) if path[-1] == "arguments" else None
        if inner is None:
            yield path, False
        else:
            yield from places(inner, (*path, "->"))


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def marked(node: Any, place: Place, is_key: bool) -> Any:
    """A copy of `node` with the marker at a place."""
    if not place:
        return MARK
    step, rest = place[0], place[1:]
    if step == "->":
        return json.dumps(marked(json.loads(node), rest, is_key))
    if is_key and not rest:
        return {MARK if key == step else key: value for key, value in node.items()}
    out = copy.copy(node)
    out[step] = marked(node[step], rest, is_key)
    return out


def matches(place: Place, patterns: list[str]) -> bool:
    name = ".".join(str(step) for step in place if step != "->")
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_shown(name: str, place: Place) -> bool:
    if name == "open":
        return True
    return not matches(place, NOT_SHOWN[name]) or matches(place, SHOWN.get(name, []))


def is_inside_hidden(name: str, place: Place) -> bool:
    """Whether a key is one of an object that no model reads."""
    top = (*place[:1], "*")
    return matches(top, NOT_SHOWN[name]) or matches(place[:1], NOT_SHOWN[name])


def sent_on(ask: Ask) -> bytes:
    """What a provider gets when the marker is masked."""
    masked = [text.value.replace(MARK, MASK) for text in ask.texts]
    body, _ = rewrite(
        ask, model="n", masked=masked, prompts=[], cap=5, bounded=True, cap_key="max_tokens"
    )
    return body


def endpoint_of(name: str) -> tuple[Endpoint, dict[str, Any]]:
    if name == "open":
        return open_endpoint("/other"), REQUESTS["chat"][1]
    path, document = REQUESTS[name]
    return ENDPOINTS[path], document


NAMES = [*REQUESTS, "open"]


@pytest.mark.parametrize("name", NAMES)
def test_a_marker_in_any_string_is_found_where_a_model_reads(name: str) -> None:
    endpoint, document = endpoint_of(name)
    for place, is_key in places(document):
        if is_key or place == ("model",):
            continue
        ask = read(endpoint, json.dumps(marked(document, place, is_key)).encode())
        found = [text for text in ask.texts if MARK in text.value]
        is_role = place[-1] == "role"  # one that no API has is text, and others are not
        assert len(found) == (is_role or is_shown(name, place)), place
        body = sent_on(ask)
        assert (MARK.encode() in body) == (not found), place
        json.loads(body)


@pytest.mark.parametrize("name", NAMES)
def test_a_marker_as_any_key_is_found_where_a_model_reads(name: str) -> None:
    endpoint, document = endpoint_of(name)
    for place, is_key in places(document):
        if not is_key or place == ("model",) or (name != "open" and is_inside_hidden(name, place)):
            continue
        try:
            ask = read(endpoint, json.dumps(marked(document, place, is_key)).encode())
        except Refusal:  # without a key that it needs
            continue
        if len(place) > 1 and name == "responses" and place[:2] == ("tools", 2):
            continue  # what of a remote tool is shown is a matter of its keys
        assert MARK in [text.value for text in ask.texts], place
        assert MARK.encode() not in sent_on(ask), place


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changes_where_nothing_is_masked(name: str) -> None:
    endpoint, document = endpoint_of(name)
    ask = read(endpoint, json.dumps(document).encode())
    masked = [text.value for text in ask.texts]
    body, type_ = rewrite(
        ask,
        model=str(document.get("model", "")),
        masked=masked,
        prompts=[],
        cap=None,
        bounded=False,
        cap_key="max_tokens",
    )
    assert body is ask.raw
    assert type_ == ""


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("chat", ("tools", 0, "function", "parameters", "properties", "city", "maxLength")),
        ("chat", ("response_format", "json_schema", "schema", "minimum")),
        ("chat", ("messages", 3, "tool_calls", 3, "function", "arguments", "n")),
        ("responses", ("tools", 0, "parameters", "maximum")),
        ("responses", ("text", "format", "schema", "minimum")),
        ("responses", ("input", 15, "action", "env", "n")),
        ("messages", ("messages", 2, "content", 3, "input", "n")),
        ("messages", ("tools", 0, "input_examples", 0, "n")),
    ],
)
def test_digits_are_found_where_a_model_reads_json(name: str, place: Place) -> None:
    endpoint, document = endpoint_of(name)
    changed = copy.deepcopy(document)
    node: Any = changed
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = 4111111111111111
    ask = read(endpoint, json.dumps(changed).encode())
    assert "4111111111111111" in [text.value for text in ask.texts]


# Forms


@pytest.mark.parametrize("index", range(len(FORM)))
def test_a_marker_in_any_text_of_a_form_is_found(index: int) -> None:
    name, filename, type_, _ = FORM[index]
    parts = [*FORM[:index], (name, filename, type_, MARK.encode()), *FORM[index + 1 :]]
    ask = read(ENDPOINTS["/audio/transcriptions"], form_body(parts), FORM_TYPE)
    shown = name in ("prompt", "unknown", "list[]")
    assert (MARK in [text.value for text in ask.texts]) == shown
    assert (MARK.encode() not in sent_on(ask)) == (shown or name == "model")


@pytest.mark.parametrize("index", [1, 2, 3, 5, 6])
def test_a_marker_in_any_place_of_an_open_form_is_found(index: int) -> None:
    name, _, type_, _ = FORM[index]
    for part in [
        (name, None, type_, MARK.encode()),
        (name, "a.txt", type_, MARK.encode()),
        (name, f"{MARK}.bin", type_, b"\xff"),
        (f"{MARK}", None, type_, b"x"),
        (f"{MARK}[]", "a.txt", type_, b"x"),
    ]:
        body = form_body([*FORM[:index], part, *FORM[index + 1 :]])
        ask = read(open_endpoint("/files"), body, FORM_TYPE)
        assert any(MARK in text.value for text in ask.texts), part
        assert MARK.encode() not in sent_on(ask)
