"""Plans for requests, as the echo provider makes them, and what it answers."""

from __future__ import annotations

import json
from typing import Any

from tokenomics.dialects import sse
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.echo.app import ANSWERS
from tokenomics.echo.plan import Body, Events, Plan, make_plan

NOW = 1_790_000_000


def plan(path: str, /, **fields: Any) -> Plan:
    """The plan for a POST of fields, with a model."""
    return plan_of(path, json.dumps({"model": "m", **fields}).encode())


def plan_of(path: str, body: bytes, content_type: str = "application/json") -> Plan:
    """The plan for a POST of a body."""
    ask = read(ENDPOINTS.get(path) or open_endpoint(path), body, content_type)
    return make_plan(ask, "POST", f"/v1{path}", NOW)


def form(*files: str, **fields: str) -> tuple[bytes, str]:
    """A form with files of some bytes, and its content type."""
    parts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts += [f'name="{name}"; filename="{name}.bin"\r\n\r\n\0' for name in files]
    body = "".join([f"--b\r\ncontent-disposition: form-data; {part}\r\n" for part in parts])
    return f"{body}--b--\r\n".encode(), "multipart/form-data; boundary=b"


def whole(made: Plan) -> Any:
    """A whole answer that is JSON."""
    answer = ANSWERS[made.ask.endpoint.name](made)
    assert isinstance(answer, Body)
    assert answer.type == "application/json"
    return json.loads(answer.data)


def streamed(made: Plan) -> list[Any]:
    """The data of a stream's events, of which every one that has a name has it as its type too."""
    answer = ANSWERS[made.ask.endpoint.name](made)
    assert isinstance(answer, Events)
    out: list[Any] = []
    for chunk in answer.chunks:
        ((raw, data),) = sse.events(chunk)
        out.append(data.decode() if data == b"[DONE]" else json.loads(data))
        if raw.startswith(b"event: "):
            assert raw.splitlines()[0] == b"event: " + out[-1]["type"].encode()
    return out
