"""OpenAI's requests: what is read, what is refused, and the bytes that go to a provider."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.ask import Ask
from tokenomics.dialects.endpoints import ENDPOINTS, read
from tokenomics.dialects.openai import error_body, model_list, model_object
from tokenomics.dialects.rewrite import rewrite
from tokenomics.dialects.texts import MAX_TEXTS
from tokenomics.errors import Refusal

CHAT, COMPLETIONS, EMBEDDINGS = (
    ENDPOINTS[path] for path in ("/chat/completions", "/completions", "/embeddings")
)
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]


def chat(*messages: dict[str, Any], **fields: Any) -> Ask:
    document = {"model": "m", "messages": list(messages) or HELLO, **fields}
    return read(CHAT, json.dumps(document).encode())


def completion(prompt: Any, **fields: Any) -> Ask:
    return read(COMPLETIONS, json.dumps({"model": "m", "prompt": prompt, **fields}).encode())


def embedding(input_: Any) -> Ask:
    return read(EMBEDDINGS, json.dumps({"model": "m", "input": input_}).encode())


def calling(arguments: str) -> dict[str, Any]:
    """An assistant's message that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def rewritten(ask: Ask, masked: list[str] | None = None, **changed: Any) -> Any:
    """What a provider gets; by default nothing is changed."""
    values: dict[str, Any] = {"model": ask.model, "prompts": [], "cap": None, "bounded": False}
    values |= {"cap_key": "max_tokens", **changed}
    texts = [text.value for text in ask.texts] if masked is None else masked
    body, _ = rewrite(ask, masked=texts, **values)
    return json.loads(body)


# What is read


def test_a_plain_request() -> None:
    ask = chat()
    assert (ask.model, ask.stream, ask.usage_asked, ask.choices) == ("m", False, False, 1)
    assert (ask.output_cap, ask.blind) == (None, False)


@pytest.mark.parametrize(
    ("fields", "stream", "usage_asked"),
    [
        ({"stream": True}, True, False),
        ({"stream": None, "stream_options": None}, False, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream": True, "stream_options": {"include_usage": False}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": 1}}, True, False),
    ],
    ids=["stream", "null", "asked", "not-asked", "odd"],
)
def test_streams(fields: dict[str, Any], stream: bool, usage_asked: bool) -> None:
    ask = chat(**fields)
    assert (ask.stream, ask.usage_asked) == (stream, usage_asked)


@pytest.mark.parametrize(
    ("ask", "cap", "choices"),
    [
        (chat(max_tokens=10), 10, 1),
        (chat(max_completion_tokens=10), 10, 1),
        (chat(max_tokens=10, max_completion_tokens=90), 90, 1),
        (chat(max_tokens=10, n=3), 30, 3),
        (chat(n=3), None, 3),
        (chat(best_of=9, max_tokens=10), 10, 1),
        (completion("x", max_tokens=10, n=2), 20, 2),
        (completion(["x", "y", "z"], max_tokens=10, n=2), 60, 6),
        (completion([[1, 2], [3]], max_tokens=10), 20, 2),
        (completion([1, 2, 3], max_tokens=10), 10, 1),
        (completion("x", max_tokens=10, n=2, best_of=5), 50, 5),
        (completion("x", max_completion_tokens=10), None, 1),
        (embedding("x"), 0, 1),
    ],
    ids=[
        "old",
        "new",
        "both",
        "choices",
        "uncapped",
        "chat-best-of",
        "n",
        "prompts",
        "token-lists",
        "tokens",
        "best-of",
        "other-key",
        "embedding",
    ],
)
def test_the_cap_bounds_all_that_can_be_generated(ask: Ask, cap: int | None, choices: int) -> None:
    assert (ask.output_cap, ask.choices) == (cap, choices)


