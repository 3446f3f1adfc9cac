"""The table of prices: what it holds, and that no row is out of bounds."""

from __future__ import annotations

from datetime import date

import pytest

from tokenomics.cli.docs import page
from tokenomics.config.catalogue import CATALOGUE
from tokenomics.config.prices import PRICES, PRICES_AS_OF
from tokenomics.prices import DOLLARS, RATES, PriceBook, make_price

ROWS = [(provider, model) for provider, models in PRICES.items() for model in models]
BOOK = PriceBook(PRICES)


def test_the_table_has_a_date() -> None:
    assert date.fromisoformat(PRICES_AS_OF) >= date(2026, 11, 24)


@pytest.mark.parametrize(("provider", "model"), ROWS)
def test_a_row_is_within_bounds(provider: str, model: str) -> None:
    row = PRICES[provider][model]
    assert row.keys() <= {*DOLLARS, "max_output", "context", "over", "long"}
    price = make_price(row)
    assert all(0 <= getattr(price, rate) <= 200 for rate in RATES)
    assert price.cached <= price.input <= price.cache_write <= price.cache_write_1h
    assert price.input <= price.audio_input
    assert price.output <= price.audio_output
    assert 0 <= price.max_output <= price.context or not price.context
    assert (price.long is None) == (price.over == 0)
    if price.long is not None:
        assert price.over < price.context
        assert all(getattr(price.long, rate) > getattr(price, rate) for rate in RATES)


# Models of people's own machines cost what these say, marketplaces have prices of their own, a
# deployment's name says nothing of its model; and of some nobody has looked the prices up.
UNPRICED = set(
    """ollama vllm lmstudio llamacpp litellm
    together fireworks openrouter huggingface deepinfra hyperbolic nebius novita nvidia sambanova
    azure azure-deployments
    cerebras dashscope minimax moonshot perplexity zai""".split()
)


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - UNPRICED))
def test_the_models_of_the_catalogue_have_prices(name: str) -> None:
    assert [m for m in CATALOGUE[name].get("models", ()) if BOOK.find(name, m) is None] == []
    assert name in PRICES


@pytest.mark.parametrize("name", sorted(UNPRICED))
def test_what_nobody_can_know_has_no_price(name: str) -> None:
    assert BOOK.find(name, "gpt-4o") is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "dall-e-3"),
        ("openai", "whisper-1"),
        ("openai", "tts-1"),
        ("openai", "gpt-4o-mini-tts"),
        ("openai", "gpt-4o-realtime-preview"),
        ("cohere", "rerank-v3.5"),
    ],
)
def test_what_is_not_billed_by_the_tokens_of_an_answer_is_not_there(
    provider: str, model: str
) -> None:
    assert BOOK.find(provider, model) is None


def test_moderation_is_free() -> None:
    price = BOOK.find("openai", "omni-moderation-latest")
    assert price is not None
    assert (price.input, price.output) == (0, 0)


def test_the_page_names_the_date_and_the_providers() -> None:
    text = page("prices")
    assert PRICES_AS_OF in text
    assert [name for name in PRICES if f"`{name}`" not in text] == []
