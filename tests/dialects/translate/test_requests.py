"""Requests for chat completions as requests for messages: golden cases, and what holds for all."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import tokenomics
from tokenomics import strictjson
from tokenomics.dialects.endpoints import ENDPOINTS, read
from tokenomics.dialects.translate.chat_to_messages import translate
from tokenomics.errors import Refusal

CASES = json.loads((Path(__file__).parent / "requests.json").read_text())
DONE = [case for case in CASES if "messages" in case]
REFUSED = [case for case in CASES if "refused" in case]


def name_of(case: dict[str, Any]) -> str:
    return str(case["case"])


@pytest.mark.parametrize("case", DONE, ids=name_of)
def test_a_request_is_translated(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case["chat"])
    assert translate(case["chat"]) == case["messages"]
    assert case["chat"] == before


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_what_cannot_be_carried_is_refused_with_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        translate(case["chat"])
    refusal = caught.value
    assert (refusal.code, refusal.status) == ("invalid_request", 400)
    assert {"param": refusal.param, "message": refusal.message} == case["refused"]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_case_is_a_request_that_gets_so_far(case: dict[str, Any]) -> None:
    ask = read(ENDPOINTS["/chat/completions"], strictjson.dumps(case["chat"]))
    assert ask.document == case["chat"]


@pytest.mark.parametrize("case", DONE, ids=name_of)
def test_a_translated_request_is_one_of_anthropic_s_own(case: dict[str, Any]) -> None:
    ask = read(ENDPOINTS["/messages"], strictjson.dumps(case["messages"]))
    said = [text.value for text in ask.texts]
    for message in case["messages"]["messages"]:
        texts = [block["text"] for block in message["content"] if block["type"] == "text"]
        assert set(texts) <= set(said)


def test_whoever_names_no_cap_gets_all_that_the_model_may_write() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    assert translate(chat, 64_000)["max_tokens"] == 64_000
    assert translate({**chat, "max_tokens": 5}, 64_000)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("claude-3-7-sonnet-20250219", "enabled"),
        ("claude-opus-4-20250514", "enabled"),
        ("claude-haiku-4-5", "enabled"),
        ("anthropic/claude-opus-4.5", "enabled"),
        ("some-other-model", "enabled"),
        ("claude-sonnet-4-6", "adaptive"),
        ("claude-opus-4-7", "adaptive"),
        ("claude-opus-5-20260801", "adaptive"),
        ("claude-new-preview", "adaptive"),
    ],
)
def test_how_a_model_is_told_to_think(model: str, kind: str) -> None:
    chat = {"model": model, "messages": [{"role": "user", "content": "a"}]}
    made = translate({**chat, "reasoning_effort": "low"})
    assert made["thinking"]["type"] == kind


def test_the_docs_say_of_every_field_what_becomes_of_it() -> None:
    page = (Path(tokenomics.__file__).parent / "docs" / "translation.md").read_text()
    fields = {key for case in CASES for key in case["chat"]} - {"model", "messages", "unknown"}
    assert {key for key in fields if f"`{key}" not in page} == set()