@pytest.mark.parametrize(
    ("ask", "blind"),
    [
        (completion("x"), False),
        (completion(["x", "y"]), False),
        (completion([1, 2]), True),
        (completion(["x", [1]]), True),
        (embedding([[1], [2]]), True),
        (embedding(["x"]), False),
    ],
    ids=["text", "texts", "tokens", "mixed", "token-lists", "embedding"],
)
def test_token_arrays_are_blind(ask: Ask, blind: bool) -> None:
    assert ask.blind == blind


REFUSED: dict[str, tuple[Any, str | None]] = {
    "model-missing": ({"messages": HELLO}, "model"),
    "model-empty": ({"model": "", "messages": HELLO}, "model"),
    "model-number": ({"model": 5, "messages": HELLO}, "model"),
    "model-long": ({"model": "m" * 257, "messages": HELLO}, "model"),
    "messages-missing": ({"model": "m"}, "messages"),
    "messages-empty": ({"model": "m", "messages": []}, "messages"),
    "messages-text": ({"model": "m", "messages": "hi"}, "messages"),
    "messages-object": ({"model": "m", "messages": {"0": HELLO[0]}}, "messages"),
    "message-text": ({"model": "m", "messages": [*HELLO, "hi"]}, "messages[1]"),
    "message-null": ({"model": "m", "messages": [None]}, "messages[0]"),
    "role-missing": ({"model": "m", "messages": [{"content": "x"}]}, "messages[0].role"),
    "content-number": (
        {"model": "m", "messages": [{"role": "user", "content": 5}]},
        "messages[0].content",
    ),
    "content-object": (
        {"model": "m", "messages": [{"role": "user", "content": {"text": "x"}}]},
        "messages[0].content",
    ),
    "part-number": (
        {"model": "m", "messages": [{"role": "user", "content": [{}, 5]}]},
        "messages[0].content[1]",
    ),
    "stream-text": ({"model": "m", "messages": HELLO, "stream": "yes"}, "stream"),
    "options-empty": ({"model": "m", "messages": HELLO, "stream_options": ""}, "stream_options"),
    "options-text": ({"model": "m", "messages": HELLO, "stream_options": "x"}, "stream_options"),
    "n-zero": ({"model": "m", "messages": HELLO, "n": 0}, "n"),
    "n-many": ({"model": "m", "messages": HELLO, "n": 129}, "n"),
    "n-boolean": ({"model": "m", "messages": HELLO, "n": True}, "n"),
    "cap-text": ({"model": "m", "messages": HELLO, "max_tokens": "5"}, "max_tokens"),
    "model-lines": ({"model": "m\nn", "messages": HELLO}, "model"),
    "model-control": ({"model": "m\x00", "messages": HELLO}, "model"),
    "model-backwards": ({"model": "m\u202e", "messages": HELLO}, "model"),
    "models": ({"model": "m", "messages": HELLO, "models": ["n"]}, "models"),
    "fallbacks": ({"model": "m", "messages": HELLO, "fallbacks": [{"model": "n"}]}, "fallbacks"),
    "route": ({"model": "m", "messages": HELLO, "route": "fallback"}, "route"),
    "texts-many": (
        {"model": "m", "messages": [{"role": "user", "content": ["x"] * (MAX_TEXTS + 1)}]},
        "messages",
    ),
    "cap-zero": ({"model": "m", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
    "new-cap-zero": (
        {"model": "m", "messages": HELLO, "max_completion_tokens": 0},
        "max_completion_tokens",
    ),
    "cap-huge": ({"model": "m", "messages": HELLO, "max_tokens": 10**9 + 1}, "max_tokens"),
    "cap-negative": ({"model": "m", "messages": HELLO, "max_tokens": -1}, "max_tokens"),
    "cap-fraction": (
        {"model": "m", "messages": HELLO, "max_completion_tokens": 1.5},
        "max_completion_tokens",
    ),
}


@pytest.mark.parametrize(("document", "param"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_field_is_named(document: Any, param: str) -> None:
    with pytest.raises(Refusal) as caught:
        _ = read(CHAT, json.dumps(document).encode()).texts
    assert (caught.value.code, caught.value.status) == ("invalid_request", 400)
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")


def test_routing_fields_that_say_nothing_and_names_in_any_alphabet_pass() -> None:
    ask = chat(model="modèle 模型/x:free", models=[], fallbacks=None, route="")
    assert ask.model == "modèle 模型/x:free"


def test_as_many_texts_as_allowed_are_read() -> None:
    assert len(completion(["x"] * MAX_TEXTS).texts) == MAX_TEXTS
    with pytest.raises(Refusal, match=f"prompt: more than {MAX_TEXTS} texts"):
        _ = completion(["x"] * (MAX_TEXTS + 1)).texts


@pytest.mark.parametrize("prompt", [None, "", [], 5, {"text": "x"}])
def test_a_prompt_is_text_or_a_list(prompt: Any) -> None:
    with pytest.raises(Refusal, match="prompt: must be text or a list"):
        completion(prompt)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"x"',
        b"null",
        b"{",
        b"\xff{}",
        b'{"model":"a","model":"b"}',
        b'{"a":NaN}',
        b"[" * 100000,
        b'{"a":"\\ud800"}',
    ],
    ids=["empty", "list", "text", "null", "cut", "not-utf8", "twice", "nan", "deep", "surrogate"],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read(CHAT, body)
    assert (caught.value.code, caught.value.status) == ("invalid_json", 400)


# Which texts are found

PART = {"type": "text", "text": "X"}
TEXTS: dict[str, tuple[Ask, list[str]]] = {
    "content": (chat({"role": "user", "content": "X"}), ["X"]),
    "parts": (chat({"role": "user", "content": [PART, {"type": "text", "text": "Y"}]}), ["X", "Y"]),
    "text-parts": (chat({"role": "user", "content": ["X"]}), ["X"]),
    "system": (
        chat({"role": "system", "content": "X"}, {"role": "developer", "content": "Y"}),
        ["X", "Y"],
    ),
    "tool-result": (chat({"role": "tool", "tool_call_id": "call_1", "content": "X"}), ["X"]),
    "tool-result-parts": (chat({"role": "tool", "tool_call_id": "c", "content": [PART]}), ["X"]),
    "tool-call": (chat(calling('{"q": "X", "n": [4111]}')), ["f", "q", "X", "n", "4111"]),
    "tool-call-text": (chat(calling("X")), ["f", "X"]),
    "function-call": (
        chat({"role": "assistant", "function_call": {"name": "f", "arguments": '{"q":"X"}'}}),
        ["f", "q", "X"],
    ),
    "refusal": (chat({"role": "assistant", "content": None, "refusal": "X"}), ["X"]),
    "name": (chat({"role": "user", "name": "X", "content": "Y"}), ["X", "Y"]),
    "unknown-field": (
        chat({"role": "user", "content": "X", "cache": {"hint": "Y"}}),
        ["X", "cache", "hint", "Y"],
    ),
    "media": (
        chat(
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "f-1", "filename": "X"}},
                ],
            }
        ),
        ["X"],
    ),
    "tools": (
        chat(tools=[{"type": "function", "function": {"name": "f", "description": "X"}}]),
        ["Hello", "function", "f", "X"],
    ),
    "tool-schema": (
        chat(
            tools=[
                {
                    "function": {
                        "name": "f",
                        "strict": True,
                        "parameters": {
                            "type": "object",
                            "id": "X",
                            "format": "Y",
                            "properties": {"q": {"const": 4111, "maximum": 1.5, "url": "Z"}},
                        },
                    }
                }
            ]
        ),
        # no key is skipped, keys that are not JSON schema's are texts, and numbers are
        ["Hello", "f", "object", "X", "Y", "q", "4111", "1.5", "Z"],
    ),
    "functions": (
        chat(functions=[{"name": "f", "parameters": {"enum": [5, "X", None, True]}}]),
        ["Hello", "f", "5", "X"],
    ),
    "response-format": (
        chat(response_format={"type": "json_schema", "json_schema": {"schema": {"const": 4111}}}),
        ["Hello", "json_schema", "4111"],
    ),
    "numbers-elsewhere": (chat({"role": "user", "content": "X", "cache": 5}), ["X", "cache"]),
    "roles": (
        chat(
            {"role": "X", "content": "Y"},
            *({"role": r} for r in ("system", "developer", "user", "assistant")),
            *({"role": r} for r in ("tool", "function", "User")),
        ),
        ["Y", "X", "User"],
    ),
    "prediction": (chat(prediction={"type": "content", "content": "X"}), ["Hello", "X"]),
    "prompt": (completion("X", suffix="Y"), ["X", "Y"]),
    "prompts": (completion(["X", "Y"]), ["X", "Y"]),
    "tokens": (completion([1, 2]), []),
    "input": (embedding(["X", "Y"]), ["X", "Y"]),
}


