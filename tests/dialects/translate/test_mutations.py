"""Every value of every golden case, taken out or made into something else: it is translated, or
refused; nothing else comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tokenomics import strictjson
from tokenomics.dialects.endpoints import ENDPOINTS, read
from tokenomics.dialects.sse import event, events
from tokenomics.dialects.texts import replaced
from tokenomics.dialects.translate import chat_to_messages, messages_to_chat
from tokenomics.dialects.translate.chat_stream import Stream
from tokenomics.errors import Refusal

HERE = Path(__file__).parent
REQUESTS = [case["chat"] for case in json.loads((HERE / "requests.json").read_text())]
ANSWERS = json.loads((HERE / "answers.json").read_text())
STREAMS = json.loads((HERE / "streams.json").read_text())
OTHERS: tuple[Any, ...] = (None, True, -1, 1.5, 10**30, "", "a", [], {}, [None], [{}], {"type": []})


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items: Any = ()
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutations(document: Any) -> Iterator[Any]:
    for path in places(document):
        for other in OTHERS:
            yield replaced(document, {path: other})


def code_of(work: Callable[[], object]) -> str:
    """How it was refused, "" if it was not."""
    try:
        work()
    except Refusal as refusal:
        return refusal.code
    return ""


@pytest.mark.parametrize("chat", REQUESTS, ids=range(len(REQUESTS)))
def test_requests(chat: dict[str, Any]) -> None:
    def work(mutated: Any) -> None:
        ask = read(ENDPOINTS["/chat/completions"], strictjson.dumps(mutated))
        made = chat_to_messages.translate(ask.document)
        read(ENDPOINTS["/messages"], strictjson.dumps(made))

    codes = {code_of(partial(work, mutated)) for mutated in mutations(chat)}
    assert codes <= {"", "invalid_request"}


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: str(case["case"]))
def test_answers_and_errors(case: dict[str, Any]) -> None:
    def work(body: bytes) -> None:
        json.loads(messages_to_chat.translate_error(body))
        json.loads(messages_to_chat.translate(body, 1))

    bodies = map(strictjson.dumps, mutations(case.get("message", {})))
    assert {code_of(partial(work, body)) for body in bodies} <= {"", "upstream_invalid"}


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: str(case["case"]))
def test_streams(case: dict[str, Any]) -> None:
    def work(parts: Sequence[bytes]) -> None:
        stream = Stream(1)
        made = b"".join([*map(stream.feed, parts), stream.end()])
        for _, data in events(made):
            assert not data or data == b"[DONE]" or json.loads(data)

    found = list(events("".join(case["messages"]).encode()))
    parts = [raw for raw, _ in found]
    for i, (_, data) in enumerate(found):
        documents = mutations(json.loads(data)) if data[-1:] == b"}" else ()
        for document in documents:
            changed = event(json.dumps(document).encode())
            code = code_of(partial(work, [*parts[:i], changed, *parts[i + 1 :]]))
            assert code in ("", "upstream_invalid")
