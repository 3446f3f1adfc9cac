"""Chat completions, their streams and their errors as messages: golden cases, in any pieces, and as
Anthropic's SDK reads them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics import strictjson
from tokenomics.dialects.answers import answer_texts, text_of, usage_of
from tokenomics.dialects.sse import MAX_EVENT, EventTooLong, event, events
from tokenomics.dialects.streams import ANTHROPIC, StreamReader
from tokenomics.dialects.translate import messages_request
from tokenomics.dialects.translate.chat_answer import translate, translate_error
from tokenomics.dialects.translate.message_stream import MAX_CALLS, MAX_KEPT, MAX_LOOKS, Stream
from tokenomics.errors import Refusal

Document = dict[str, Any]
NOW = 1_700_000_000
HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "reverse_answers.json").read_text())
STREAMS = json.loads((HERE / "reverse_streams.json").read_text())
TOLD = [case for case in STREAMS if "messages" in case]
WHOLE = [case for case in TOLD if case["case"].split(":")[0] not in ("broken", "error")]
BROKEN = [case for case in TOLD if case not in WHOLE]
HELLO: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}


def name_of(case: Document) -> str:
    return str(case["case"])


def having(key: str, cases: list[Document]) -> Any:
    return pytest.mark.parametrize("case", [case for case in cases if key in case], ids=name_of)


def body_of(case: Document) -> bytes:
    return case["body"].encode() if "body" in case else strictjson.dumps(case["chat"])


def fed(data: bytes, cuts: list[int]) -> bytes:
    """A stream's translation, fed in pieces."""
    stream = Stream(NOW)
    places = [0, *sorted(cuts), len(data)]
    return b"".join([stream.feed(data[a:b]) for a, b in pairwise(places)]) + stream.end()


def streamed(case: Document) -> bytes:
    return fed("".join(case["chat"]).encode(), [])


def documents(stream: bytes) -> list[Document]:
    return [json.loads(data) for _, data in events(stream) if data]


def check_blocks(found: list[Document]) -> None:
    """One is open at a time, and they are numbered as they open."""
    opened, next_ = None, 0
    for document in found:
        kind = document["type"].removeprefix("content_block_")
        if kind == "start":
            assert (opened, document["index"]) == (None, next_)
            opened, next_ = next_, next_ + 1
        elif kind in ("delta", "stop"):
            assert document["index"] == opened
            opened = None if kind == "stop" else opened
        elif kind in ("message_delta", "message_stop"):
            assert opened is None


def client(body: bytes, type_: str, status: int = 200) -> anthropic.Anthropic:
    """One whose answer is given."""
    head = {"content-type": type_}
    answer = httpx2.MockTransport(lambda _: httpx2.Response(status, headers=head, content=body))
    http = httpx2.Client(transport=answer, trust_env=False)
    return anthropic.Anthropic(api_key="x", base_url="http://sdk", max_retries=0, http_client=http)


# Whole answers


@having("message", ANSWERS)
def test_an_answer_is_translated(case: Document) -> None:
    assert json.loads(translate(body_of(case), NOW)) == case["message"]


@having("message", ANSWERS)
def test_an_answer_costs_and_says_what_it_did(case: Document) -> None:
    made = translate(body_of(case), NOW)
    assert text_of(body_of(case)) in ("", text_of(made))
    before, after = usage_of(body_of(case)), usage_of(made)
    assert after is not None
    if before is not None:
        assert after[:3] == before[:3]


@having("message", ANSWERS)
def test_an_answer_is_a_message_to_the_sdk(case: Document) -> None:
    with client(translate(body_of(case), NOW), "application/json") as sdk:
        found = sdk.messages.create(**HELLO)
    assert found.to_dict() == case["message"]


@having("message", ANSWERS)
def test_an_answer_can_be_sent_back_with_the_next_turn(case: Document) -> None:
    content = case["message"]["content"]
    uses = [block for block in content if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "x"} for use in uses]
    said = [{"role": "assistant", "content": content}] if content else []
    turn = {"role": "user", "content": [*results, {"type": "text", "text": "b"}]}
    made = messages_request.translate({"model": "m", "messages": [*HELLO["messages"], *said, turn]})
    answered = [m["tool_call_id"] for m in made["messages"] if m["role"] == "tool"]
    assert answered == [use["id"] for use in uses]