@pytest.mark.parametrize(("ask", "expected"), TEXTS.values(), ids=TEXTS)
def test_every_text_is_found(ask: Ask, expected: list[str]) -> None:
    assert [text.value for text in ask.texts] == expected


# Rewriting

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ODD = '"}\\\n'


def unchanged(ask: Ask, *, bounded: bool, cap: int | None = None) -> bool:
    """Whether a provider gets the client's own bytes."""
    masked = [text.value for text in ask.texts]
    keys = {"cap": cap, "bounded": bounded, "cap_key": "max_tokens"}
    return rewrite(ask, model="m", masked=masked, prompts=[], **keys)[0] is ask.raw  # type: ignore[arg-type]  # a dict of mixed values


@pytest.mark.parametrize("bounded", [False, True], ids=["free", "bounded"])
@pytest.mark.parametrize("ask", [ask for ask, _ in TEXTS.values()], ids=TEXTS)
def test_without_changes_the_clients_own_bytes_go_on(ask: Ask, bounded: bool) -> None:
    assert unchanged(ask, bounded=bounded)


@pytest.mark.parametrize("ask", [ask for ask, _ in TEXTS.values()], ids=TEXTS)
def test_every_text_can_be_masked_and_the_ask_stays_as_it_was(ask: Ask) -> None:
    before = copy.deepcopy(ask.document)
    document = rewritten(ask, [ODD] * len(ask.texts), model="n", cap=5, bounded=True)
    again = read(ask.endpoint, json.dumps(document).encode())
    assert len(again.texts) == len(ask.texts)
    assert all(text.value.startswith(ODD) for text in again.texts)  # two equal keys get a number
    assert ask.document == before
    assert json.loads(ask.raw) == before


