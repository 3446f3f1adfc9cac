"""What is asked in the benchmark: the cases, and the bytes of their requests."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass

from upstream import BURST_EVENTS, BURSTS, DRIP_EVENTS

# What the openai package for Python sends.
HEADERS = """Accept-Encoding: gzip, deflate\r
Connection: keep-alive\r
Accept: application/json\r
Content-Type: application/json\r
User-Agent: OpenAI/Python 1.59.3\r
X-Stainless-Lang: python\r
X-Stainless-Package-Version: 1.59.3\r
X-Stainless-OS: Linux\r
X-Stainless-Arch: x64\r
X-Stainless-Runtime: CPython\r
X-Stainless-Runtime-Version: 3.11.7\r
Authorization: Bearer {token}\r
X-Stainless-Async: false\r
x-stainless-retry-count: 0\r
"""
PATH = "/v1/chat/completions"
_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\n\r\n"
)
_PROSE = 'Rivers carry more than water;\n\tthey carry the "memory" of every hill they\'ve passed. '
_QUESTION = "What does the fox jump over?"
IMAGE_BYTES = 675_000  # 0.9 MB in base64
MODELS = ("bench-burst", "bench-drip", "bench-slow", "bench-whole")
# A connection of its own leaves a port in TIME_WAIT for a while; there are 28,000.
MOST_CONNECTIONS = 2_000


@dataclass(frozen=True, slots=True)
class Case:
    """A request to measure. `stamped`: the latency is that of each event of the answer, else of the
    whole answer. `paced` answers take their time, so that requests/s say nothing. `fresh`: each
    request has a connection of its own. `connections` are those that ask at the same time. `over`
    names the case to which the CPU is compared. `events` is how many a streamed answer has."""

    name: str
    body: bytes
    stamped: bool = False
    paced: bool = False
    tls: bool = False
    fresh: bool = False
    connections: int = 16
    events: int = 0
    over: str = ""

    def most(self, requests: int) -> int:
        """How many requests of those a measurement may send."""
        return min(requests, MOST_CONNECTIONS) if self.fresh else requests


def chat(model: str, *, stream: bool = False, turns: int = 0) -> bytes:
    """A chat request: a question after some turns of 5 KB."""
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    for i in range(turns):
        messages.append({"role": ("user", "assistant")[i % 2], "content": _PROSE * 55})
    messages.append({"role": "user", "content": _QUESTION})
    body: dict[str, object] = {"model": model, "messages": messages}
    return json.dumps(body | ({"stream": True} if stream else {})).encode()


def _picture(model: str) -> bytes:
    """A question about a picture, sent inline as clients do; the bytes of a JPEG look random."""
    image = base64.b64encode(random.Random(0).randbytes(IMAGE_BYTES)).decode()
    parts = [
        {"type": "text", "text": _PROSE * 1000},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{image}"}},
    ]
    return json.dumps({"model": model, "messages": [{"role": "user", "content": parts}]}).encode()


_SMALL = chat("bench-whole")
CASES = {
    case.name: case
    for case in (
        Case("small", _SMALL),
        Case("100KB", chat("bench-whole", turns=20)),
        Case("1MB", _picture("bench-whole"), connections=4),
        Case("stream", chat("bench-burst", stream=True), events=BURSTS * BURST_EVENTS),
        Case(
            "drip",
            chat("bench-drip", stream=True),
            stamped=True,
            paced=True,
            connections=4,  # with more, events would wait for each other and travel together
            events=DRIP_EVENTS,
        ),
        Case("tls", _SMALL, tls=True, over="small"),
        Case("new", _SMALL, fresh=True, over="small"),
        Case("tls-new", _SMALL, tls=True, fresh=True, over="new"),
    )
}


def request(case: Case, port: int, token: str) -> bytes:
    """The bytes of one request."""
    headers = HEADERS.format(token=token)
    head = _HEAD.format(path=PATH, port=port, headers=headers, length=len(case.body))
    return head.encode() + case.body
