"""Screened streams: what clients get of golden streams with words in them, in any pieces."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.dialects.golden_streams import (
    ARGUMENTS,
    STREAMS,
    TEXT,
    Document,
    call,
    chat_channels,
    chat_event,
    chat_stream,
    documents,
    pieces,
    response_channels,
    response_stream,
)
from tests.dialects.screens import MASK, WORDS, Blocking, Masking, mask, mask_all, refuse
from tests.dialects.test_jsonscreen import as_a_whole
from tokenomics import strictjson
from tokenomics.dialects.screened import FORMS, ScreenedStream
from tokenomics.dialects.sse import event, events
from tokenomics.dialects.streams import FORMS as READER_FORMS
from tokenomics.dialects.streams import StreamReader
from tokenomics.errors import Refusal


def screen(name: str, **how: Any) -> ScreenedStream:
    return ScreenedStream(FORMS[name], Masking, mask_all, **how)


def through(name: str, stream: bytes, **how: Any) -> bytes:
    screens = screen(name, **how)
    return screens.feed(stream) + screens.end()


each_form = pytest.mark.parametrize("name", STREAMS)
SIZES = pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])


def expected_of(text: str) -> Any:
    """A channel's text masked as a whole; of arguments the document."""
    return as_a_whole(json.loads(text)) if text.startswith("{") else mask(text)


def shown_of(text: str, before: str) -> Any:
    return json.loads(text) if before.startswith("{") else text


@SIZES
@each_form
def test_each_text_is_masked_as_if_it_had_come_whole(name: str, size: int) -> None:
    make, channels = STREAMS[name]
    stream = make(size)
    before, after = channels(documents(stream)), channels(documents(through(name, stream)))
    assert before.keys() == after.keys()
    for key, text in before.items():
        assert shown_of(after[key], text) == expected_of(text), key


@SIZES
@each_form
def test_no_word_is_left_in_any_event(name: str, size: int) -> None:
    stream = STREAMS[name][0](size)
    out = through(name, stream)
    sealed = re.compile(rb'"(?:signature|obfuscation)":"secret"')
    assert sealed.search(stream) or name in ("openai", "events")
    for word in WORDS:
        assert word.encode() in stream or word.startswith("4111") or size < len(word)
        assert word.encode() not in sealed.sub(b"", out)
    assert b'"token"' not in out


@SIZES
@each_form
def test_events_keep_their_order_ids_and_names(name: str, size: int) -> None:
    stream = STREAMS[name][0](size)
    before, after = list(events(stream)), list(events(through(name, stream)))

    def outline(raw: bytes, data: bytes) -> Any:
        if not data.startswith(b"{"):
            return raw
        document = json.loads(data)
        names = "type item_id output_index content_index summary_index index id".split()
        outer = [line for line in raw.splitlines() if not line.startswith(b"data:")]
        return outer, [document.get(key) for key in names]

    left = iter(outline(*found) for found in after)
    for found in before:  # each is there, in order; between them may stand ours
        wanted = outline(*found)
        assert any(wanted == other for other in left), wanted
    assert len(after) - len(before) <= len(STREAMS[name][1](documents(stream)))


@SIZES
def test_sequence_numbers_rise_by_one(size: int) -> None:
    found = documents(through("responses", response_stream(size)))
    assert [d["sequence_number"] for d in found] == list(range(len(found)))


@SIZES
def test_recaps_are_what_the_deltas_said(size: int) -> None:
    found = documents(through("responses", response_stream(size)))
    said = response_channels(found)
    text, arguments = (
        said[f"response.{k}.delta", i]
        for k, i in (("output_text", "msg_1"), ("function_call_arguments", "fc_1"))
    )
    whole = found[-1]["response"]["output"]
    assert whole[0]["content"][0]["text"] == text == mask(TEXT)
    assert json.loads(whole[1]["arguments"]) == json.loads(arguments)
    done = [d for d in found if d["type"] == "response.function_call_arguments.done"]
    assert json.loads(done[0]["arguments"]) == json.loads(arguments)