@settings(max_examples=150, deadline=None)
@given(json_values.filter(lambda v: v is not None))
def test_masked_arguments_stay_json_of_the_same_shape(value: Any) -> None:
    def shape(node: Any) -> Any:
        if isinstance(node, dict):
            return [shape(inner) for inner in node.values()]
        if isinstance(node, list):
            return [shape(inner) for inner in node]
        return ODD if isinstance(node, str | int) and not isinstance(node, bool) else node

    ask = chat(calling(json.dumps(value)))
    document = rewritten(ask, [ODD] * len(ask.texts))
    arguments = document["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert shape(json.loads(arguments)) == shape(value)


def test_a_mask_in_arguments_leaves_its_neighbours_as_they_are() -> None:
    ask = chat(calling('{"card": 4111111111111111, "n": 5, "t": true, "é": null, "x": 1.5}'))
    masked = ["[REDACTED]" if t.value.startswith("4111") else t.value for t in ask.texts]
    arguments = rewritten(ask, masked)["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"card": "[REDACTED]", "n": 5, "t": True, "é": None, "x": 1.5}


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5).map("x-{}".format), json_values, max_size=4))
def test_unknown_fields_go_through(extra: dict[str, Any]) -> None:
    ask = chat(**extra)
    before = copy.deepcopy(ask.document)
    assert rewritten(ask, model="other") == {**before, "model": "other"}
    assert ask.document == before


