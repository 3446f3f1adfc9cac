"""Ways past the rules that were found once, over real sockets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import Answer, ask, until
from tests.support.node import POLICY, Proxy, proxy
from tests.support.shapes import response_document
from tests.support.upstream import DONE, answers, chunk, completion, event, fails, provider, streams

EMAIL = "jane.doe@example.org"
CARD = 4111111111111111
CHAT = "/v1/chat/completions"


def rules(action: str = "mask", *kinds: str, scope: str = "both") -> dict[str, Any]:
    rule = {"name": "pii", "type": "pii", "action": action, "scope": scope}
    rule["detect"] = list(kinds or ("email", "credit_card"))
    return {**POLICY, "rules": [rule], "endpoints": ["/v1/search*"]}


def said(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}], **more}


async def send(gateway: Proxy, path: str, body: bytes, kind: str, method: str = "POST") -> Answer:
    headers = [("authorization", f"Bearer {gateway.token}"), ("content-type", kind)]
    return await ask(gateway.port, method, path, headers, body)


# Requests


@pytest.mark.parametrize(
    "parts",
    [
        ["jane.doe@exam", "ple.org"],
        ["jane.doe@exam", {"type": "text", "text": "ple.org"}],
        [{"type": "text", "text": "jane.doe@exam"}, "ple.org"],
    ],
    ids=["strings", "string-first", "string-last"],
)
async def test_parts_that_are_strings_are_joined(tmp_path: Path, parts: list[Any]) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        assert (await gateway.post(said(*parts))).status == 200
        sent = upstream.last.json()["messages"][0]["content"]
    texts = [part if isinstance(part, str) else part["text"] for part in sent]
    assert texts == ["[REDACTED]", ""]


async def test_a_number_is_no_text(tmp_path: Path) -> None:
    part = {"type": "text", "text": CARD}
    async with provider() as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await gateway.post(said(part))
    assert (answer.status, answer.json()["error"]["param"]) == (400, "messages[0].content[0].text")
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (CHAT, {**said("Hi"), "documents": [{"id": EMAIL, "n": CARD}]}),
        ("/v1/rerank", {"model": "m", "query": "a", "documents": [{"url": EMAIL, "n": CARD}]}),
        ("/v1/responses", {"model": "m", "input": "Hi", "extra": {"id": EMAIL, "n": CARD}}),
        (CHAT, {**said("Hi"), "note": CARD, "name": EMAIL}),
    ],
    ids=["chat", "rerank", "responses", "scalar"],
)
async def test_what_no_dialect_knows_is_text_in_full(
    tmp_path: Path, path: str, document: dict[str, Any]
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        assert (await gateway.post(document, path)).status == 200
        sent = upstream.last.body.decode()
    assert EMAIL not in sent
    assert str(CARD) not in sent


@pytest.mark.parametrize("action", ["mask", "fail"])
@pytest.mark.parametrize(
    "path", [f"{CHAT}?who=jane.doe%40example.org", f"/v1/search?q={EMAIL}", f"/v1/search/{EMAIL}"]
)
async def test_what_a_path_and_query_hold_cannot_be_masked(
    tmp_path: Path, path: str, action: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules(action)) as gateway:
        answer = await gateway.post(said("Hi"), path)
        row = await gateway.row()
    assert (answer.status, answer.code) == (403, "content_blocked")
    assert row["rules"] == [f"pii:{action}"]
    assert upstream.seen == []


async def test_a_query_without_a_match_passes(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        assert (await gateway.post(said("Hi"), f"{CHAT}?beta=true")).status == 200
    assert upstream.last.query == "beta=true"


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "application/json; charset=utf-7"]
)
async def test_what_was_read_as_json_goes_on_as_that(tmp_path: Path, kind: str) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules("fail")) as gateway:
        body = b'{"a":"&input=jane.doe%40b.org&b="}'
        assert (await send(gateway, "/v1/search", body, kind)).status == 200
    assert upstream.last.get("content-type") == ["application/json"]


TEXT_FILE = "data:text/plain;base64," + base64.b64encode(f"to {EMAIL}, now".encode()).decode()
MASKED_FILE = base64.b64encode(b"to [REDACTED], now").decode()


@pytest.mark.parametrize("action", ["mask", "fail"])
@pytest.mark.parametrize(
    ("path", "document"),
    [
        (CHAT, said({"type": "file", "file": {"filename": "a.txt", "file_data": TEXT_FILE}})),
        (CHAT, said({"type": "image_url", "image_url": {"url": TEXT_FILE}})),
        (
            "/v1/responses",
            {
                "model": "m",
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_file", "file_data": TEXT_FILE}],
                    }
                ],
            },
        ),
    ],
    ids=["chat", "picture", "responses"],
)
async def test_a_file_of_text_is_opened(
    tmp_path: Path, path: str, document: dict[str, Any], action: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules(action)) as gateway:
        await gateway.post(document, path)
        row = await gateway.row()
    assert row["rules"] == [f"pii:{action}"]
    if action == "mask":
        assert MASKED_FILE in upstream.last.body.decode()
    else:
        assert upstream.seen == []


def tool_call(arguments: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"id": "c", "type": "function", "function": function}


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [tool_call('{"to": "a", "to": "jane.doe\\u0040example.org"}')],
        },
        {"role": "tool", "tool_call_id": "c", "content": '{"to": "jane.doe\\u0040example.org"}'},
        {"role": "tool", "tool_call_id": "c", "content": '"{\\"jane.doe\\\\u0040example.org"}'},
        {"role": "user", "content": 'to "jane doe"@example.org'},
        {"role": "user", "content": "https://a.example/?to=jane.doe%40example.org"},
    ],
    ids=["twice", "result", "json-in-json", "quoted", "url"],
)
@pytest.mark.parametrize("action", ["mask", "fail"])
async def test_escapes_and_quotes_hide_no_address(
    tmp_path: Path, message: dict[str, Any], action: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, rules(action)) as gateway:
        answer = await gateway.post({"model": "m", "messages": [message]})
        sent = upstream.last.body.decode() if upstream.seen else ""
        row = await gateway.row()
    assert answer.status == (200 if action == "mask" else 403)
    assert row["rules"] == [f"pii:{action}"]
    assert "jane" not in sent
    assert ("[REDACTED]" in sent) == (action == "mask")


@pytest.mark.parametrize("word", ["Zürich", "Zu\u0308rich"], ids=["composed", "apart"])
@pytest.mark.parametrize("text", ["ZÜRICH", "Zu\u0308rich"], ids=["composed", "apart"])
async def test_a_keyword_has_accents_in_every_form(tmp_path: Path, word: str, text: str) -> None:
    rule = {"name": "k", "type": "keyword", "keywords": [word], "action": "fail"}
    policy = {**POLICY, "rules": [rule]}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(said(f"to {text}"))
    assert (answer.status, answer.code, upstream.seen) == (403, "content_blocked", [])


# Answers


async def test_parts_of_a_whole_answer_are_joined(tmp_path: Path) -> None:
    document = completion()
    parts = [{"type": "text", "text": text} for text in ("to jane.doe@exam", "ple.org")]
    document["choices"][0]["message"]["content"] = parts
    async with (
        provider(answers(document)) as upstream,
        proxy(tmp_path, upstream, rules()) as gateway,
    ):
        got = (await gateway.post()).json()["choices"][0]["message"]["content"]
    assert [part["text"] for part in got] == ["to [REDACTED]", ""]


async def test_choices_are_answers_of_their_own(tmp_path: Path) -> None:
    document = {"choices": [{"text": "to jane.doe@exam"}, {"text": "ple.org"}]}
    async with (
        provider(answers(document)) as upstream,
        proxy(tmp_path, upstream, rules()) as gateway,
    ):
        got = await gateway.post({"model": "m", "prompt": "a"}, "/v1/completions")
    assert got.json() == document


async def test_nothing_of_an_unknown_answer_is_skipped(tmp_path: Path) -> None:
    document = {"metadata": {"to": EMAIL}, "id": EMAIL, "url": [EMAIL], EMAIL: CARD}
    async with (
        provider(answers(document)) as upstream,
        proxy(tmp_path, upstream, rules()) as gateway,
    ):
        got = await send(gateway, "/v1/search", b"{}", "application/json")
    assert (got.status, EMAIL in got.body.decode(), str(CARD) in got.body.decode()) == (
        200,
        False,
        False,
    )


async def test_an_error_of_the_proxy_does_not_say_what_the_answer_held(tmp_path: Path) -> None:
    body = f'{{"{EMAIL}": 1, "{EMAIL}": 2}}'.encode()
    async with provider(answers(body)) as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.code) == (502, "upstream_invalid")
    assert EMAIL not in answer.body.decode()


@pytest.mark.parametrize("action", ["mask", "fail"])
async def test_a_key_of_an_answer_is_a_text(tmp_path: Path, action: str) -> None:
    document = completion()
    document["choices"][0]["message"]["extra"] = {EMAIL: True}
    async with (
        provider(answers(document)) as upstream,
        proxy(tmp_path, upstream, rules(action)) as gateway,
    ):
        answer = await gateway.post()
    assert answer.status == (200 if action == "mask" else 403)
    assert EMAIL not in answer.body.decode()


@pytest.mark.parametrize("action", ["mask", "fail"])
@pytest.mark.parametrize("line", [b": to %b\n\n", b"event: to %b\n"], ids=["comment", "name"])
async def test_lines_beside_the_data_are_texts(tmp_path: Path, line: bytes, action: str) -> None:
    script = streams(b": ping\n\n", line % EMAIL.encode() + chunk("Hi"), chunk(None, "stop"), DONE)
    async with (
        provider(script) as upstream,
        proxy(tmp_path, upstream, rules(action)) as gateway,
    ):
        answer = await gateway.post(said("Hi", stream=True))
    assert EMAIL not in answer.body.decode()
    assert (answer.events[-1] == "[DONE]") == (action == "mask")
    assert (b": ping\n\n" in answer.body) == (action == "mask")


async def test_an_error_behind_a_byte_order_mark_is_json(tmp_path: Path) -> None:
    error = {"error": {"message": f"no {EMAIL}", "param": CARD, "code": "x"}}
    script = answers(b"\xef\xbb\xbf" + json.dumps(error).replace("@", "\\u0040").encode(), 400)
    policy = {**rules(), "prompts": [{"role": "system", "content": "the policy's"}]}
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({"model": "m", "input": "Hi"}, "/v1/responses")
    assert answer.status == 400
    assert answer.json()["error"]["message"] == "no [REDACTED]"


async def test_an_event_may_be_an_array(tmp_path: Path) -> None:
    pieces = [chunk("to jane.doe@exam"), chunk("ple.org, now"), chunk(None, "stop")]
    arrays = [b"data: [" + piece[6:-2] + b"]\n\n" for piece in pieces]
    script = streams(*arrays, DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await gateway.post(said("Hi", stream=True))
    assert "jane" not in answer.body.decode()
    assert "[REDACTED], " in answer.body.decode()


RAW = b'data: {"x":"%b","choices":[{"index":0,"delta":{"content":"to jane.doe@exam"}}]}\n\n'


@pytest.mark.parametrize("odd", [b"\xff", b"\xed\xa0\xbd"], ids=["no-utf-8", "surrogate"])
async def test_odd_bytes_do_not_hide_a_piece_of_a_text(tmp_path: Path, odd: bytes) -> None:
    script = streams(RAW % odd, chunk("ple.org, now"), chunk(None, "stop"), DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await gateway.post(said("Hi", stream=True))
        log = gateway.said.text
    assert (answer.whole, answer.events[-1]) == (True, "[DONE]")
    assert _content(answer) == "to [REDACTED], now"
    assert "failed" not in log


async def test_events_may_end_with_mixed_line_ends(tmp_path: Path) -> None:
    pieces = [chunk("to jane.doe@exam"), chunk("ple.org, now"), chunk(None, "stop")]
    script = streams(*[piece[:-1] + b"\r\n" for piece in pieces], DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await gateway.post(said("Hi", stream=True))
    assert answer.whole
    assert _content(answer) == "to [REDACTED], now"


@pytest.mark.parametrize("blocked", [True, False], ids=["rule", "broken"])
async def test_the_error_of_a_response_has_the_next_number(tmp_path: Path, blocked: bool) -> None:
    script = streams(*[_delta(i, text) for i, text in enumerate(["Hi", " to", f" {EMAIL} now"])])
    policy = rules("fail") if blocked else POLICY
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({"model": "m", "input": "Hi", "stream": True}, "/v1/responses")
    numbers = [json.loads(data)["sequence_number"] for data in answer.events]
    assert json.loads(answer.events[-1])["type"] == "error"
    assert numbers == list(range(len(numbers)))


async def test_a_delta_of_a_response_may_be_an_object(tmp_path: Path) -> None:
    deltas = [_delta(i, {"text": text}) for i, text in enumerate(["to jane.doe@exam", "ple.org"])]
    end = event({"type": "response.completed", "response": {}, "sequence_number": 2})
    script = streams(*deltas, end)
    async with provider(script) as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await gateway.post({"model": "m", "input": "Hi", "stream": True}, "/v1/responses")
    found = [json.loads(data) for data in answer.events]
    assert "".join(d["delta"]["text"] for d in found if "delta" in d) == "to [REDACTED]"
    assert [d["sequence_number"] for d in found] == list(range(len(found)))


def _delta(number: int, text: Any) -> bytes:
    kind = "response.output_text.delta"
    return event({"type": kind, "item_id": "i", "delta": text, "sequence_number": number})


def _content(answer: Answer) -> str:
    documents = [json.loads(data) for data in answer.events if data.startswith("{")]
    return "".join(d["choices"][0]["delta"].get("content") or "" for d in documents)


async def test_a_stream_that_is_refused_was_paid_for(tmp_path: Path) -> None:
    script = streams(chunk("Hi"), DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, rules()) as gateway:
        answer = await send(gateway, "/v1/search", b'{"input":"some words"}', "application/json")
        row = await gateway.row()
    assert (answer.status, answer.code) == (403, "content_blocked")
    assert row["input_tokens"] > 0


# What is written down


async def test_memory_and_findings_are_those_of_the_target_that_served(tmp_path: Path) -> None:
    memory = tmp_path / "memory.md"
    watch = {"name": "watch", "type": "keyword", "keywords": ["merger"], "action": "warn"}
    mask = {"name": "pii", "type": "pii", "detect": ["email"], "action": "mask"}
    policy = {
        "rules": [watch],
        "providers": {"openai": [{"model": "first"}, {"model": "second", "rules": [mask]}]},
        "retry": {"max_retries": 1, "fallbacks": ["second"]},
        "memory": {"enabled": True, "file_path": str(memory)},
    }
    script = (fails(500), fails(500), fails(500), answers(completion("Yes")))
    async with provider(*script) as upstream:
        row = {"openai": {"upstream_url": upstream.url, "api_key_env": "OPENAI_API_KEY"}}
        async with proxy(tmp_path, upstream, policy, providers=row) as gateway:
            text = f"the merger with {EMAIL}"
            answer = await gateway.post({**said(text), "model": "first"})
            found = (await gateway.row())["rules"]
            await until(memory.exists, "memory")
            await until(lambda: "Yes" in memory.read_text(), "the answer in memory")
    assert (answer.status, len(upstream.seen)) == (200, 4)
    assert found == ["watch:warn", "pii:mask"]
    assert EMAIL not in memory.read_text()
    assert "the merger with [REDACTED]" in memory.read_text()


async def test_responses_has_its_own_instructions_in_errors_too(tmp_path: Path) -> None:
    document = response_document("Hi", instructions="the policy's")
    policy = {**POLICY, "prompts": [{"role": "system", "content": "the policy's"}]}
    async with (
        provider(answers(document)) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
    ):
        answer = await gateway.post({"model": "m", "input": "Hi"}, "/v1/responses")
    assert answer.json()["instructions"] is None