def test_the_clients_own_instructions_are_shown_back() -> None:
    out = through("responses", response_stream(), instructions=("mine",))
    shown = [d["response"]["instructions"] for d in documents(out) if "response" in d]
    assert shown == ["mine", "mine"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(STREAMS)),
    st.integers(1, 9),
    st.lists(st.integers(0, 20_000), max_size=30),
    st.booleans(),
)
def test_network_reads_make_no_difference(
    name: str, size: int, cuts: list[int], crlf: bool
) -> None:
    stream = STREAMS[name][0](size)
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
    bounds = [0, *sorted(c for c in cuts if c < len(stream)), len(stream)]
    reader = StreamReader(READER_FORMS[name], usage_asked=True)
    screens = screen(name)
    out = b""
    for a, b in itertools.pairwise(bounds):
        out += screens.feed(reader.feed(stream[a:b]))
    out += screens.feed(reader.end()) + screens.end()
    assert reader.done
    assert documents(out) == documents(through(name, STREAMS[name][0](size)))


@each_form
def test_what_is_refused_leaves_nothing_of_a_word_before(name: str) -> None:
    for size in (1, 3, 1000):
        make, channels = STREAMS[name]
        screens = ScreenedStream(FORMS[name], Blocking, refuse)
        blocks = [raw for raw, _ in events(make(size))]
        out: list[bytes] = []
        with pytest.raises(Refusal):
            out.extend(map(screens.feed, blocks))
        assert out or size == 1000
        for text in channels(documents(b"".join(out))).values():
            for word in WORDS:
                assert not any(text.endswith(word[:n]) for n in range(1, len(word))), text
                assert word not in text


# As OpenAI's own client reads it


@SIZES
def test_openais_client_reads_a_chat(size: int) -> None:
    state = ChatCompletionStreamState()
    for document in documents(through("openai", chat_stream(size))):
        state.handle_chunk(ChatCompletionChunk.model_validate(document, strict=True))
    first, second, third = state.get_final_completion().choices
    assert first.message.content == mask(TEXT)
    assert third.message.refusal == mask(TEXT)
    calls = second.message.tool_calls or []
    assert [(call.id, call.function.name) for call in calls] == [("call_0", "f0"), ("call_1", "f1")]
    for called in calls:
        assert json.loads(called.function.arguments) == expected_of(ARGUMENTS)


@SIZES
def test_openais_client_reads_a_response(size: int) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for document in documents(through("responses", response_stream(size))):
        read = adapter.validate_python(document)
        assert read.type == document["type"]


# Events of other kinds


@pytest.mark.parametrize("finish", ["", "null"])
def test_a_choice_goes_on_until_it_is_finished(finish: str) -> None:
    out = through("openai", chat_stream(3, finish))
    assert chat_channels(documents(out))[0, "content"] == mask(TEXT)


