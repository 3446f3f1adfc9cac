"""A short run of the fuzzer over bodies, and that it would find what it looks for."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.fuzz import asks, asks_maker
from tokenomics import strictjson
from tokenomics.errors import Refusal

RUNS = 3000  # bodies: about 1.5 s
SEED = 11


def test_every_body_is_read_and_rewritten_or_refused() -> None:
    out = io.StringIO()
    totals = asks.fuzz(RUNS, SEED, out)
    assert totals.wrong == 0, out.getvalue()
    assert totals.refused > RUNS / 10  # both kinds are looked at
    assert totals.bodies - totals.refused > RUNS / 10


def found(runs: int = RUNS) -> bool:
    return asks.fuzz(runs, SEED, io.StringIO()).wrong > 0


def test_a_reader_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(endpoint: Any, body: bytes, content_type: str) -> Any:
        if body and not body.startswith((b"{", b"--bound", b"[")):
            raise ValueError(body[0])
        raise Refusal("invalid_json", "what else")

    monkeypatch.setattr(asks, "read", careless)
    assert found(100)


def test_a_rewriter_that_forgets_a_text_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = asks.rewrite

    def forgetful(ask: Any, *, masked: Any, **changes: Any) -> tuple[bytes, str]:
        if masked is not None and len(masked) > 3:
            masked = [*masked[:-1], ask.texts[-1].value]
        return whole(ask, masked=masked, **changes)

    monkeypatch.setattr(asks, "rewrite", forgetful)
    assert found(50)


@pytest.mark.parametrize("name", asks_maker.RAW)
def test_what_no_writer_makes_stands_in_the_bytes(name: str) -> None:
    data = asks_maker.written({"a": [asks_maker.Raw(name)]})
    assert data == b'{"a": [' + asks_maker.RAW[name] + b"]}"
    fine = name in ("pair", "minus", "nul", "deep", "long")
    try:
        strictjson.loads(data)
    except strictjson.BadJSON:
        assert not fine
    else:
        assert fine
