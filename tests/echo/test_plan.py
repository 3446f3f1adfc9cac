from __future__ import annotations

from typing import Any

import pytest

from tests.echo.plans import form, plan, plan_of
from tokenomics.echo.plan import MAX_SAID, last_text
from tokenomics.echo.wish import MAX_WORDS

CHAT = "/chat/completions"
USER = {"role": "user", "content": "Hi"}
TOOL_USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "input": {}}]}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "21 C"}]}

LAST_TEXTS: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"messages": [{"role": "system", "content": "Be brief"}, USER]}, "Hi"),
    (CHAT, {"messages": [USER, {"role": "assistant", "content": "Hello, "}]}, "Hi"),
    (CHAT, {"messages": [USER, {"role": "developer", "content": "Be brief"}]}, "Hi"),
    (CHAT, {"messages": [{"role": "system", "content": "Be brief"}]}, ""),
    (CHAT, {"messages": [USER, {"role": "tool", "content": "21 C"}]}, "21 C"),
    (CHAT, {"messages": [{"role": "user", "content": None}]}, ""),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, "b", {}]}]},
        "a b",
    ),
    ("/messages", {"messages": [USER], "system": "Be brief"}, "Hi"),
    (
        "/messages",
        {"messages": [USER, TOOL_USE, {"role": "user", "content": [RESULT]}]},
        "21 C",
    ),
    ("/messages/count_tokens", {"messages": [USER]}, "Hi"),
    ("/responses", {"input": "Hi", "instructions": "Be brief"}, "Hi"),
    ("/responses", {"input": [USER]}, "Hi"),
    (
        "/responses",
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
        "Hi",
    ),
    (
        "/responses",
        {"input": [USER, {"type": "function_call_output", "call_id": "c", "output": "21 C"}]},
        "21 C",
    ),
    (
        "/responses",
        {"input": [USER, {"type": "function_call", "call_id": "c", "arguments": "{}"}]},
        "Hi",
    ),
    ("/responses", {"prompt": {"id": "pmpt_1"}}, ""),
    ("/completions", {"prompt": "Hi"}, "Hi"),
    ("/completions", {"prompt": ["Hello", "Hi"]}, "Hi"),
    ("/completions", {"prompt": [1, 2]}, ""),
    ("/embeddings", {"input": ["Hello", "Hi"]}, "Hi"),
    ("/embeddings", {"input": [[1], [2]]}, ""),
    ("/moderations", {"input": [{"type": "text", "text": "Hi"}]}, "Hi"),
    ("/images/generations", {"prompt": "Hi"}, "Hi"),
    ("/audio/speech", {"input": "Hi"}, "Hi"),
    ("/rerank", {"query": "Hi", "documents": ["Hello"]}, "Hi"),
    ("/files", {"purpose": "[echo words=1]", "n": 2}, "[echo words=1]"),
    ("/files", {"purpose": "Hi"}, "Hi"),
]


@pytest.mark.parametrize(("path", "fields", "text"), LAST_TEXTS)
def test_the_last_text_is_what_the_model_was_told_last(
    path: str, fields: dict[str, Any], text: str
) -> None:
    assert last_text(plan(path, **fields).ask) == text


@pytest.mark.parametrize("path", ["/images/edits", "/audio/transcriptions", "/audio/translations"])
def test_the_text_of_a_form_is_its_prompt(path: str) -> None:
    made = plan_of(path, *form("file", prompt="Hi there", model="m"))
    assert (made.text, made.input, made.files) == ("You said: Hi there", 3, 1)


@pytest.mark.parametrize(
    ("path", "fields", "tokens"),
    [
        (CHAT, {"messages": [{"role": "system", "content": "Be very brief"}, USER]}, 4),
        (CHAT, {"messages": [USER], "tools": [{"function": {"name": "f"}}]}, 2),
        ("/responses", {"input": "Hi", "instructions": "Be very brief"}, 4),
        ("/messages", {"messages": [USER], "system": "Be very brief"}, 4),
        ("/embeddings", {"input": ["one two", "three"]}, 3),
        ("/embeddings", {"input": [[1, 2, 3], [4]]}, 4),
        ("/completions", {"prompt": [1, 2, 3]}, 3),
        (
            CHAT,
            {
                "messages": [
                    {"role": "user", "content": [{"image_url": {"url": "https://x/y.png"}}]}
                ]
            },
            1,
        ),
    ],
)
def test_input_is_a_token_a_word(path: str, fields: dict[str, Any], tokens: int) -> None:
    assert plan(path, **fields).input == tokens


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"max_tokens": 2}),
        (CHAT, {"max_tokens": 9, "max_completion_tokens": 2}),
        ("/messages", {"max_tokens": 2}),
        ("/responses", {"max_output_tokens": 2}),
        ("/completions", {"max_tokens": 2}),
    ],
)
def test_the_clients_cap_cuts_the_answer(path: str, fields: dict[str, Any]) -> None:
    text = "[echo text=one two three]"
    inputs = {"messages": [{"role": "user", "content": text}], "input": text, "prompt": text}
    made = plan(path, **inputs, **fields)
    assert (made.words, made.cut, made.output) == (("one", " two"), True, 2)


@pytest.mark.parametrize(
    ("said", "text", "output"),
    [
        ("Hi", "You said: Hi", 3),
        ("  ", "You said nothing.", 3),
        ("[echo words=3]", "word1 word2 word3", 3),
        ("[echo words=0]", "", 0),
        ("[echo text=a\n b]", "a\n b", 2),
        ("[echo words=3 text=]", "", 0),
        ("[echo tool=f]", "You said nothing.", 3),
        ("[echo tool=f text=]", "", 1),
    ],
)
def test_the_answer_is_made_from_the_text(said: str, text: str, output: int) -> None:
    made = plan("/completions", prompt=said)
    assert (made.text, made.output) == (text, output)


def test_an_answer_has_a_bound() -> None:
    assert len(plan("/completions", prompt="[echo words=999999]").words) == MAX_WORDS
    assert len(plan("/completions", prompt="[echo words=999999]", n=100).words) == MAX_WORDS // 100
    assert len(plan("/completions", prompt="x" * 10 * MAX_SAID).text) < 2 * MAX_SAID


def test_ids_are_of_the_text() -> None:
    ids = [plan("/completions", prompt=text).id for text in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 24
