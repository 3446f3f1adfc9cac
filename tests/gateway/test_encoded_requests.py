"""Request bodies with a content coding: inspected and passed on as plain text, bounded as such."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.node import HELLO, proxy
from tests.support.upstream import provider
from tokenomics.gateway.road import INFLATE_THREAD_BYTES

SMALL = json.dumps(HELLO).encode()
NOISE = random.Random(1).randbytes(4 * INFLATE_THREAD_BYTES).hex()  # so that it does not shrink
LONG = json.dumps({**HELLO, "user": NOISE}).encode()


@pytest.mark.parametrize("body", [SMALL, LONG], ids=["small", "long"])
@pytest.mark.parametrize(
    ("coding", "encode"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)],
)
async def test_an_encoded_body_goes_on_as_plain_text(
    tmp_path: Path, coding: str, encode: Callable[[bytes], bytes], body: bytes
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(encode(body), headers=[("content-encoding", coding)])
    assert answer.status == 200
    assert upstream.last.body == body
    assert upstream.last.get("content-encoding") == []


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("br", SMALL, 415, "unsupported_encoding"),
        ("gzip, gzip", SMALL, 415, "unsupported_encoding"),
        ("gzip", SMALL, 400, "invalid_request"),
        ("gzip", gzip.compress(LONG)[:-9], 400, "invalid_request"),
        ("gzip", gzip.compress(b"[" * (40 << 20)), 413, "body_too_large"),
    ],
    ids=["brotli", "twice", "not-gzip", "cut", "bomb"],
)
async def test_an_encoded_body_that_cannot_be_read_is_refused(
    tmp_path: Path, coding: str, body: bytes, status: int, code: str
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(body, headers=[("content-encoding", coding)])
        assert not upstream.seen
    assert (answer.status, answer.code) == (status, code)
