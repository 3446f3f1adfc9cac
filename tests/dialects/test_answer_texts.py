"""A marker in any text of an answer is found and can be masked; ids, types and bytes are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.bodies import BYTES, MESSAGES, RESPONSES
from tests.dialects.golden_streams import STREAMS, documents
from tests.dialects.test_markers import MARK, MASK, marked, matches, places
from tokenomics import strictjson
from tokenomics.dialects.answers import answer_texts, with_instructions, without_logprobs
from tokenomics.dialects.texts import Key, Text, Words, joins, masked, replaced, walk

LOGPROBS = {"content": [{"token": "seen", "logprob": -1, "top_logprobs": [{"token": "seen"}]}]}
CHOICE = {
    "index": 0,
    "finish_reason": "stop",
    "logprobs": LOGPROBS,
    "message": {
        "role": "assistant",
        "content": "seen",
        "refusal": "seen",
        "reasoning_content": "seen",
        "reasoning_details": [{"type": "reasoning.text", "text": "seen", "id": "r"}],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "seen"}}],
        "audio": {"id": "a", "data": BYTES, "expires_at": 5, "transcript": "seen"},
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "seen", "arguments": '{"id": "seen"}'},
            }
        ],
    },
}
HEAD = {"id": "i", "object": "o", "model": "m", "created": 5}
ANSWERS: dict[str, dict[str, Any]] = {
    "chat": {
        **HEAD,
        "choices": [CHOICE],
        "usage": {"x": "counted"},
        "system_fingerprint": "f",
        "service_tier": "s",
    },
    "completions": {**HEAD, "choices": [{"index": 0, "text": "seen", "logprobs": None}]},
    "responses": {
        **HEAD,
        "status": "completed",
        "output": RESPONSES["input"],
        "output_text": "seen",
        "error": {"code": "seen", "message": "seen"},
        "instructions": "own",
        "tools": RESPONSES["tools"],
        "metadata": {"k": "own"},
        "usage": {"x": "counted"},
    },
    "messages": {
        **HEAD,
        "type": "message",
        "role": "assistant",
        "content": MESSAGES["messages"][2]["content"],
        "stop_reason": "stop_sequence",
        "stop_sequence": "seen",
    },
    "moderations": {**HEAD, "results": [{"flagged": True, "category_applied_input_types": {}}]},
    "images": {"data": [{"b64_json": BYTES, "revised_prompt": "seen", "url": "u"}]},
    "transcript": {
        "text": "seen",
        "language": "seen",
        "segments": [{"id": 1, "text": "seen", "speaker": "seen"}],
        "words": [{"word": "seen"}],
    },
    "rerank": {"id": "i", "results": [{"index": 0, "document": {"text": "seen"}}]},
    "embeddings": {"object": "list", "data": [{"object": "embedding", "embedding": BYTES}]},
    "error": {"error": {"message": "seen", "type": "t", "param": "seen", "code": "seen"}},
}
NOT_SEEN = [
    *"id object model status role type system_fingerprint service_tier".split(),
    *"*.id *.type *.role *.status *.phase *.object *.finish_reason *.stop_reason".split(),
    *"stop_reason usage.* metadata.* instructions tools.*".split(),
    # what links
    *"*.url *.image_url *.file_url *.call_id *.tool_use_id *.file_id *.container_id".split(),
    *"*.media_type *.format".split(),
    # bytes, and what the provider has sealed
    *"*.signature *.encrypted_content *.encrypted_index *.b64_json *.embedding".split(),
    *"*.file_data choices.*.audio.data content.1.data *.input_audio.data".split(),
    "output.20.result",
]
SEEN = ["*.arguments.*", "content.*.input.*", "*.attributes.*", "*.env.*"]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_marker_in_any_text_of_an_answer_is_found(name: str) -> None:
    document = ANSWERS[name]
    for place, is_key in places(document):
        if is_key:
            continue
        answer = marked(document, place, False)
        texts = answer_texts(answer)
        found = [text for text in texts if MARK in text.value]
        seen = not matches(place, NOT_SEEN) or (
            matches(place, SEEN) and place[0] not in ("tools", "usage")
        )
        assert len(found) == seen, place
        shown = masked(answer, texts, [text.value.replace(MARK, MASK) for text in texts])
        body = strictjson.dumps(shown)
        assert (MARK.encode() in body) == (not found), place
        json.loads(body)


@pytest.mark.parametrize("place", [("arguments",), ("input",)])
def test_a_marker_as_a_key_of_a_tools_own_json_is_found(place: tuple[str]) -> None:
    block: dict[str, Any] = {"type": "tool_use", "arguments": '{"a": 1}', "input": {"a": 1}}
    block[place[0]] = json.dumps({MARK: 1}) if place[0] == "arguments" else {MARK: 1}
    assert MARK in [text.value for text in answer_texts({"content": [block]})]


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": {MARK: 1}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{MARK: -0.5}]}}]},
        {"output": [{"type": "file_search_call", "results": [{"attributes": {MARK: 5}}]}]},
        {"results": [{"document": {"text": "a", MARK: "b"}}]},
        {"type": "response.completed", "response": {"output": [], MARK: 1}},
        {MARK: None},
    ],
    ids=["message", "logprobs", "attributes", "document", "response", "top"],
)
def test_a_marker_as_a_key_that_no_dialect_has_is_found(answer: dict[str, Any]) -> None:
    texts = answer_texts(answer)
    assert MARK in [text.value for text in texts]
    shown = masked(answer, texts, [text.value.replace(MARK, MASK) for text in texts])
    assert MARK not in json.dumps(shown)


@pytest.mark.parametrize("name", ANSWERS)
def test_the_dialects_own_keys_are_no_texts(name: str) -> None:
    found = [text.path for text in answer_texts(ANSWERS[name])]
    keys = [path for path in found if isinstance(path[-1], Key)]
    free = {"input", "arguments", "env", "attributes", "document", "input_schema"}
    assert [path for path in keys if not free.intersection(path)] == []


@pytest.mark.parametrize("name", STREAMS)
def test_the_events_own_keys_are_no_texts(name: str) -> None:
    for event in documents(STREAMS[name][0](5)):
        keys = [text.path for text in answer_texts(event) if isinstance(text.path[-1], Key)]
        assert [path for path in keys if "arguments" not in path] == []


@pytest.mark.parametrize(
    "event",
    [
        {"type": "speech.audio.delta", "audio": MARK},
        {"type": "response.audio.delta", "delta": MARK},
        {"choices": [{"delta": {"audio": {"id": "a", "data": MARK}}}]},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": MARK},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": MARK}},
        {"type": "response.output_text.delta", "delta": "x", "obfuscation": MARK},
    ],
    ids=["speech", "response", "chat", "picture", "signature", "padding"],
)
def test_sound_and_pictures_in_pieces_are_no_texts(event: dict[str, Any]) -> None:
    assert MARK not in [text.value for text in answer_texts(event)]


def test_what_stands_beside_texts_goes_away_at_every_depth() -> None:
    kept = without_logprobs({"choices": [CHOICE], "response": {"output": [{"logprobs": [5]}]}})
    assert kept["choices"][0]["logprobs"] is None
    assert kept["response"]["output"] == [{"logprobs": []}]
    assert CHOICE["logprobs"] == LOGPROBS


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"instructions": "policy"}, {"instructions": "own"}),
        ({"response": {"instructions": "policy"}}, {"response": {"instructions": "own"}}),
        ({"output": []}, {"output": []}),
        ([], []),
    ],
    ids=["whole", "event", "none", "list"],
)
def test_the_clients_own_instructions_are_shown(document: Any, expected: Any) -> None:
    assert with_instructions(document, "own") == expected


# Texts that a model reads as one


def joined(texts: list[Text]) -> list[str]:
    return ["".join(t.value for t in texts[first:last]) for first, last in joins(texts)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"text": "al"}, {"text": "ice"}], ["alice"]),
        ([{"text": "al"}, {"url": "u"}, {"text": "ice"}], ["alice"]),
        ([{"text": "al", "x": "-"}, {"x": "-", "text": "ice"}], ["alice"]),
        ([{"text": "al", "citations": [{"title": "-"}]}, {"text": "ice"}], ["alice"]),
        ([{"text": "al", "sub": [{"text": "x"}, {"text": "y"}]}, {"text": "ice"}], ["alice", "xy"]),
        ([{"text": "alice"}], []),
        ([], []),
    ],
    ids=["side-by-side", "picture-between", "keys-between", "citation", "nested", "one", "none"],
)
def test_text_parts_of_one_list_are_joined(content: Any, expected: list[str]) -> None:
    document = {"role": "user", "content": content}
    assert joined(walk(document, (), Words(frozenset(), frozenset({"url"})))) == expected


def test_renaming_a_key_loses_no_value_and_moves_no_other_key() -> None:
    node = {"X 4": 1, "X": 2, "a": 3, "b": 4}
    after = replaced(node, {(Key("a"),): "X", (Key("b"),): "X"})
    assert list(after.values()) == [1, 2, 3, 4]
    assert (after["X 4"], after["X"]) == (1, 2)