@having("refused", ANSWERS)
def test_what_is_no_answer_is_not_passed_on(case: Document) -> None:
    with pytest.raises(Refusal) as caught:
        translate(body_of(case), NOW)
    assert (caught.value.code, caught.value.message) == ("upstream_invalid", case["refused"])


@having("error", ANSWERS)
def test_an_error_is_translated(case: Document) -> None:
    made = translate_error(body_of(case), case["status"])
    assert json.loads(made) == case["error"]
    with (
        client(made, "application/json", case["status"]) as sdk,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        sdk.messages.create(**HELLO)
    assert (caught.value.status_code, caught.value.body) == (case["status"], case["error"])


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"error":{}}', b"1"])
def test_what_is_no_error_of_openai_s_stays_as_it_is(body: bytes) -> None:
    assert translate_error(body, 502) == body


# Streams


@pytest.mark.parametrize("line", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("size", [None, 1, 7, 100])
@having("messages", STREAMS)
def test_a_stream_is_translated_in_any_pieces(case: Document, size: int | None, line: str) -> None:
    data = "".join(case["chat"]).replace("\n", line).encode()
    expected = "".join([one + "\n\n" for one in case["messages"]])
    assert fed(data, list(range(size, len(data), size)) if size else []).decode() == expected


@given(data=st.data())
def test_where_bytes_are_cut_changes_nothing(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(TOLD))
    sent = "".join(case["chat"]).encode()
    cuts = data.draw(st.lists(st.integers(0, len(sent))))
    assert fed(sent, cuts) == streamed(case)


@pytest.mark.parametrize("size", [None, 1])
@having("refused", STREAMS)
def test_what_is_no_event_ends_a_stream(case: Document, size: int | None) -> None:
    data = "".join(case["chat"]).encode()
    with pytest.raises(Refusal) as caught:
        fed(data, list(range(len(data))) if size else [])
    assert (caught.value.code, caught.value.message) == ("upstream_invalid", case["refused"])


@pytest.mark.parametrize("case", TOLD, ids=name_of)
def test_one_block_is_open_at_a_time(case: Document) -> None:
    check_blocks(documents(streamed(case)))


@pytest.mark.parametrize("case", WHOLE, ids=name_of)
def test_a_whole_stream_ends_as_anthropic_s_do(case: Document) -> None:
    reader = StreamReader(ANTHROPIC, usage_asked=True)
    made = streamed(case)
    assert reader.feed(made) == made
    assert (reader.done, reader.failed) == (True, False)
    names = kinds(made)
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])


@pytest.mark.parametrize("case", BROKEN, ids=name_of)
def test_a_stream_that_is_not_whole_does_not_end(case: Document) -> None:
    reader = StreamReader(ANTHROPIC, usage_asked=True)
    reader.feed(streamed(case))
    assert not reader.done
    assert reader.failed == case["case"].startswith("error")


@pytest.mark.parametrize("case", WHOLE, ids=name_of)
def test_a_stream_is_a_message_to_the_sdk(case: Document) -> None:
    """The helper puts together what the pieces say, and parses the inputs of calls."""
    made = streamed(case)
    blocks: list[str] = []
    for found in documents(made):
        if found["type"] == "content_block_start":
            blocks.append("")
        elif found["type"] == "content_block_delta":
            delta = found["delta"]
            blocks[-1] += delta.get("text") or delta.get("thinking") or delta.get("partial_json")
    with client(made, "text/event-stream") as sdk, sdk.messages.stream(**HELLO) as helper:
        final = helper.get_final_message()
    last = documents(made)[-2]
    assert (final.stop_reason, final.usage.output_tokens) == (
        last["delta"]["stop_reason"],
        last["usage"]["output_tokens"],
    )
    for block, said in zip(final.content, blocks, strict=True):
        if block.type == "tool_use" and final.stop_reason != "max_tokens":
            assert block.input == json.loads(said or "{}")
        elif block.type in ("text", "thinking"):
            assert getattr(block, block.type) == said


