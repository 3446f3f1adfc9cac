"""What tokens cost: exact, never too little, and found by the right name."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.usage import MAX_TOKENS, Usage
from tokenomics.prices import (
    ANY_MODEL,
    MAX_PLACES,
    MAX_RATE,
    NANODOLLARS,
    Price,
    PriceBook,
    cost,
    make_price,
    undated,
)

GPT = {"input": 2.5, "output": 10, "cached": 1.25}
CLAUDE = {
    "input": 3,
    "output": 15,
    "cached": 0.3,
    "cache_write": 3.75,
    "cache_write_1h": 6,
    "max_output": 64_000,
    "context": 1_000_000,
}
LONG = {**CLAUDE, "over": 200_000, "long": {"input": 6, "output": 22.5, "cached": 0.6}}
SOUND = {**GPT, "audio_input": 40, "audio_output": 80}


# Costs


@pytest.mark.parametrize(
    ("row", "usage", "nanodollars"),
    [
        (GPT, Usage(0, 0), 0),
        (GPT, Usage(1_000_000, 0), 2_500_000_000),
        (GPT, Usage(0, 1_000_000), 10_000_000_000),
        (GPT, Usage(1000, 500, cached=200), 800 * 2500 + 200 * 1250 + 500 * 10_000),
        (GPT, Usage(1000, 500, reasoning=400), 1000 * 2500 + 500 * 10_000),
        (GPT, Usage(1000, 0, audio_input=1000), 1000 * 2500),
        (SOUND, Usage(100, 0, audio_input=60), 40 * 2500 + 60 * 40_000),
        (SOUND, Usage(0, 100, audio_output=60), 40 * 10_000 + 60 * 80_000),
        (
            CLAUDE,
            Usage(100, 0, cached=30, cache_write=20, cache_write_1h=10),
            40 * 3000 + 30 * 300 + 20 * 3750 + 10 * 6000,
        ),
        # One token of 0.0028 dollars a million is 2.8 nanodollars.
        ({"input": 0.0028, "output": 0}, Usage(1, 0), 3),
        ({"input": 0.0028, "output": 0}, Usage(10, 0), 28),
        ({"input": 0.1, "output": 0.2}, Usage(3, 3), 900),
        ({"input": 0, "output": 0}, Usage(10**9, 10**9), 0),
        ({"input": 0, "output": 0, "per_request": 0.04}, Usage(7, 3), 40_000_000),
        (LONG, Usage(200_000, 10), 200_000 * 3000 + 10 * 15_000),
        (LONG, Usage(200_001, 10), 200_001 * 6000 + 10 * 22_500),
        # Kinds that were joined from two tellings can be more than their total.
        (GPT, Usage(10, 0, cached=10, cache_write=10), 10 * 1250 + 10 * 2500),
    ],
    ids=str,
)
def test_what_a_usage_costs(row: dict[str, Any], usage: Usage, nanodollars: int) -> None:
    assert cost(usage, make_price(row)) == nanodollars


DEAREST = MAX_RATE - Decimal(1).scaleb(-MAX_PLACES)
rates = st.decimals(0, DEAREST, places=MAX_PLACES) | st.sampled_from([DEAREST, Decimal(0)])
counts = st.integers(0, 1000) | st.integers(0, MAX_TOKENS)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    kinds = "input output cached cache_write cache_write_1h audio_input audio_output per_request"
    return make_price({kind: draw(rates) for kind in kinds.split()})


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, brief, lasting, heard, spoken = [draw(counts) for _ in range(5)]
    input_ = cached + brief + lasting + heard + draw(counts)
    return Usage(input_, spoken + draw(counts), cached, brief, lasting, 0, heard, spoken)


@settings(max_examples=200, deadline=None)
@given(prices(), usages())
def test_a_cost_is_the_exact_sum_rounded_up(price: Price, usage: Usage) -> None:
    plain = usage.input - usage.cached - usage.cache_write - usage.cache_write_1h
    parts = [
        (plain - usage.audio_input, price.input),
        (usage.cached, price.cached),
        (usage.cache_write, price.cache_write),
        (usage.cache_write_1h, price.cache_write_1h),
        (usage.audio_input, price.audio_input),
        (usage.output - usage.audio_output, price.output),
        (usage.audio_output, price.audio_output),
    ]
    exact = sum(count * Fraction(rate) * 1000 for count, rate in parts)
    exact += Fraction(price.per_request) * NANODOLLARS
    assert 0 <= cost(usage, price) - exact < 1


def test_the_largest_costs_are_exact() -> None:
    kinds = "input output cached cache_write cache_write_1h audio_input audio_output per_request"
    price = make_price(dict.fromkeys(kinds.split(), DEAREST))
    one, all_ = MAX_TOKENS, 5 * MAX_TOKENS
    usage = Usage(all_, 2 * one, one, one, one, 0, one, one)
    assert cost(usage, price) == int(
        7 * one * Fraction(DEAREST) * 1000 + Fraction(DEAREST) * NANODOLLARS
    )


@settings(max_examples=200, deadline=None)
@given(prices(), usages(), usages())
def test_more_of_any_kind_never_costs_less_and_costs_add_up(
    price: Price, one: Usage, more: Usage
) -> None:
    both = Usage(*map(sum, zip(one, more, strict=True)))
    apart = cost(one, price) + cost(more, price) - cost(Usage(0, 0), price)
    assert cost(both, price) >= max(cost(one, price), cost(more, price))
    assert -2 <= cost(both, price) - apart <= 1


@settings(max_examples=200, deadline=None)
@given(prices(), usages())
def test_a_reservation_is_never_less_than_the_cost(price: Price, usage: Usage) -> None:
    held = price.input_cost(usage.input, lasting=True, audio=True)
    held += usage.output * price.output_rate(usage.input, audio=True)
    assert held >= cost(usage, price)


def test_what_is_reserved_is_what_a_request_can_cost() -> None:
    price = make_price({**LONG, "audio_input": 40, "audio_output": 80, "per_request": 1})
    assert price.input_cost(100) == NANODOLLARS + 100 * 3750
    assert price.input_cost(100, lasting=True) == NANODOLLARS + 100 * 6000
    assert price.input_cost(100, audio=True) == NANODOLLARS + 100 * 40_000
    assert price.input_cost(300_000) == NANODOLLARS + 300_000 * 6000
    assert (price.output_rate(), price.output_rate(audio=True)) == (15_000, 80_000)
    assert price.output_rate(300_000) == 22_500
    assert make_price({"input": 0, "output": 0.0028}).output_rate() == 3


# Rows


def test_a_kind_without_a_price_costs_what_the_wider_one_does() -> None:
    price = make_price({"input": 1, "output": 2, "cache_write": 3})
    assert (price.cached, price.cache_write, price.cache_write_1h) == (1, 3, 3)
    assert (price.audio_input, price.audio_output) == (1, 2)
    assert (price.per_request, price.max_output, price.context, price.long) == (0, 0, 0, None)


def test_facts_of_a_model_are_kept() -> None:
    price = make_price(LONG)
    assert (price.max_output, price.context) == (64_000, 1_000_000)


# Names

BOOK = PriceBook(
    {
        "openai": {
            "gpt-4o": GPT,
            "gpt-4o-2024-05-13": {"input": 5, "output": 15},
            "gpt-5-chat-latest": GPT,
        },
        "anthropic": {"claude-opus-4": CLAUDE, "claude-opus-4-5": CLAUDE},
        "groq": {"openai/gpt-oss": GPT},
        "openrouter": {"gpt-4o": GPT},
        "echo": {ANY_MODEL: GPT, "dear": CLAUDE},
    }
)


@pytest.mark.parametrize(
    ("provider", "model", "rate"),
    [
        ("openai", "gpt-4o", 2.5),
        ("openai", "gpt-4o-2024-08-06", 2.5),
        ("openai", "gpt-4o-2024-05-13", 5),
        ("openai", "gpt-4o-latest", 2.5),
        ("openai", "gpt-5-chat-latest", 2.5),
        ("openai", "gpt-5-chat", None),
        ("openai", "openai/gpt-4o", 2.5),
        ("openai", "openai/gpt-4o-2024-08-06", 2.5),
        ("openai", "gpt-4o-audio", None),
        ("openai", "gpt-4o-mini-2024-07-18", None),
        ("openai", "gpt-4", None),
        ("openai", "ft:gpt-4o-2024-08-06:team::1", None),
        ("openai", "gpt-4o-2024-08", None),
        ("openai", "GPT-4o", None),
        ("openai", "", None),
        ("openai", "/", None),
        ("openai", "-latest", None),
        ("openai", "claude-opus-4", None),
        ("anthropic", "claude-opus-4-20250514", 3),
        ("anthropic", "claude-opus-4@20250514", 3),
        ("anthropic", "claude-opus-4-5-20251101", 3),
        ("anthropic", "claude-opus-4-6", None),
        ("groq", "openai/gpt-oss", 2.5),
        ("groq", "gpt-oss", None),
        ("openrouter", "gpt-4o", 2.5),
        ("openrouter", "openai/gpt-4o", None),
        ("echo", "whatever", 2.5),
        ("echo", "dear", 3),
        ("ollama", "gpt-4o", None),
    ],
)
def test_a_price_is_found_by_name(provider: str, model: str, rate: float | None) -> None:
    price = BOOK.find(provider, model)
    assert (None if price is None else float(price.input)) == rate


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-opus-4@20250514", "claude-opus-4"),
        ("mistral-large-latest", "mistral-large"),
        ("mistral-large-2411", "mistral-large-2411"),
        ("gpt-4o", "gpt-4o"),
        ("-latest", "-latest"),
        ("a\n-latest", "a\n-latest"),
    ],
)
def test_a_name_without_its_date(model: str, name: str) -> None:
    assert undated(model) == name
