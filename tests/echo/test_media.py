"""Answers with numbers, pictures and sound, and what is said where no dialect is known."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
import zlib
from typing import Any

import pytest

from tests.echo.plans import form, plan, plan_of, streamed, whole
from tokenomics.dialects.usage import Usage, read_usage
from tokenomics.echo.app import ANSWERS
from tokenomics.echo.pictures import png
from tokenomics.echo.plan import Body
from tokenomics.echo.vectors import MAX_NUMBERS
from tokenomics.errors import Refusal

SAY = "[echo text=one two three]"


# Embeddings, moderations, rerank


def test_a_vector_an_input() -> None:
    data = whole(plan("/embeddings", input=["a", "b", "a"], dimensions=300))["data"]
    vectors = [row["embedding"] for row in data]
    assert [row["index"] for row in data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [300] * 3
    assert math.isclose(math.hypot(*vectors[0]), 1)


@pytest.mark.parametrize(("value", "count"), [("a", 1), ([1, 2], 1), ([[1], [2]], 2), (["a"], 1)])
def test_a_token_array_is_one_input(value: Any, count: int) -> None:
    assert len(whole(plan("/embeddings", input=value))["data"]) == count


def test_a_vector_in_base64() -> None:
    (plain,) = whole(plan("/embeddings", input="a"))["data"]
    (packed,) = whole(plan("/embeddings", input="a", encoding_format="base64"))["data"]
    numbers = struct.unpack("<8f", base64.b64decode(packed["embedding"]))
    assert numbers == pytest.approx(plain["embedding"], rel=1e-6)


def test_vectors_have_a_bound() -> None:
    many = ["a"] * (MAX_NUMBERS // 4096 + 1)
    with pytest.raises(Refusal, match="numbers at most"):
        whole(plan("/embeddings", input=many, dimensions=4096))
    with pytest.raises(Refusal, match="from 1 to 4096"):
        whole(plan("/embeddings", input="a", dimensions=5000))


@pytest.mark.parametrize(
    ("value", "count"), [("a", 1), (["a", "b"], 2), ([{"type": "text", "text": "a"}], 1)]
)
def test_nothing_is_flagged(value: Any, count: int) -> None:
    answer = whole(plan("/moderations", input=value))
    assert [result["flagged"] for result in answer["results"]] == [False] * count
    for result in answer["results"]:
        assert set(result["categories"]) == set(result["category_scores"])
        assert not any(result["categories"].values())
        assert all(0 <= score < 0.01 for score in result["category_scores"].values())
    assert answer["model"] == "m"


def test_documents_are_ranked_by_the_querys_words() -> None:
    documents = ["nothing", {"text": "red Apples"}, "apples"]
    made = plan("/rerank", query="red apples", documents=documents, return_documents=True)
    results = whole(made)["results"]
    assert [(row["index"], row["relevance_score"]) for row in results] == [
        (1, 1.0),
        (2, 0.5),
        (0, 0.0),
    ]
    assert results[0]["document"] == {"text": "red Apples"}
    one = whole(plan("/rerank", query="red apples", documents=documents, top_n=1))["results"]
    assert one == [{"index": 1, "relevance_score": 1.0}]


# Pictures


def test_a_picture_is_a_png_of_one_pixel() -> None:
    answer = whole(plan("/images/generations", prompt=SAY, n=2))
    pictures = [base64.b64decode(item["b64_json"]) for item in answer["data"]]
    assert pictures[0] == pictures[1] == png(bytes.fromhex(plan("/completions", prompt=SAY).id[:6]))
    assert [item["revised_prompt"] for item in answer["data"]] == ["one two three"] * 2
    assert answer["usage"]["output_tokens"] == 2


def test_a_png_is_well_formed() -> None:
    picture = png(b"\x01\x02\x03")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(picture):
        size, kind = struct.unpack_from(">I4s", picture, at)
        data = picture[at + 8 : at + 8 + size]
        (crc,) = struct.unpack_from(">I", picture, at + 8 + size)
        assert crc == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0\x01\x02\x03"


def test_a_picture_by_url_needs_no_network() -> None:
    answer = whole(plan("/images/generations", prompt=SAY, response_format="url"))
    assert answer["data"][0]["url"].startswith("data:image/png;base64,")
    assert "b64_json" not in answer["data"][0]


@pytest.mark.parametrize("path", ["/images/edits", "/images/variations"])
def test_a_form_gives_pictures_too(path: str) -> None:
    answer = whole(plan_of(path, *form("image", prompt="one two", model="m", n="2")))
    assert len(answer["data"]) == 2
    assert answer["usage"]["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 1}


@pytest.mark.parametrize("n", ["0", "11", "many", "9" * 5000])
def test_a_count_of_pictures_that_is_none(n: str) -> None:
    with pytest.raises(Refusal, match="n: must be a whole number from 1 to 10"):
        whole(plan_of("/images/edits", *form("image", model="m", n=n)))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/images/generations", "image_generation"), ("/images/edits", "image_edit")],
)
def test_pictures_stream(path: str, kind: str) -> None:
    events = streamed(plan(path, prompt=SAY, stream=True, partial_images=2))
    assert [event["type"] for event in events] == [
        f"{kind}.partial_image",
        f"{kind}.partial_image",
        f"{kind}.completed",
    ]
    assert [event.get("partial_image_index") for event in events] == [0, 1, None]
    assert len({event["b64_json"] for event in events}) == 3
    assert read_usage(events[-1]["usage"]) == Usage(4, 1)


# Sound


def test_speech_is_a_wav() -> None:
    answer = ANSWERS["speech"](plan("/audio/speech", input="Hi", voice="alloy"))
    assert isinstance(answer, Body)
    assert answer.type == "audio/wav"
    with wave.open(io.BytesIO(answer.data)) as sound:
        assert sound.getparams()[:4] == (1, 2, 24_000, 240)
        samples = sound.readframes(240)
    raw = ANSWERS["speech"](plan("/audio/speech", input="Hi", response_format="pcm"))
    assert raw == Body("audio/pcm", samples)


def test_speech_streams() -> None:
    *deltas, done = streamed(plan("/audio/speech", input="Hi", stream_format="sse"))
    sound = b"".join([base64.b64decode(event["audio"]) for event in deltas])
    assert ANSWERS["speech"](plan("/audio/speech", input="Hi")) == Body("audio/wav", sound)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert (done["type"], done["usage"]["input_tokens"]) == ("speech.audio.done", 1)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("text", "You said: Hi\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nYou said: Hi\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nYou said: Hi\n\n"),
    ],
)
def test_a_transcript_as_text(wanted: str, text: str) -> None:
    made = plan_of(
        "/audio/transcriptions", *form("file", prompt="Hi", model="m", response_format=wanted)
    )
    assert ANSWERS["audio"](made) == Body("text/plain; charset=utf-8", text.encode())


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/audio/translations"])
def test_a_transcript_as_json(path: str) -> None:
    short = whole(plan_of(path, *form("file", prompt="Hi", model="m")))
    assert short["text"] == "You said: Hi"
    assert short["usage"]["input_token_details"] == {"text_tokens": 1, "audio_tokens": 1}
    long = whole(
        plan_of(path, *form("file", prompt="Hi", model="m", response_format="verbose_json"))
    )
    assert (long["text"], long["segments"][0]["text"]) == (short["text"], short["text"])
    assert long["task"] == ("translate" if path.endswith("translations") else "transcribe")


def test_a_transcript_in_a_format_that_nobody_writes_here() -> None:
    with pytest.raises(Refusal, match="response_format: echo writes json, verbose_json, text"):
        whole(plan_of("/audio/transcriptions", *form("file", model="m", response_format="doc")))


def test_a_transcript_streams() -> None:
    *deltas, done = streamed(
        plan_of("/audio/transcriptions", *form("file", prompt=SAY, model="m", stream="true"))
    )
    assert [event["delta"] for event in deltas] == ["one", " two", " three"]
    assert (done["type"], done["text"]) == ("transcript.text.done", "one two three")
    assert read_usage(done["usage"]) == Usage(5, 3, audio_input=1)


# Elsewhere


def test_any_other_path_is_said_back() -> None:
    made = plan("/files/f1", purpose="Hi")
    assert whole(made) == {
        "id": f"echo-{made.id}",
        "object": "echo",
        "method": "POST",
        "path": "/v1/files/f1",
        "text": "You said: Hi",
    }
    *chunks, done = streamed(plan("/files/f1", purpose=SAY, stream=True))
    assert [chunk["text"] for chunk in chunks] == ["one", " two", " three"]
    assert done == "[DONE]"


@pytest.mark.parametrize("body", [b"", b"\xff\x00", json.dumps([1]).encode()])
def test_any_other_path_takes_any_body(body: bytes) -> None:
    if body.startswith(b"["):
        with pytest.raises(Refusal, match="must be a JSON object"):
            plan_of("/files", body)
    else:
        assert whole(plan_of("/files", body, "application/x"))["text"] == "You said nothing."
