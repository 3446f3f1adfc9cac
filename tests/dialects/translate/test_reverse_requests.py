"""Requests for messages as requests for chat completions: golden cases, and what holds for all."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tokenomics
from tokenomics import strictjson
from tokenomics.dialects.endpoints import ENDPOINTS, read
from tokenomics.dialects.translate import chat_to_messages
from tokenomics.dialects.translate.messages_request import translate
from tokenomics.errors import Refusal

CASES = json.loads((Path(__file__).parent / "reverse_requests.json").read_text())
DONE = [case for case in CASES if "chat" in case]
REFUSED = [case for case in CASES if "refused" in case]


def name_of(case: dict[str, Any]) -> str:
    return str(case["case"])


def translated(case: dict[str, Any]) -> dict[str, Any]:
    return translate(case["messages"], case.get("most", 0), case.get("cap_key", "max_tokens"))


@pytest.mark.parametrize("case", DONE, ids=name_of)
def test_a_request_is_translated(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case["messages"])
    assert translated(case) == case["chat"]
    assert case["messages"] == before


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_what_cannot_be_carried_is_refused_with_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        translated(case)
    refusal = caught.value
    assert (refusal.code, refusal.status) == ("invalid_request", 400)
    assert {"param": refusal.param, "message": refusal.message} == case["refused"]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_case_is_a_request_that_gets_so_far(case: dict[str, Any]) -> None:
    ask = read(ENDPOINTS["/messages"], strictjson.dumps(case["messages"]))
    assert ask.document == case["messages"]


@pytest.mark.parametrize("case", DONE, ids=name_of)
def test_a_translated_request_is_one_of_openai_s_own(case: dict[str, Any]) -> None:
    ask = read(ENDPOINTS["/chat/completions"], strictjson.dumps(case["chat"]))
    said = {text.value for text in ask.texts}
    for message in case["chat"]["messages"]:
        if isinstance(message["content"], str):
            assert message["content"] in said


@pytest.mark.parametrize("case", DONE, ids=name_of)
def test_results_follow_their_calls(case: dict[str, Any]) -> None:
    """OpenAI refuses a call that is not answered at once, and an answer to no call."""
    waiting: list[str] = []
    for message in case["chat"]["messages"]:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        waiting = [call["id"] for call in message.get("tool_calls", [])]


@pytest.mark.parametrize("case", DONE, ids=name_of)
def test_a_translated_request_can_be_translated_back(case: dict[str, Any]) -> None:
    """A gateway behind this one may do so."""
    made = chat_to_messages.translate(case["chat"])
    spoken = [message["role"] for message in made["messages"]]
    assert all(a != b for a, b in pairwise(spoken))


def test_the_docs_say_of_every_field_what_becomes_of_it() -> None:
    page = (Path(tokenomics.__file__).parent / "docs" / "translation.md").read_text()
    back = page.partition("# Messages from OpenAI's models")[2]
    fields = {key for case in CASES for key in case["messages"]} - {"model", "messages"}
    assert {key for key in fields if f"`{key}" not in back} == set()