def test_an_error_within_a_stream_is_one_to_the_sdk() -> None:
    case = next(case for case in STREAMS if case["case"] == "error: with a status")
    with (
        client(streamed(case), "text/event-stream") as sdk,
        sdk.messages.stream(**HELLO) as helper,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        helper.get_final_message()
    assert "Slow down" in str(caught.value)


@pytest.mark.parametrize("case", TOLD, ids=name_of)
def test_a_stream_s_texts_are_where_rules_look(case: Document) -> None:
    for found in documents(streamed(case)):
        texts = {text.value for text in answer_texts(found)}
        delta = found.get("delta", {})
        said = [delta.get(key) for key in ("text", "thinking", "partial_json")]
        assert {text for text in said if text} <= texts


def test_what_a_stream_has_cost_is_known_where_the_provider_says_so() -> None:
    case = next(case for case in STREAMS if case["case"] == "the usage in every chunk")
    stream = Stream(NOW)
    stream.feed(case["chat"][0].encode())
    assert stream.usage is not None
    assert stream.usage[:2] == (100, 1)
    stream.feed("".join(case["chat"][1:]).encode())
    assert stream.usage[:3] == (100, 5, 90)


def test_what_nobody_counted_is_no_cost() -> None:
    case = next(case for case in STREAMS if case["case"] == "no usage")
    stream = Stream(NOW)
    stream.feed("".join(case["chat"]).encode())
    assert stream.usage is None


def call(index: int, arguments: str, **more: Any) -> bytes:
    """A piece of a call."""
    made = {"index": index, **more, "function": {"name": "f", "arguments": arguments}}
    return event(strictjson.dumps({"choices": [{"delta": {"tool_calls": [made]}}]}))


def kinds(made: bytes) -> list[str]:
    return [found["type"].removeprefix("content_block_") for found in documents(made)]


def test_a_call_that_is_whole_makes_room_for_the_next() -> None:
    stream = Stream(NOW)
    assert kinds(stream.feed(call(0, '{"a":{}', id="call_1"))) == [
        "message_start",
        "start",
        "delta",
    ]
    assert kinds(stream.feed(call(1, "", id="call_2"))) == []
    assert kinds(stream.feed(call(0, "}"))) == ["delta"]
    assert kinds(stream.feed(call(1, '{"b":'))) == ["stop", "start", "delta"]
    assert kinds(stream.feed(call(1, "1}") + call(0, " \n"))) == ["delta"]
    text = event(b'{"choices":[{"delta":{"content":"a"}}]}')
    assert kinds(stream.feed(text)) == ["stop", "start", "delta"]
    with pytest.raises(Refusal, match="goes on after its end"):
        stream.feed(call(0, "x"))


def test_a_call_that_never_becomes_whole_is_looked_at_a_few_times() -> None:
    stream = Stream(NOW)
    stream.feed(call(0, "{", id="call_1"))
    for _ in range(MAX_LOOKS):
        stream.feed(call(0, '"}') + call(1, "{}", id="call_2"))
    assert kinds(stream.feed(call(0, "}") + call(2, "{}", id="call_3"))) == ["delta"]


def test_an_event_may_not_be_endless() -> None:
    stream = Stream(NOW)
    stream.feed(b"data: " + b"x" * (MAX_EVENT - 6))
    with pytest.raises(EventTooLong):
        stream.feed(b"x")


def test_a_call_may_not_be_endless() -> None:
    """What waits, too, is bounded."""
    stream = Stream(NOW)
    for index in range(4):
        stream.feed(call(index, "x" * (MAX_KEPT // 4), id=f"call_{index}"))
    with pytest.raises(EventTooLong):
        stream.feed(call(1, "x"))


def test_calls_may_not_be_endless() -> None:
    stream = Stream(NOW)
    for index in range(MAX_CALLS):
        stream.feed(call(index, "", id=f"call_{index}"))
    with pytest.raises(Refusal, match="more than 1000 tool calls"):
        stream.feed(call(MAX_CALLS, "", id="call_x"))
