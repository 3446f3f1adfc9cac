"""Usage objects of all dialects, as providers document them, and those that nobody can trust."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.usage import MAX_TOKENS, Usage, read_usage

CHAT = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
MESSAGE = {"input_tokens": 7, "output_tokens": 3}

# What providers send, after the examples of the pages that `usage` cites.
REAL: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai-chat": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 192,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        Usage(2006, 300, cached=1920, reasoning=192),
    ),
    "openai-audio": (
        {
            "prompt_tokens": 236,
            "completion_tokens": 59,
            "total_tokens": 295,
            "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 17, "audio_tokens": 219},
            "completion_tokens_details": {"audio_tokens": 45, "text_tokens": 14},
        },
        Usage(236, 59, audio_input=219, audio_output=45),
    ),
    "openai-cache-write": (
        {**CHAT, "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 60}},
        Usage(100, 40, cached=30, cache_write=60),
    ),
    "responses": (
        {
            "input_tokens": 328,
            "input_tokens_details": {"cached_tokens": 128},
            "output_tokens": 1024,
            "output_tokens_details": {"reasoning_tokens": 832},
            "total_tokens": 1352,
        },
        Usage(328, 1024, cached=128, reasoning=832),
    ),
    "anthropic": (
        {
            "input_tokens": 50,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 503,
            "service_tier": "standard",
        },
        Usage(2098, 503, cached=1800, cache_write=148, cache_write_1h=100),
    ),
    "anthropic-of-old": (
        {**MESSAGE, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100},
        Usage(127, 3, cached=100, cache_write=20),
    ),
    "anthropic-in-parts": (
        {**MESSAGE, "cache_creation": {"ephemeral_1h_input_tokens": 20}},
        Usage(27, 3, cache_write_1h=20),
    ),
    "anthropic-null": (
        {**MESSAGE, "cache_read_input_tokens": None, "cache_creation": None},
        Usage(7, 3),
    ),
    "transcript": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 10, "audio_tokens": 4},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        Usage(14, 45, audio_input=4),
    ),
    "picture": (
        {
            "total_tokens": 100,
            "input_tokens": 50,
            "output_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        },
        Usage(50, 50),
    ),
    "embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),
    "rerank": ({"total_tokens": 10}, Usage(10, 0)),
    "deepseek": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 40,
            "total_tokens": 140,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
        Usage(100, 40, cached=64, reasoning=30),
    ),
    "groq": (
        {
            "queue_time": 0.037,
            "prompt_tokens": 18,
            "prompt_time": 0.00068,
            "completion_tokens": 556,
            "completion_time": 0.463,
            "total_tokens": 574,
            "total_time": 0.464,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
        Usage(18, 556, cached=4),
    ),
    # These count the reasoning beside the completion.
    "xai": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
        },
        Usage(32, 103, cached=6, reasoning=94),
    ),
    "xai-responses": (
        {
            "input_tokens": 32,
            "input_tokens_details": {"cached_tokens": 6},
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 94},
            "total_tokens": 135,
        },
        Usage(32, 103, cached=6, reasoning=94),
    ),
    "gemini": (
        {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
        Usage(20, 603, reasoning=405),
    ),
}


@pytest.mark.parametrize(("value", "usage"), REAL.values(), ids=REAL)
def test_what_providers_send_is_read_by_kind(value: dict[str, Any], usage: Usage) -> None:
    assert read_usage(value) == usage


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"input_tokens": 0, "output_tokens": 0}, Usage(0, 0)),
        ({"completion_tokens": 3}, Usage(0, 3)),
        ({"prompt_tokens": 12.0, "completion_tokens": 3.0}, Usage(12, 3)),
        ({"prompt_tokens": MAX_TOKENS, "completion_tokens": 10**9}, Usage(10**9, 10**9)),
        ({}, None),
        ({"type": "duration", "seconds": 9}, None),
        ({"type": "duration", "seconds": 9, "input_tokens": 7}, None),
        ({"total_tokens": 10, "cost": 1}, None),
        ({"total_tokens": "10"}, None),
        (None, None),
        ([7, 3], None),
        ({"input_tokens": 7, "output_tokens": -3}, None),
        ({**MESSAGE, "cache_read_input_tokens": "9"}, None),
        ({**MESSAGE, "cache_creation_input_tokens": -9}, None),
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": "7", "completion_tokens": 3}, None),
        ({"prompt_tokens": 7.5, "completion_tokens": 3}, None),
        ({"prompt_tokens": float("nan"), "completion_tokens": 3}, None),
        ({"prompt_tokens": float("inf"), "completion_tokens": 3}, None),
        ({"prompt_tokens": None, "completion_tokens": 3}, None),
        ({"prompt_tokens": MAX_TOKENS + 1, "completion_tokens": 3}, None),
        ({"prompt_tokens": 7, "completion_tokens": 10**300}, None),
        ({"prompt_tokens": 7, "completion_tokens": 1e300}, None),
    ],
    ids=lambda v: str(v)[:40],
)
def test_totals_that_can_be_trusted(value: Any, usage: Usage | None) -> None:
    assert read_usage(value) == usage


@pytest.mark.parametrize(
    "bad", [-1, "9", True, None, 1.5, MAX_TOKENS + 1, [], float("nan")], ids=str
)
def test_a_kind_that_is_no_count_is_none(bad: Any) -> None:
    value = {
        **CHAT,
        "total_tokens": bad,
        "prompt_tokens_details": {"cached_tokens": bad, "audio_tokens": bad},
        "completion_tokens_details": {"reasoning_tokens": bad, "audio_tokens": bad},
    }
    assert read_usage(value) == Usage(100, 40)
    assert read_usage({**CHAT, "prompt_tokens_details": bad}) == Usage(100, 40)
    assert read_usage({**MESSAGE, "cache_creation": bad}) == Usage(7, 3)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        (
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 500, "cache_write_tokens": 500}},
            Usage(100, 40, cache_write=100),
        ),
        (
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 50}},
            Usage(100, 40, cached=50, audio_input=50),
        ),
        (
            {**CHAT, "completion_tokens_details": {"reasoning_tokens": 90, "audio_tokens": 90}},
            Usage(100, 40, reasoning=40, audio_output=40),
        ),
        (
            {
                **MESSAGE,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 9},
            },
            Usage(12, 3, cache_write_1h=5),
        ),
    ],
    ids=["cached", "cached-audio", "output", "lasting"],
)
def test_a_kind_is_no_more_than_what_it_is_a_part_of(value: Any, usage: Usage) -> None:
    assert read_usage(value) == usage


names = st.sampled_from(
    """prompt_tokens completion_tokens input_tokens output_tokens total_tokens type cached_tokens
    audio_tokens reasoning_tokens cache_write_tokens prompt_tokens_details output_tokens_details
    completion_tokens_details input_tokens_details input_token_details prompt_cache_hit_tokens
    cache_creation cache_creation_input_tokens cache_read_input_tokens ephemeral_1h_input_tokens
    ephemeral_5m_input_tokens""".split()
)
numbers = st.integers(-2, 60) | st.floats() | st.sampled_from([None, True, "7", 10**9, 10**10])
values = st.recursive(
    numbers, lambda inner: st.dictionaries(names, inner, max_size=9), max_leaves=20
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, values, max_size=9))
def test_whatever_comes_is_read_and_its_kinds_fit(value: dict[str, Any]) -> None:
    usage = read_usage(value)
    if usage is None:
        return
    assert all(type(count) is int and count >= 0 for count in usage)
    kinds = usage.cached + usage.cache_write + usage.cache_write_1h + usage.audio_input
    assert kinds <= usage.input
    assert max(usage.reasoning, usage.audio_output) <= usage.output
