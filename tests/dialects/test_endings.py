"""The last words of a stream that is cut: wherever that is, SDKs find it whole, and too long."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.dialects.golden_streams import Document, chat_events, message_events, response_events
from tokenomics import strictjson
from tokenomics.dialects.endings import Ending, ending
from tokenomics.dialects.sse import event, events, named_event
from tokenomics.dialects.usage import Usage

SPENT = Usage(7, 90)
SIZE = 30  # characters of a golden stream's pieces: few events, each kind of them
CHOICES = 3  # of the golden chat
CHAT_OBJECT = "chat.completion.chunk"
COMMENT = b": a comment\n\n"
CHAT = [event(strictjson.dumps(d)) for d in chat_events(SIZE)][:-1]  # the last one is its usage
MESSAGE = [named_event(d["type"], strictjson.dumps(d)) for d in message_events(SIZE)][:-2]
RESPONSE = [named_event(d["type"], strictjson.dumps(d)) for d in response_events(SIZE)][:-1]


def completion_event(index: int, text: str, finish: str | None = None) -> bytes:
    """Of the completions that came before chat."""
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return event(strictjson.dumps({**head, "choices": [choice]}))


# Ways in which the relay shows events that pass.


def one_by_one(found: Sequence[bytes]) -> list[bytes]:
    return list(found)


def at_once(found: Sequence[bytes]) -> list[bytes]:
    return [b"".join(found)]


def in_chunks(found: Sequence[bytes]) -> list[bytes]:
    """As they stand on the wire: the framing of HTTP chunks between events, three at a time."""
    framed = [b"%x\r\n%b\r\n" % (len(one), one) for one in found]
    return [b"".join(framed[i : i + 3]) for i in range(0, len(framed), 3)]


def by_crlf(found: Sequence[bytes]) -> list[bytes]:
    return [one.replace(b"\n", b"\r\n") for one in found]


FEEDINGS = [one_by_one, at_once, in_chunks, by_crlf]
each_feeding = pytest.mark.parametrize("feeding", FEEDINGS)
Feeding = Callable[[Sequence[bytes]], list[bytes]]


def made(form: str, choices: int = 1, *, usage_asked: bool = False) -> Ending:
    found = ending(form, choices, usage_asked=usage_asked)
    assert found is not None
    return found


def cut(follower: Ending, feeding: Feeding, passed: Sequence[bytes]) -> bytes:
    """A stream that was cut: what had passed, and its last words."""
    for block in feeding(passed):
        follower.watch(block)
    return b"".join(passed) + follower.stop(SPENT)


def documents(stream: bytes) -> list[Document]:
    return [json.loads(data) for _, data in events(stream) if data.startswith(b"{")]


# Clients whose answer is a given stream.


def _answer(stream: bytes) -> httpx2.MockTransport:
    headers = {"content-type": "text/event-stream"}
    return httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))


def of_openai(stream: bytes) -> openai.OpenAI:
    http = httpx2.Client(transport=_answer(stream), trust_env=False)
    return openai.OpenAI(api_key="x", base_url="http://sdk", max_retries=0, http_client=http)


def of_anthropic(stream: bytes) -> anthropic.Anthropic:
    http = httpx2.Client(transport=_answer(stream), trust_env=False)
    return anthropic.Anthropic(api_key="x", base_url="http://sdk", max_retries=0, http_client=http)


HELLO: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


# Chat and completions


@each_feeding
@pytest.mark.parametrize("at", range(1, len(CHAT) + 1))
def test_a_chat_ends_by_length_in_every_choice_that_is_open(feeding: Feeding, at: int) -> None:
    """Texts, calls whose arguments are half, refusals; of some, a choice has ended by itself."""
    stream = cut(made("openai", CHOICES), feeding, CHAT[:at])
    assert stream.endswith(b"data: [DONE]\n\n")
    with of_openai(stream) as client:
        found = list(client.chat.completions.create(**HELLO, n=CHOICES, stream=True))
    reasons = [(c.index, c.finish_reason) for d in found for c in d.choices if c.finish_reason]
    own = [(0, "stop"), (1, "tool_calls"), (2, "stop")][: max(CHOICES - len(CHAT) + at, 0)]
    assert reasons == own + [(index, "length") for index in range(len(own), CHOICES)]
    assert {(d.id, d.object, d.model) for d in found} == {("chatcmpl-1", CHAT_OBJECT, "m")}
    assert all(c.delta is not None for d in found for c in d.choices)


def test_a_chat_that_was_cut_is_too_long_to_the_sdk_s_helper() -> None:
    passed = [chunk for chunk in CHAT if b'"index":0' in chunk][:4]
    with (
        of_openai(cut(made("openai"), one_by_one, passed)) as client,
        client.chat.completions.stream(**HELLO) as helper,
        pytest.raises(openai.LengthFinishReasonError) as failed,
    ):
        helper.get_final_completion()
    assert failed.value.completion.choices[0].finish_reason == "length"


@pytest.mark.parametrize("asked", [False, True])
def test_a_chat_tells_usage_to_who_asked(asked: bool) -> None:
    stream = cut(made("openai", usage_asked=asked), one_by_one, CHAT[:2])
    with of_openai(stream) as client:
        found = list(client.chat.completions.create(**HELLO, stream=True))
    told = [(d.choices, d.usage.total_tokens) for d in found if d.usage]
    assert told == ([([], SPENT.total)] if asked else [])
    assert (found[-1].usage is not None) == asked, "it comes last"


@pytest.mark.parametrize(
    "first",
    [
        COMMENT,
        b": OPENROUTER PROCESSING\n\n" * 2,
        event(b'{"id":"","object":"","created":0,"model":"","choices":[]}'),
        event(b'{"prompt_filter_results":[],"choices":[]}'),
    ],
    ids=["comment", "comments", "azure", "no head"],
)
@each_feeding
def test_a_chat_that_begins_with_something_else_ends_like_its_chunks(
    feeding: Feeding, first: bytes
) -> None:
    stream = cut(made("openai"), feeding, [first, *CHAT[:3]])
    last = documents(stream)[-1]
    assert (last["id"], last["object"], last["model"]) == ("chatcmpl-1", CHAT_OBJECT, "m")
    assert last["choices"][0]["delta"] == {}
    with of_openai(stream) as client:
        found = list(client.chat.completions.create(**HELLO, stream=True))
    assert found[-1].choices[0].finish_reason == "length"


def test_a_chat_that_is_cut_before_its_first_chunk_ends_as_a_chat() -> None:
    with of_openai(cut(made("openai"), one_by_one, [])) as client:
        found = list(client.chat.completions.create(**HELLO, stream=True))
    assert [d.choices[0].delta.content for d in found] == [None]
    assert found[0].choices[0].finish_reason == "length"


@each_feeding
def test_a_completion_ends_by_length_in_every_choice_that_is_open(feeding: Feeding) -> None:
    passed = [
        completion_event(0, "one"),
        completion_event(1, "two"),
        completion_event(1, "", "stop"),
    ]
    with of_openai(cut(made("openai", 2), feeding, passed)) as client:
        found = list(client.completions.create(model="m", prompt="Hello", n=2, stream=True))
    reasons = [(c.index, c.finish_reason) for d in found for c in d.choices if c.finish_reason]
    assert reasons == [(1, "stop"), (0, "length")]
    assert "".join([c.text for d in found for c in d.choices]) == "onetwo"
    assert {(d.id, d.object) for d in found} == {("cmpl-1", "text_completion")}


# Messages


@each_feeding
@pytest.mark.parametrize("at", range(1, len(MESSAGE) + 1))
def test_a_message_ends_by_max_tokens(feeding: Feeding, at: int) -> None:
    """With a block of text, of thinking or of half a tool's input open, or between two."""
    stream = cut(made("anthropic"), feeding, MESSAGE[:at])
    with of_anthropic(stream) as client, client.messages.stream(**HELLO, max_tokens=9) as helper:
        kinds = [found.type for found in helper]
        final = helper.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", SPENT.output)
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")
    assert kinds[-1] == "message_stop"


# Responses


@each_feeding
@pytest.mark.parametrize("at", range(1, len(RESPONSE) + 1))
def test_a_response_ends_incomplete_with_the_items_that_were_done(
    feeding: Feeding, at: int
) -> None:
    stream = cut(made("responses"), feeding, RESPONSE[:at])
    with of_openai(stream) as client:
        found: list[Any] = list(client.responses.create(model="m", input="Hello", stream=True))
    last = found[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert (last.response.id, last.response.usage.total_tokens) == ("resp_1", SPENT.total)
    done = [one.item for one in found if one.type == "response.output_item.done"]
    assert last.response.output == done
    assert [one.sequence_number for one in found] == list(range(len(found)))


def test_transcripts_have_no_output_to_end() -> None:
    assert ending("events", 1, usage_asked=False) is None
