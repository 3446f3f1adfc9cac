"""The built-in provider `echo`: answers from the request, with right usage, without a network.

It is an application of the same server, reached through the same client over a socket pair, so that
a dry run exercises the whole road. A directive in the last message asks it to misbehave:

    [echo status=503 retry_after=2]   answer with an error status
    [echo delay=1.5s gap=200ms]       wait before the head, and between the chunks of a stream
    [echo words=200]                  answer with that many words
    [echo break=3]                    break off after that many chunks (or bytes of a whole answer)
    [echo tool=get_weather]           call a tool
    [echo text=...]                   answer with exactly this, to the closing bracket
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import trio

from tokenomics import strictjson
from tokenomics.dialects.ask import Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS
from tokenomics.dialects.sse import event
from tokenomics.net.connection import Reply, Request
from tokenomics.net.wire import WireError
from tokenomics.units import parse_duration

_DIRECTIVE = re.compile(r"\[echo ([^\]]*)\]")
_PAIR = re.compile(r"(\w+)=(\S+)")
_WORD = re.compile(r"\s*\S+")
MAX_WORDS = 100_000
MAX_SAID = 1 << 16  # characters of the last message that are looked at and said back
MAX_SECONDS = 600.0
EMBEDDING_SIZE = 8
_JSON = [(b"content-type", b"application/json")]
_SSE = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


async def echo_app(request: Request, reply: Reply) -> None:
    """Answer one request, as an OpenAI-compatible provider would."""
    endpoint = ENDPOINTS.get(request.head.path.removeprefix("/v1"))
    if endpoint is None or request.head.method != "POST":
        await reply.send(404, _JSON, _error("unknown path", "not_found"))
        return
    try:
        document = strictjson.loads(await request.body())
    except strictjson.BadJSON as e:
        await reply.send(400, _JSON, _error(str(e), "invalid_json"))
        return
    try:
        plan = _Plan(endpoint, document)
    except ValueError as e:
        await reply.send(400, _JSON, _error(f"not an echo directive: {e}", "echo_error"))
        return
    await trio.sleep(plan.delay)
    if plan.status != 200:
        seconds = plan.options.get("retry_after")
        headers = [*_JSON, (b"retry-after", seconds.encode())] if seconds else _JSON
        body = _error(f"echo was asked for {plan.status}", "echo_error")
        await reply.send(plan.status, headers, body)
    elif endpoint.name == "embeddings":
        await reply.send(200, _JSON, strictjson.dumps(plan.embeddings()))
    elif plan.stream:
        await _stream(plan, reply)
    else:
        await _whole(plan, reply)


async def _whole(plan: _Plan, reply: Reply) -> None:
    body = strictjson.dumps(plan.answer())
    if plan.breaks is None:
        await reply.send(200, _JSON, body)
        return
    await reply.start(200, _JSON)
    await reply.write(body[: plan.breaks])
    raise WireError("asked to break off")


async def _stream(plan: _Plan, reply: Reply) -> None:
    await reply.start(200, _SSE)
    for i, chunk in enumerate(plan.chunks()):
        if i == plan.breaks:
            raise WireError("asked to break off")
        await trio.sleep(plan.gap)
        await reply.write(event(strictjson.dumps(chunk)))
    await reply.write(event(b"[DONE]"))
    await reply.end()


class _Plan:
    """What one request is answered with."""

    def __init__(self, endpoint: Endpoint, document: dict[str, Any]) -> None:
        self.endpoint = endpoint
        self.document = document
        self.stream = document.get("stream") is True
        said = _last_text(document, endpoint)[:MAX_SAID]
        found = _DIRECTIVE.search(said)
        self.options = dict(_PAIR.findall(found[1])) if found else {}
        self.status = int(self.options.get("status", "200"))
        if not 200 <= self.status <= 599:
            raise ValueError("status must be from 200 to 599")
        self.delay = _seconds(self.options.get("delay"))
        self.gap = _seconds(self.options.get("gap"))
        self.breaks = int(self.options["break"]) if "break" in self.options else None
        self.tool = self.options.get("tool", "")
        self.text = self._text(said, found)
        self.input = sum(len(text.split()) for text in _all_texts(document, endpoint))
        self.id = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:24]

    def _text(self, said: str, found: re.Match[str] | None) -> str:
        if found and found[1].startswith("text="):
            text = found[1][5:]
        elif "words" in self.options:
            count = min(int(self.options["words"]), MAX_WORDS)
            text = " ".join(f"word{i}" for i in range(1, count + 1))
        else:
            rest = _DIRECTIVE.sub("", said).strip()
            text = f"You said: {rest}" if rest else "You said nothing."
        caps = [self.document.get(key) for key in self.endpoint.caps]
        limit = min((c for c in caps if isinstance(c, int)), default=MAX_WORDS)
        self.words = _WORD.findall(text.rstrip())  # blanks at the end would cost their square
        self.finish = "length" if len(self.words) > limit else "stop"
        self.words = self.words[:limit]
        return "".join(self.words)

    def usage(self) -> dict[str, int]:
        """One token a word, in and out."""
        output = 1 if self.tool else len(self.words)
        return {
            "prompt_tokens": self.input,
            "completion_tokens": output,
            "total_tokens": self.input + output,
        }

    def frame(self, kind: str) -> dict[str, Any]:
        chat = self.endpoint.name == "chat"
        return {
            "id": f"chatcmpl-{self.id}" if chat else f"cmpl-{self.id}",
            "object": kind if chat else "text_completion",
            "created": 0,
            "model": self.document.get("model"),
        }

    def _tool_call(self) -> dict[str, Any]:
        function = {"name": self.tool, "arguments": strictjson.dumps({"text": self.text}).decode()}
        return {"index": 0, "id": f"call_{self.id}", "type": "function", "function": function}

    def answer(self) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": self.finish}
        if self.endpoint.name != "chat":
            choice["text"] = self.text
        elif self.tool:
            call = self._tool_call()
            choice["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice["finish_reason"] = "tool_calls"
        else:
            choice["message"] = {"role": "assistant", "content": self.text}
        return {**self.frame("chat.completion"), "choices": [choice], "usage": self.usage()}

    def chunks(self) -> Iterator[dict[str, Any]]:
        """A first chunk with the role, a chunk a word (or a tool call), the end, the usage."""
        frame = self.frame("chat.completion.chunk")
        chat = self.endpoint.name == "chat"

        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            inner = {"delta": delta} if chat else {"text": delta.get("content", "")}
            return {**frame, "choices": [{"index": 0, **inner, "finish_reason": finish}]}

        if chat:
            yield chunk({"role": "assistant", "content": ""})
        if self.tool:
            yield chunk({"tool_calls": [self._tool_call()]})
        else:
            for word in self.words:
                yield chunk({"content": word})
        yield chunk({}, "tool_calls" if self.tool else self.finish)
        options = self.document.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            yield {**frame, "choices": [], "usage": self.usage()}

    def embeddings(self) -> dict[str, Any]:
        value = self.document.get("input")
        data = []
        for i, item in enumerate(value if isinstance(value, list) else [value]):
            digest = hashlib.sha256(str(item).encode("utf-8", "replace")).digest()
            vector = [byte / 255 for byte in digest[:EMBEDDING_SIZE]]
            data.append({"object": "embedding", "index": i, "embedding": vector})
        usage = {"prompt_tokens": self.input, "total_tokens": self.input}
        model = self.document.get("model")
        return {"object": "list", "data": data, "model": model, "usage": usage}


def _seconds(text: str | None) -> float:
    return min(parse_duration(text), MAX_SECONDS) if text else 0.0


def _all_texts(document: dict[str, Any], endpoint: Endpoint) -> list[str]:
    value = document.get(endpoint.required)
    if endpoint.name == "chat":
        messages = value if isinstance(value, list) else []
        return [_content(m.get("content")) for m in messages if isinstance(m, dict)]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _last_text(document: dict[str, Any], endpoint: Endpoint) -> str:
    texts = _all_texts(document, endpoint)
    return texts[-1] if texts else ""


def _content(content: Any) -> str:
    if isinstance(content, list):
        parts = [p.get("text") for p in content if isinstance(p, dict)]
        return " ".join(p for p in parts if isinstance(p, str))
    return content if isinstance(content, str) else ""


def _error(message: str, code: str) -> bytes:
    return strictjson.dumps({"error": {"message": message, "type": code, "code": code}})
