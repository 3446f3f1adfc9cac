"""The provider as a client meets it, over a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing

from tests.echo.plans import form
from tests.support.http import Answer, Headers, ask
from tokenomics.echo.app import echo_app
from tokenomics.net.connection import Limits
from tokenomics.net.server import Server, bind

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


@dataclass
class Echo:
    """The running provider, and what it reported."""

    port: int
    reports: list[str]

    async def say(self, text: str, path: str = CHAT, **fields: Any) -> Answer:
        """Ask with a user's text."""
        messages = [{"role": "user", "content": text}]
        key = "input" if path.endswith("/responses") else "messages"
        document = {"model": "m", key: messages, **fields}
        return await self.post(path, json.dumps(document).encode())

    async def post(self, path: str, body: bytes, kind: str = "application/json") -> Answer:
        headers: Headers = [("content-type", kind)]
        return await ask(self.port, "POST", path, headers, body)


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    reports: list[str] = []
    server = Server(echo_app, Limits(), lambda level, message, **_: reports.append(message))
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [(listener, None)])
        yield Echo(port, reports)
        nursery.cancel_scope.cancel()
    assert reports == [], "nothing it does is a bug"


async def test_it_answers_whole_and_streamed() -> None:
    async with echoing() as echo:
        whole = await echo.say("Hi")
        streamed = await echo.say("Hi", stream=True)
    assert whole.headers["content-type"] == "application/json"
    assert whole.json()["choices"][0]["message"]["content"] == "You said: Hi"
    assert streamed.headers["content-type"] == "text/event-stream"
    assert (streamed.events[-1], streamed.whole) == ("[DONE]", True)


@pytest.mark.parametrize("path", ["/chat/completions", CHAT])
async def test_the_version_may_be_missing(path: str) -> None:
    async with echoing() as echo:
        assert (await echo.say("Hi", path)).status == 200


async def test_a_form_is_read() -> None:
    async with echoing() as echo:
        body, kind = form("file", prompt="Hi", model="m")
        answer = await echo.post("/v1/audio/transcriptions", body, kind)
    assert answer.json()["text"] == "You said: Hi"


async def test_it_fails_as_asked_in_each_dialects_shape() -> None:
    async with echoing() as echo:
        openai = await echo.say("[echo status=429 retry_after=2]")
        anthropic = await echo.say("[echo status=529]", MESSAGES)
    assert (openai.status, openai.headers["retry-after"]) == (429, "2")
    assert openai.json() == {
        "error": {
            "message": "echo was asked for 429",
            "type": "invalid_request_error",
            "param": None,
            "code": "echo_error",
        }
    }
    assert (anthropic.status, "retry-after" in anthropic.headers) == (529, False)
    assert anthropic.json() == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "echo was asked for 529"},
        "request_id": "req_echo",
    }


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{", "invalid_json", "not JSON"),
        (b"{}", "invalid_request", "model: must name a model"),
        (b'{"model": "m"}', "invalid_request", "messages: must be a list"),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": "[echo status=1]"}]}',
            "echo_error",
            "not an echo directive: status must be from 200 to 599",
        ),
    ],
)
async def test_it_refuses_what_a_provider_would(body: bytes, code: str, message: str) -> None:
    async with echoing() as echo:
        openai = await echo.post(CHAT, body)
        anthropic = await echo.post(MESSAGES, body)
    assert (openai.status, openai.code) == (400, code)
    assert message in openai.message
    assert (anthropic.status, anthropic.json()["type"]) == (400, "error")
    assert anthropic.json()["error"]["type"] == "invalid_request_error"
    assert message in anthropic.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_other_methods_and_paths_are_said_back(method: str) -> None:
    async with echoing() as echo:
        answer = await ask(echo.port, method, "/v1/files/f1")
        known = await ask(echo.port, method, CHAT)
    assert (answer.status, answer.json()["method"]) == (200, method)
    assert (answer.json()["path"], known.json()["path"]) == ("/v1/files/f1", CHAT)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/responses"])
async def test_it_breaks_off(path: str) -> None:
    async with echoing() as echo:
        whole = await echo.say("[echo break=5]", path)
        streamed = await echo.say("[echo break=3]", path, stream=True)
        late = await echo.say("[echo break=99]", path, stream=True)
    assert (len(whole.body), whole.whole) == (5, False)
    assert (len(streamed.events), streamed.whole) == (3, False)
    assert late.whole


async def test_it_takes_its_time(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock  # time passes by itself where nothing else goes on
    async with echoing() as echo:
        begun = trio.current_time()
        await echo.say("[echo delay=5s]")
        delayed = trio.current_time()
        await echo.say("[echo words=2 gap=500ms]", MESSAGES, stream=True)
        streamed = trio.current_time()
    assert delayed - begun == pytest.approx(5, abs=0.01)
    assert streamed - delayed == pytest.approx(8 * 0.5, abs=0.01), "eight events"