def test_prompts_go_in_front_and_what_is_masked_stays_behind() -> None:
    ask = chat({"role": "system", "content": "a"}, {"role": "user", "content": "secret"})
    got = rewritten(ask, ["a", "***"], prompts=[("system", "one"), ("user", "two")])
    assert [(m["role"], m["content"]) for m in got["messages"]] == [
        ("system", "one"),
        ("user", "two"),
        ("system", "a"),
        ("user", "***"),
    ]
    assert len(ask.document["messages"]) == 2


PROMPTS = [("system", "one"), ("user", "two")]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("secret", "one\n\ntwo\n\n***"),
        (["secret"], ["one\n\ntwo\n\n***"]),
        (["secret", "secret"], ["one\n\ntwo\n\n***"] * 2),
    ],
    ids=["text", "one", "two"],
)
def test_prompts_go_in_front_of_each_prompt_too(prompt: Any, expected: Any) -> None:
    ask = completion(prompt)
    before = copy.deepcopy(ask.document)
    assert rewritten(ask, ["***"] * len(ask.texts), prompts=PROMPTS)["prompt"] == expected
    assert ask.document == before


@pytest.mark.parametrize("prompt", [[1, 2], [[1], [2]], ["x", [1]]], ids=str)
def test_no_prompt_can_be_put_in_front_of_tokens(prompt: Any) -> None:
    with pytest.raises(Refusal) as caught:
        rewritten(completion(prompt), prompts=PROMPTS)
    assert (caught.value.code, caught.value.param) == ("invalid_request", "prompt")


@pytest.mark.parametrize("input_", ["x", ["x", "y"], [1, 2]], ids=str)
def test_prompts_are_not_for_embeddings(input_: Any) -> None:
    assert rewritten(embedding(input_), prompts=PROMPTS) == {"model": "m", "input": input_}


@pytest.mark.parametrize(
    ("ask", "cap", "caps"),
    [
        (chat(), 50, {"max_completion_tokens": 50}),
        (chat(max_tokens=90), 50, {"max_tokens": 50}),
        (chat(max_completion_tokens=90), 50, {"max_completion_tokens": 50}),
        (
            chat(max_tokens=90, max_completion_tokens=20),
            50,
            {"max_tokens": 50, "max_completion_tokens": 20},
        ),
        (chat(max_tokens=20), 50, {"max_tokens": 20}),
        (chat(max_tokens=90), None, {"max_tokens": 90}),
        (chat(max_tokens=None), 50, {"max_tokens": None, "max_completion_tokens": 50}),
        (chat(n=3), 50, {"max_completion_tokens": 16}),
        (chat(n=3, max_tokens=90), 50, {"max_tokens": 16}),
        (completion("x"), 50, {"max_tokens": 50}),
        (completion(["x", "y"]), 50, {"max_tokens": 25}),
        (embedding("x"), 50, {}),
    ],
    ids=[
        "none",
        "old",
        "new",
        "both",
        "lower",
        "no-cap",
        "null",
        "choices",
        "choices-own",
        "completion",
        "prompts",
        "embedding",
    ],
)
def test_a_cap_goes_into_the_key_the_client_used(
    ask: Ask, cap: int | None, caps: dict[str, Any]
) -> None:
    got = rewritten(ask, cap=cap, bounded=True, cap_key="max_completion_tokens")
    assert {k: v for k, v in got.items() if k.startswith("max_")} == caps


