"""Prices that `providers.yaml` gives, over those of the table."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tokenomics.config.prices import PRICES
from tokenomics.config.providers import build_providers, price_book
from tokenomics.dialects.usage import Usage
from tokenomics.errors import Invalid
from tokenomics.prices import Price, cost


def find(provider: str, model: str, prices: Any, **row: Any) -> Price | None:
    """A price after `prices` of `providers.yaml`."""
    book = price_book(build_providers({provider: {**row, "prices": prices}}))
    return book.find(provider, model)


def priced(provider: str, model: str, prices: Any) -> Price:
    price = find(provider, model, prices)
    assert price is not None
    return price


def test_without_prices_the_table_holds() -> None:
    book = price_book(build_providers({}))
    price = book.find("openai", "gpt-4o")
    assert price is not None
    assert (price.input, price.output) == (Decimal("2.5"), 10)
    assert book.find("ollama", "llama3") is None
    assert book.find("gemini", "gemini-2.5-flash") is not None  # whoever adds it by that name


def test_a_field_is_laid_over_the_table_and_the_others_stay() -> None:
    price = priced("openai", "gpt-4o", {"gpt-4o": {"input": 2}})
    assert (price.input, price.output, price.cached) == (2, 10, Decimal("1.25"))
    assert price.max_output == PRICES["openai"]["gpt-4o"]["max_output"]
    assert priced("openai", "gpt-4o-mini", {"gpt-4o": {"input": 2}}).input == Decimal("0.15")


def test_a_dated_name_is_laid_over_the_price_without_its_date() -> None:
    prices = {"gpt-4o-2024-08-06": {"input": 2}}
    assert priced("openai", "gpt-4o-2024-08-06", prices).output == 10
    assert priced("openai", "gpt-4o", prices).input == Decimal("2.5")


def test_a_model_and_a_provider_of_ones_own() -> None:
    row = {"input": 0.1, "output": 0.2, "max_output": 4096, "context": 8192, "per_request": 0.01}
    price = find("local", "m", {"m": row}, upstream_url="http://10.0.0.1:8000")
    assert price is not None
    assert (price.max_output, price.context) == (4096, 8192)
    assert cost(Usage(3, 3), price) == 10_000_000 + 900
    assert find("local", "n", {"m": row}) is None


def test_ones_own_machine_costs_nothing_if_it_is_said() -> None:
    price = priced("ollama", "whatever", {"*": {"input": 0, "output": 0}})
    assert cost(Usage(10**6, 10**6), price) == 0


def test_a_long_input_has_prices_of_its_own() -> None:
    long = {"over": 1000, "long": {"input": 2, "output": 4}}
    price = priced("local", "m", {"m": {"input": 1, "output": 2, "cached": 0.5, **long}})
    assert cost(Usage(1000, 10, cached=1000), price) == 1000 * 500 + 10 * 2000
    assert cost(Usage(1001, 10, cached=1001), price) == 1001 * 2000 + 10 * 4000
    assert priced("gemini", "gemini-2.5-pro", {"gemini-2.5-pro": {"over": 5}}).over == 5


@pytest.mark.parametrize("number", [0.1, 0.0028, 1e-06, 2.5, 10, 99999.999999])
def test_a_number_is_what_was_written(number: float) -> None:
    price = priced("local", "m", {"m": {"input": number, "output": 0}})
    assert price.input == Decimal(str(number))


FREE = {"input": 0, "output": 0}


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ([1], r"providers.p.prices must map models to prices, such as \{input: 2.5"),
        (None, "providers.p.prices must map models to prices"),
        ({"m": 2.5}, r"providers.p.prices.m must be a mapping such as \{input"),
        ({4.1: FREE}, r"providers.p.prices.4.1: the name of a model must be text \(quote it\)"),
        ({"m": {**FREE, "inputs": 1}}, "p.prices.m.inputs is not a known key; did you mean input?"),
        ({"m": {**FREE, "zzz": 1}}, "p.prices.m.zzz is not a known key; known: input, output, c"),
        ({"m": {**FREE, 1: 1}}, "p.prices.m.1 is not a known key"),
        ({"m": {**FREE, "input": "2.5"}}, "p.prices.m.input must be a number of US dollars"),
        ({"m": {**FREE, "input": True}}, "p.prices.m.input must be a number of US dollars"),
        ({"m": {**FREE, "input": None}}, "p.prices.m.input must be a number of US dollars"),
        ({"m": {**FREE, "input": -1}}, "p.prices.m.input must be from 0 to less than 100000"),
        ({"m": {**FREE, "input": 10**5}}, "p.prices.m.input must be from 0 to less than 100000"),
        ({"m": {**FREE, "input": 10**5000}}, "p.prices.m.input must be from 0 to less than 100000"),
        ({"m": {**FREE, "input": float("nan")}}, "p.prices.m.input must be from 0 to less"),
        ({"m": {**FREE, "input": float("inf")}}, "p.prices.m.input must be from 0 to less"),
        ({"m": {**FREE, "input": 1e-7}}, "p.prices.m.input must have 6 digits after the point"),
        ({"m": {**FREE, "context": 1.5}}, "p.prices.m.context must be a whole number of tokens"),
        ({"m": {**FREE, "max_output": -1}}, "p.prices.m.max_output must be a whole number"),
        ({"m": {**FREE, "max_output": True}}, "p.prices.m.max_output must be a whole number"),
        ({"m": {"output": 1}}, "p.prices.m needs input: the price of this model isn't known here"),
        ({"m": {"input": 1}}, "p.prices.m needs output"),
        ({"m": {}}, "p.prices.m needs input"),
        ({"m": {**FREE, "long": FREE}}, "p.prices.m needs both over and long, or neither"),
        ({"m": {**FREE, "over": 9}}, "p.prices.m needs both over and long, or neither"),
        ({"m": {**FREE, "over": 9, "long": 1}}, "p.prices.m.long must be a mapping such as"),
        ({"m": {**FREE, "over": 9, "long": {"input": 1}}}, "p.prices.m.long needs output"),
        (
            {"m": {**FREE, "over": 9, "long": {**FREE, "over": 9}}},
            "p.prices.m.long.over is not a known key; did you mean output?|known: input",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_price_that_is_wrong_is_refused_with_its_place(prices: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        build_providers({"p": {"prices": prices}})


def test_one_fault_is_told_once() -> None:
    with pytest.raises(Invalid) as caught:
        build_providers({"p": {"prices": {"m": {"input": "x", "output": 1}, "n": 3}}})
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(Invalid) as caught:
        build_providers({"p": {"prices": {"m": {**FREE, "over": 9, "long": 1}}}})
    assert len(str(caught.value).splitlines()) == 1
