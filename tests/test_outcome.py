"""What a row of the request log tells of tokens."""

from __future__ import annotations

import pytest

from tokenomics.dialects.usage import Usage
from tokenomics.outcome import Outcome


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (None, {}),
        (Usage(0, 0), {"input_tokens": 0, "output_tokens": 0}),
        (Usage(7, 3), {"input_tokens": 7, "output_tokens": 3}),
        (
            Usage(100, 50, 40, 20, 10, 30, 5, 6),
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "cached_tokens": 40,
                "cache_write_tokens": 30,
                "reasoning_tokens": 30,
                "audio_tokens": 11,
            },
        ),
    ],
    ids=str,
)
def test_a_row_tells_the_kinds_of_tokens_that_there_were(
    usage: Usage | None, told: dict[str, int]
) -> None:
    row = Outcome("req_1", "/v1/chat/completions", 0.0, usage=usage).log_row(hide_hash=False)
    assert {key: value for key, value in row.items() if key.endswith("_tokens")} == told
