"""Reading and rewriting on every path: what the fuzzer found, and what it would look for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.bodies import FORM, FORM_TYPE, REQUESTS, form_body
from tokenomics import strictjson
from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.dialects.rewrite import rewrite
from tokenomics.errors import Refusal

OPEN = open_endpoint("/other")
RESPONSES = ENDPOINTS["/responses"]


def reading(endpoint: Endpoint, **fields: Any) -> Ask:
    return read(endpoint, json.dumps(fields).encode())


def sent(ask: Ask, model: str, **changes: Any) -> bytes:
    values: dict[str, Any] = {"masked": None, "prompts": [], "cap": None, "bounded": False}
    return rewrite(ask, model=model, cap_key="max_tokens", **{**values, **changes})[0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", b""),
        (b"\xff{", b"\xff{"),
        (b"plain", b"plain"),
        (b"{}", b'{"model":"n"}'),
        (b" {} ", b'{"model":"n"}'),
        (b'{"a":1}', b'{"a":1,"model":"n"}'),
        (b'{"model":"m"}', b'{"model":"n"}'),
    ],
    ids=["nothing", "bytes", "text", "empty", "spaces", "added", "changed"],
)
def test_a_model_goes_only_into_what_can_hold_one(body: bytes, expected: bytes) -> None:
    assert sent(read(OPEN, body), "n") == expected


@pytest.mark.parametrize("kind", [{}, [], 5, True], ids=repr)
@pytest.mark.parametrize("key", ["type", "role"])
def test_what_an_item_is_must_be_text(key: str, kind: Any) -> None:
    with pytest.raises(Refusal, match=rf"input\[0\]\.{key}: must be text"):
        reading(RESPONSES, model="m", input=[{key: kind}])


def test_turns_of_a_response() -> None:
    items = [{"role": "user"}, {"type": "function_call"}, {"type": "function_call_output"}, {}]
    turns = RESPONSES.dialect.turns(reading(RESPONSES, model="m", input=items).document)
    assert (turns.first, turns.key, list(turns.roles)) == (
        2,
        "input",
        ["user", "function_call", "function_call_output", "user"],
    )


@pytest.mark.parametrize(
    ("call", "count"),
    [("[" * 150 + "]" * 150, 1001), ('[{"a": []}]', 50_001)],
    ids=["deep", "flat"],
)
def test_many_small_arguments_are_bounded_like_one_large_one(call: str, count: int) -> None:
    message = {"role": "user", "calls": [{"arguments": call}] * count}
    with pytest.raises(Refusal, match="objects and arrays in arguments"):
        reading(ENDPOINTS["/chat/completions"], model="m", messages=[message])
    message["calls"].pop()  # type: ignore[attr-defined]  # a list
    assert reading(ENDPOINTS["/chat/completions"], model="m", messages=[message])


def test_brackets_in_prose_are_not_counted() -> None:
    text = "[{" * strictjson.MAX_CONTAINERS
    assert reading(ENDPOINTS["/completions"], model="m", prompt=text).texts[0].value == text


@pytest.mark.parametrize(
    ("prompts", "own", "expected"),
    [
        ([("system", "a"), ("developer", "b")], "mine", "a\n\nb\n\nmine"),
        ([("system", "a")], None, "a"),
        ([("system", "a")], "", "a"),
    ],
)
def test_instructing_prompts_go_to_the_instructions(
    prompts: list[tuple[str, str]], own: str | None, expected: str
) -> None:
    ask = reading(RESPONSES, model="m", input="x", instructions=own)
    assert json.loads(sent(ask, "m", prompts=prompts))["instructions"] == expected


@pytest.mark.parametrize("value", ["x", [{"role": "user", "content": "x"}]], ids=["text", "items"])
def test_talk_goes_in_front_of_the_input(value: Any) -> None:
    ask = reading(RESPONSES, model="m", input=value)
    got = json.loads(sent(ask, "m", prompts=[("user", "a"), ("assistant", "b")]))
    assert [item["content"] for item in got["input"]] == ["a", "b", "x"]
    assert "instructions" not in got


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, "a"),
        ("mine", "a\n\nmine"),
        ([{"type": "text", "text": "mine"}], [{"type": "text", "text": t} for t in ("a", "mine")]),
    ],
    ids=["none", "text", "blocks"],
)
def test_instructing_prompts_go_to_anthropics_system(own: Any, expected: Any) -> None:
    messages = [{"role": "user", "content": "x"}]
    ask = reading(ENDPOINTS["/messages"], model="m", max_tokens=5, messages=messages, system=own)
    got = json.loads(sent(ask, "m", prompts=[("system", "a"), ("user", "b")]))
    assert got["system"] == expected
    assert [message["content"] for message in got["messages"]] == ["b", "x"]


@pytest.mark.parametrize(
    ("path", "key", "cap"),
    [("/responses", "max_output_tokens", 5), ("/messages", "max_tokens", 5)],
)
def test_a_cap_goes_into_each_dialects_own_key(path: str, key: str, cap: int) -> None:
    hello = [{"role": "user", "content": "x"}]
    ask = reading(ENDPOINTS[path], model="m", messages=hello, input=hello, **{key: 90})
    assert ask.output_cap == 90
    assert json.loads(sent(ask, "m", cap=cap, bounded=True))[key] == cap


@pytest.mark.parametrize("key", ["models", "fallbacks", "route"])
@pytest.mark.parametrize("name", REQUESTS)
def test_no_body_names_more_models(name: str, key: str) -> None:
    path, document = REQUESTS[name]
    with pytest.raises(Refusal, match=f"{key}: the proxy routes"):
        reading(ENDPOINTS[path], **{**document, key: ["other"]})


@pytest.mark.parametrize("model", [None, "", 5, "x" * 257, "a\nb", ["m"]], ids=repr)
@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "moderations"])
def test_every_path_needs_a_model(name: str, model: Any) -> None:
    path, document = REQUESTS[name]
    with pytest.raises(Refusal, match="model: must "):
        reading(ENDPOINTS[path], **{**document, "model": model})


def test_moderations_have_a_model_of_their_own() -> None:
    assert reading(ENDPOINTS["/moderations"], input="x").model == "omni-moderation-latest"


def test_a_form_is_sent_on_with_the_policys_model() -> None:
    ask = read(ENDPOINTS["/audio/transcriptions"], form_body(FORM), FORM_TYPE)
    body, type_ = rewrite(
        ask, model="n", masked=None, prompts=[], cap=None, bounded=False, cap_key="max_tokens"
    )
    assert read(ENDPOINTS["/audio/transcriptions"], body, type_).model == "n"


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/responses", {"input": "x", "background": True}, "background"),
        ("/responses", {"input": 5}, "input"),
        ("/responses", {"input": [5]}, r"input\[0\]"),
        ("/responses", {"input": [{"content": 5}]}, r"input\[0\].content"),
        ("/responses", {"input": "x", "instructions": []}, "instructions"),
        (
            "/messages",
            {"messages": [{"role": "user", "content": [5]}]},
            r"messages\[0\].content\[0\]",
        ),
        ("/messages", {"messages": []}, "messages"),
        ("/messages", {"messages": [{"role": "user"}], "system": 5}, "system"),
        ("/moderations", {"input": [5]}, r"input\[0\]"),
        ("/audio/speech", {"input": ["x"]}, "input"),
        ("/images/generations", {"prompt": ""}, "prompt"),
        ("/rerank", {"query": "x", "documents": "y"}, "documents"),
        ("/rerank", {"query": 5, "documents": ["y"]}, "query"),
    ],
)
def test_what_is_of_the_wrong_shape_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal, match=f"^{param}: "):
        reading(ENDPOINTS[path], model="m", **fields)