@pytest.mark.parametrize(
    ("ask", "cap", "caps"),
    [
        (chat(), None, {}),
        (chat(), 50, {"max_tokens": 50}),
        (chat(max_tokens=90), None, {"max_tokens": 90}),
        (chat(max_completion_tokens=90), None, {"max_completion_tokens": 90, "max_tokens": 90}),
        (chat(max_completion_tokens=90), 50, {"max_completion_tokens": 50, "max_tokens": 50}),
        (chat(max_completion_tokens=20), 50, {"max_completion_tokens": 20, "max_tokens": 20}),
        (
            chat(max_completion_tokens=90, n=3),
            60,
            {"max_completion_tokens": 20, "max_tokens": 20},
        ),
        (
            chat(max_tokens=90, max_completion_tokens=20),
            None,
            {"max_tokens": 90, "max_completion_tokens": 20},
        ),
        (completion("x"), None, {}),
        (embedding("x"), None, {}),
    ],
    ids=[
        "none",
        "none-cut",
        "old",
        "new",
        "new-cut",
        "new-lower",
        "choices",
        "both",
        "completion",
        "embedding",
    ],
)
def test_a_bound_stands_in_the_key_that_the_provider_knows(
    ask: Ask, cap: int | None, caps: dict[str, Any]
) -> None:
    got = rewritten(ask, cap=cap, bounded=True, cap_key="max_tokens")
    assert {k: v for k, v in got.items() if k.startswith("max_")} == caps


@pytest.mark.parametrize(
    "ask",
    [chat(), chat(max_completion_tokens=90), chat(max_tokens=90), completion("x", max_tokens=9)],
    ids=["none", "new", "old", "completion"],
)
def test_where_nothing_counts_tokens_caps_are_the_clients_own(ask: Ask) -> None:
    assert unchanged(ask, bounded=False)
    assert unchanged(ask, bounded=False, cap=5)


@pytest.mark.parametrize(
    ("ask", "options"),
    [
        (chat(stream=True), {"include_usage": True}),
        (chat(stream=True, stream_options={"x": 1}), {"x": 1, "include_usage": True}),
        (chat(stream=True, stream_options={"include_usage": False}), {"include_usage": True}),
        (chat(stream=False), None),
    ],
    ids=["added", "kept", "turned", "whole"],
)
def test_a_stream_is_asked_for_its_usage(ask: Ask, options: dict[str, Any] | None) -> None:
    before = copy.deepcopy(ask.document)
    assert rewritten(ask).get("stream_options") == options
    assert ask.document == before


# Long texts


LONG = "word " * 300


@pytest.mark.parametrize(
    "ask",
    [
        chat({"role": "system", "content": LONG}),
        chat({"role": "user", "content": [{"type": "text", "text": LONG}]}),
        chat(calling(json.dumps({"q": LONG}))),
        chat(tools=[{"type": "function", "function": {"name": "f", "description": LONG}}]),
        completion(LONG),
        completion("x", suffix=LONG),
        completion(["word " * 100] * 3),
        completion([1234] * 300),
        embedding([[1234] * 150] * 2),
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}),
        chat(*(HELLO[0] for _ in range(60))),
    ],
    ids=[
        "system",
        "parts",
        "call",
        "tool",
        "prompt",
        "suffix",
        "prompts",
        "tokens",
        "token-lists",
        "image",
        "frames",
    ],
)
def test_all_input_is_counted(ask: Ask) -> None:
    assert ask.estimate_input() >= 300


# Answers of our own


def test_an_error_has_openais_shape() -> None:
    refusal = Refusal("invalid_request", "n: é", param="n")
    assert json.loads(error_body(refusal)) == {
        "error": {
            "message": "n: é",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_request",
        }
    }


def test_models_have_openais_shape() -> None:
    model = {"id": "m", "object": "model", "created": 0, "owned_by": "openai"}
    assert json.loads(model_object("m", "openai")) == model
    assert json.loads(model_list([("m", "openai")])) == {"object": "list", "data": [model]}
    assert json.loads(model_list([])) == {"object": "list", "data": []}
