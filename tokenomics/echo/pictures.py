"""Pictures, as OpenAI answers with them: always one pixel, whatever size is asked for.

https://platform.openai.com/docs/api-reference/images/object, .../images-streaming
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.ask import wrong
from tokenomics.dialects.sse import named_event
from tokenomics.echo.plan import Answer, Events, Plan, json_body

MAX_PICTURES = 10  # the API's own bound
MAX_PARTIAL = 3  # likewise, of pictures that are not done
_TRUECOLOUR = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)  # 1 x 1, 8 bits, no interlace
_SETTINGS = {
    "background": "opaque",
    "output_format": "png",
    "quality": "low",
    "size": "1024x1024",  # the smallest that the API has a word for
}


def images(plan: Plan) -> Answer:
    """Generations, edits and variations. `revised_prompt` says the prompt back. Raises Refusal."""
    count = _number(plan, "n", 1, 1, MAX_PICTURES)
    partial = _number(plan, "partial_images", 0, 0, MAX_PARTIAL)
    if plan.ask.stream:
        return Events(_events(plan, partial))
    picture = _base64(_colour(plan))
    if plan.document.get("response_format") == "url":
        item = {"url": f"data:image/png;base64,{picture}"}
    else:
        item = {"b64_json": picture}
    data = [{**item, "revised_prompt": plan.text}] * count
    return json_body({"created": plan.now, **_SETTINGS, "data": data, "usage": _usage(plan, count)})


def png(colour: bytes) -> bytes:
    """A picture of one pixel of a colour of three bytes (https://www.w3.org/TR/png-3/)."""
    row = zlib.compress(b"\0" + colour)
    chunks = ((b"IHDR", _TRUECOLOUR), (b"IDAT", row), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join([_chunk(kind, data) for kind, data in chunks])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _events(plan: Plan, partial: int) -> Iterator[bytes]:
    """Pictures that are not done, each less dark than the last one, and the one that is."""
    kind = "image_edit" if plan.path.endswith("/edits") else "image_generation"
    rest = {"created_at": plan.now, **_SETTINGS}
    colour = _colour(plan)
    for i in range(partial):
        shade = bytes([byte * (i + 1) // (partial + 1) for byte in colour])
        fields = {"b64_json": _base64(shade), "partial_image_index": i}
        yield _event(f"{kind}.partial_image", {**fields, **rest})
    done = {"b64_json": _base64(colour), **rest, "usage": _usage(plan, 1)}
    yield _event(f"{kind}.completed", done)


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return named_event(name, strictjson.dumps({"type": name, **fields}))


def _colour(plan: Plan) -> bytes:
    return bytes.fromhex(plan.id[:6])


def _base64(colour: bytes) -> str:
    return base64.b64encode(png(colour)).decode()


def _usage(plan: Plan, pictures: int) -> dict[str, Any]:
    details = {"text_tokens": plan.input - plan.files, "image_tokens": plan.files}
    return {
        "input_tokens": plan.input,
        "input_tokens_details": details,
        "output_tokens": pictures,
        "total_tokens": plan.input + pictures,
    }


def _number(plan: Plan, key: str, default: int, low: int, high: int) -> int:
    """A count, which a form has as text. Raises Refusal."""
    value = plan.document.get(key)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(f"must be a whole number from {low} to {high}", key)
    return value
