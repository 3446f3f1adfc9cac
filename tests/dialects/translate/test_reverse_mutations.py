"""Every value of every golden case of the way back, taken out or made into something else: it is
translated, or refused; nothing else comes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.translate.test_mutations import code_of, mutations
from tests.dialects.translate.test_reverse_answers import check_blocks, documents
from tokenomics import strictjson
from tokenomics.dialects.endpoints import ENDPOINTS, read
from tokenomics.dialects.sse import event, events
from tokenomics.dialects.translate import chat_answer, messages_request
from tokenomics.dialects.translate.message_stream import Stream

HERE = Path(__file__).parent
REQUESTS = [case["messages"] for case in json.loads((HERE / "reverse_requests.json").read_text())]
ANSWERS = json.loads((HERE / "reverse_answers.json").read_text())
STREAMS = json.loads((HERE / "reverse_streams.json").read_text())


@pytest.mark.parametrize("messages", REQUESTS, ids=range(len(REQUESTS)))
def test_requests(messages: dict[str, Any]) -> None:
    def work(mutated: Any) -> None:
        ask = read(ENDPOINTS["/messages"], strictjson.dumps(mutated))
        made = messages_request.translate(ask.document, 0, "max_completion_tokens")
        read(ENDPOINTS["/chat/completions"], strictjson.dumps(made))

    codes = {code_of(partial(work, mutated)) for mutated in mutations(messages)}
    assert codes <= {"", "invalid_request"}


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: str(case["case"]))
def test_answers_and_errors(case: dict[str, Any]) -> None:
    def work(body: bytes) -> None:
        json.loads(chat_answer.translate_error(body, 400))
        json.loads(chat_answer.translate(body, 1))

    bodies = map(strictjson.dumps, mutations(case.get("chat", {})))
    assert {code_of(partial(work, body)) for body in bodies} <= {"", "upstream_invalid"}


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: str(case["case"]))
def test_streams(case: dict[str, Any]) -> None:
    def work(parts: Sequence[bytes]) -> None:
        stream = Stream(1)
        check_blocks(documents(b"".join([*map(stream.feed, parts), stream.end()])))

    found = list(events("".join(case["chat"]).encode()))
    parts = [raw for raw, _ in found]
    for i, (_, data) in enumerate(found):
        for document in mutations(json.loads(data)) if data[-1:] == b"}" else ():
            changed = event(json.dumps(document).encode())
            code = code_of(partial(work, [*parts[:i], changed, *parts[i + 1 :]]))
            assert code in ("", "upstream_invalid")