def chat(*deltas: Document, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(event(strictjson.dumps(chat_event(d))) for d in deltas) + end


def content(stream: bytes) -> str:
    """What the first choice says in the events of `chat`."""
    own = b"".join(raw for raw, data in events(stream) if b"chatcmpl" in data)
    return chat_channels(documents(own)).get((0, "content"), "")


@pytest.mark.parametrize(
    "between",
    [
        b": comment\n\n",
        b"data: ping\n\n",
        b"data: 5\n\n",
        b"event: ping\ndata: {}\n\n",
        b"\n",
        b"id: 5\n\n",
        event(b'{"choices": [], "usage": null}'),
        event(b'{"choices": "odd"}'),
        event(b'{"choices": [5, {"delta": 5}, {"delta": {"content": 5, "tool_calls": [5]}}]}'),
        event(b'{"choices": [{"index": {}, "delta": {"content": "x"}}]}'),
        event(b"{"),
        event(b"[" * 3000),
    ],
    ids=repr,
)
def test_what_comes_between_two_pieces_of_a_word_hides_nothing(between: bytes) -> None:
    stream = chat({"content": "the sec"}, end=between) + chat({"content": "ret"})
    out = through("openai", stream)
    assert content(out) == f"the {MASK}"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data: the secret\n\n", f"data: the {MASK}\n\n".encode()),
        (
            b"event: x\nid: 1\ndata: a\ndata: secret\n\n",
            f"event: x\nid: 1\ndata: a\ndata: {MASK}\n\n".encode(),
        ),
        (b'data: ["a secret", 5, {"secret": 1}]\n\n', b'data: ["a [X\\"]",5,{"[X\\"]":1}]\n\n'),
        (b"data: [1, {}]\n\n", b"data: [1, {}]\n\n"),
        (b"data: [DONE]\r\n\r\n", b"data: [DONE]\r\n\r\n"),
        (b": a secret in a comment\n\n", b":\n\n"),
        (b": nothing\n\n", b": nothing\n\n"),
        (b"event: secret\nid: 1\ndata: x\n\n", b"id: 1\ndata: x\n\n"),
        (b"database: secret\ndata: x\n\n", b"data: x\n\n"),
        (b"id: secret\nretry: 5\n\n", b"retry: 5\n\n"),
        (b"event: x\rdata: secret\n\n", f"event: x\ndata: {MASK}\n\n".encode()),
        (b"\xef\xbb\xbfdata: secret\n\n", f"data: {MASK}\n\n".encode()),
        (b'data: {"a":\ndata: "secret"}\n\n', b'data: {"a":"[X\\"]"}\n\n'),
        (b'id: 7\ndata: {"a": "secret"}\n\n', b'id: 7\ndata: {"a":"[X\\"]"}\n\n'),
        (b'event: x\rdata: {"a": "secret"}\n\n', b'event: x\ndata: {"a":"[X\\"]"}\n\n'),
        (
            b'data: {"error": {"message": "secret"}}\n\n',
            b'data: {"error":{"message":"[X\\"]"}}\n\n',
        ),
        (b'data: {"a": "\\ud800"}\n\n', b'data: {"a":"?"}\n\n'),
        (b'data: {"a": "\\ud83d\\ude00"}\n\n', 'data: {"a":"😀"}\n\n'.encode()),
        (
            b'data: {"arguments": "{\\"a\\": \\"\\\\u0073ecret\\"}"}\n\n',
            b'data: {"arguments":"{\\"a\\":\\"[X\\\\\\"]\\"}"}\n\n',
        ),
    ],
)
def test_events_that_no_dialect_knows(raw: bytes, expected: bytes) -> None:
    for name in FORMS:
        assert through(name, raw) == expected


def test_a_stream_that_ends_without_its_end_still_gives_what_was_held() -> None:
    assert content(through("openai", chat({"content": "secre"}, end=b""))) == "secre"


def test_text_that_comes_with_the_end_of_its_choice_stays_in_its_event() -> None:
    last = chat_event({"content": "secre"}, finish_reason="stop")
    out = through("openai", event(strictjson.dumps(last)))
    assert [d["choices"][0]["delta"]["content"] for d in documents(out)] == ["secre"]
    assert len(documents(out)) == 1


def test_an_added_event_repeats_nothing_but_what_it_must() -> None:
    document = chat_event(
        {
            "role": "assistant",
            "content": "secre",
            **call(0, "{}", id="c", type="function", name="f"),
        },
        usage={"prompt_tokens": 1, "completion_tokens": 1},
        note="of alice@example.com",
    )
    found = documents(through("openai", event(strictjson.dumps(document)) + b"data: [DONE]\n\n"))
    assert found[1]["choices"] == [
        {"delta": {"content": "secre"}, "index": 0, "finish_reason": None}
    ]
    assert "usage" not in found[1]
    assert {d["note"] for d in found} == {f"of {MASK}"}


def test_thinking_in_lists_of_parts_is_one_text() -> None:
    deltas = [
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
        for piece in pieces("a secret", 2)
    ]
    found = documents(through("openai", chat(*deltas, {"content": "x"})))
    parts = [p for d in found for p in d["choices"][0]["delta"]["content"] if isinstance(p, dict)]
    assert "".join(p["thinking"][0]["text"] for p in parts) == f"a {MASK}"


