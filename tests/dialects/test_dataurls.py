"""Texts in data URLs: opened, and closed again with another text."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.test_texts import NOTHING
from tokenomics.dialects.dataurls import closed, decoded, is_text, opened
from tokenomics.dialects.texts import OPENED, Text, Words, replaced, walk

CODED = base64.b64encode("héllo?>".encode()).decode()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"data:text/plain;base64,{CODED}", "héllo?>"),
        (f"DATA:Text/CSV;charset=utf-8;Base64,{CODED.rstrip('=')}", "héllo?>"),
        (f"data:application/json;base64, {CODED[:4]}\n{CODED[4:]}", "héllo?>"),
        (f"data:;base64,{CODED.replace('/', '_').replace('+', '-')}", "héllo?>"),
        ("data:,a%20b%40c", "a b@c"),
        ("data:image/svg+xml,<svg/>", "<svg/>"),
        ("data:text/plain;base64,/w==", "\ufffd"),
        ("data:text/plain;base64,//5hAA==", "\ufeffa"[1:]),
        ("data:image/png;base64,aGk=", None),
        ("data:application/pdf;base64,aGk=", None),
        ("https://a.example/data:text/plain,x", None),
        ("text", None),
        ("data:text/plain;base64,a", ""),
        ("data:text/plain;base64,aGk=IGE=aGk", "hi ahi"),
        ("data:text/plain;base64,aABpAA==", "hi"),
        ("data:text/plain;base64,AGgAaQ==", "hi"),
    ],
)
def test_what_is_opened(url: str, text: str | None) -> None:
    assert opened(url) == text


@pytest.mark.parametrize("head", ["data:text/plain;base64,", "data:text/csv,", "data:;base64,", ""])
@given(text=st.text("aé😀 ,;%\n"))
def test_what_is_closed_opens_to_the_same(head: str, text: str) -> None:
    made = closed(head, text)
    assert (opened(made) if head else decoded(made)) == text


def test_types_of_text() -> None:
    assert is_text("text/x-python")
    assert is_text("application/ld+json")
    assert not is_text("image/png")
    assert not is_text(None)


@pytest.mark.parametrize(
    "node",
    [
        {"image_url": f"data:text/plain;base64,{CODED}"},
        {"url": f"data:text/plain;base64,{CODED}"},
        {"file_data": f"data:text/plain;base64,{CODED}"},
        {"data": CODED, "type": "base64", "media_type": "text/plain"},
    ],
    ids=["picture", "url", "file", "source"],
)
def test_files_of_text_are_found_and_replaced(node: dict[str, Any]) -> None:
    key = next(iter(node))
    words = Words(frozenset(), frozenset({"url"}))
    text = Text((key, OPENED), "héllo?>")
    assert text in walk(node, (), words)
    assert Text((key, OPENED), "x") in walk(replaced(node, {text.path: "x"}), (), words)


def test_a_picture_stays_one() -> None:
    node = {"data": CODED, "type": "base64", "media_type": "image/png", "file_data": CODED}
    assert [text.path[0] for text in walk(node, (), NOTHING) if OPENED in text.path] == []