def test_legacy_completions_and_spoken_text() -> None:
    chunks = [
        {"choices": [{"index": 0, "text": p, "logprobs": {"tokens": [p]}}]} for p in ("se", "cret")
    ]
    out = through("openai", b"".join(event(strictjson.dumps(c)) for c in chunks))
    assert "".join(d["choices"][0]["text"] for d in documents(out)) == MASK
    assert b"tokens" not in out
    spoken = [{"audio": {"id": "a", "transcript": p}} for p in ("se", "cre")]
    found = documents(through("openai", chat(*spoken, {"audio": {"data": "secret"}})))
    audio = [d["choices"][0]["delta"]["audio"] for d in found]
    assert "".join(a.get("transcript", "") for a in audio) == "secre"
    assert [a["data"] for a in audio if "data" in a] == ["secret"]  # sound


def test_calls_without_an_index_are_whole_documents_one_after_another() -> None:
    calls = [
        {"tool_calls": [{"function": {"arguments": a}}]} for a in ('{"a":"secret"}', '{"b":1}')
    ]
    found = documents(through("openai", chat(*calls)))
    given = [d["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for d in found]
    assert given == ['{"a":"[X\\"]"}', '{"b":1}']


def test_the_old_function_call_is_screened() -> None:
    deltas = [{"function_call": {"name": "f", "arguments": p}} for p in ('{"a":"sec', 'ret"}')]
    found = documents(through("openai", chat(*deltas)))
    given = "".join(d["choices"][0]["delta"]["function_call"]["arguments"] for d in found)
    assert json.loads(given) == {"a": MASK}


def test_the_items_of_an_array_are_read_as_events() -> None:
    parts = [[chat_event({"content": text})] for text in ("a sec", "ret")]
    last = [chat_event({}, finish_reason="stop")]
    out = through("openai", b"".join(event(strictjson.dumps(d)) for d in [*parts, last]))
    found = [json.loads(data) for _, data in events(out)]
    flat = [d for item in found for d in (item if isinstance(item, list) else [item])]
    assert "".join(d["choices"][0]["delta"].get("content", "") for d in flat) == f"a {MASK}"


@pytest.mark.parametrize("name", ["responses", "events"])
def test_a_delta_that_is_an_object_is_joined(name: str) -> None:
    kind = {"type": "response.reasoning.delta", "item_id": "r", "output_index": 0}
    parts = [{"type": "t", "content": [{"index": 0, "text": text}]} for text in ("a sec", "ret se")]
    found = documents(
        through(name, b"".join(event(strictjson.dumps({**kind, "delta": p})) for p in parts))
    )
    assert "".join(d["delta"]["content"][0]["text"] for d in found) == f"a {MASK} se"
    assert [d["delta"]["type"] for d in found] == ["t", "t", "t"]


def test_a_delta_with_arguments_is_joined_as_json() -> None:
    deltas = [{"arguments": text, "n": {"secret": "x"}} for text in ('{"a": "sec', 'ret"}')]
    raw = [event(strictjson.dumps({"type": "response.x.delta", "delta": d})) for d in deltas]
    found = documents(through("responses", b"".join(raw)))
    assert json.loads("".join(d["delta"]["arguments"] for d in found)) == {"a": MASK}
    assert all("secret" not in json.dumps(d) for d in found)


def test_sound_in_pieces_is_left_alone() -> None:
    for name, document in (
        ("responses", {"type": "response.audio.delta", "delta": "secret"}),
        ("events", {"type": "speech.audio.delta", "audio": "secret"}),
    ):
        raw = event(strictjson.dumps(document))
        assert through(name, raw) == raw


deltas = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["secret", "x", "0", "text_delta"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta index text content type content_block tool_calls function audio"
                " arguments function_call finish_reason item_id response sequence_number error"
                " reasoning_details transcript logprobs".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
kinds = st.sampled_from(
    "content_block_start content_block_delta content_block_stop message_stop error"
    " response.output_text.delta response.output_text.done response.completed x.delta".split()
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(list(FORMS)),
    st.lists(
        st.dictionaries(
            st.sampled_from("choices delta content_block index response".split()), deltas
        )
        | st.fixed_dictionaries({"type": kinds, "delta": deltas, "content_block": deltas}),
        max_size=4,
    ),
)
def test_odd_events_go_through(name: str, found: list[Document]) -> None:
    out = through(name, b"".join(event(strictjson.dumps(d)) for d in found))
    assert len(documents(out)) >= len(found)
