"""What tokens cost: a price per model, and exact arithmetic in nanodollars.

A cost is never lower than what the provider will bill, as far as the price is right: rounded up to
the next nanodollar, and the dearer kind where it isn't known which one a token is of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Any

from tokenomics.dialects.usage import Usage

NANODOLLARS = 10**9  # in a dollar
_NANO_A_TOKEN = 1000  # nanodollars a token costs at one dollar per million tokens
RATES = "input output cached cache_write cache_write_1h audio_input audio_output".split()
DOLLARS = (*RATES, "per_request")
COUNTS = ("max_output", "context", "over")
MAX_RATE = 10**5  # dollars; the dearest known model costs 600 a million tokens
MAX_PLACES = 6  # of a rate, after the point: to the millionth of a millionth of a dollar a token
ANY_MODEL = "*"  # the price of every model of a provider that has none of its own

# What tokens cost as, whose kind has no price of its own.
_WIDER = {
    "cached": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "audio_output": "output",
}

Row = Mapping[str, Any]  # of a table: a price without what follows from the rest of it
Rows = Mapping[str, Mapping[str, Row]]  # provider: model: row

# A model's name without the date of its snapshot: -2024-08-06, -20250514, @20250514, -latest.
_DATED = re.compile(r"(.+?)(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-latest)")
# They sell models of many vendors, at prices of their own.
MARKETPLACES = frozenset(("fireworks", "openrouter", "together"))


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs. The rates, from `input` to `audio_output`, are US dollars per million
    tokens; reasoning is billed as output. `per_request` is dollars for each request.

    `max_output` is the most output tokens that the model writes, `context` the most tokens it reads
    and writes; 0 if unknown. `long` is the price of a whole request with more than `over` input
    tokens.
    """

    input: Decimal
    output: Decimal
    cached: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    audio_input: Decimal
    audio_output: Decimal
    per_request: Decimal = Decimal(0)
    max_output: int = 0
    context: int = 0
    over: int = 0
    long: Price | None = None

    def at(self, input_: int) -> Price:
        """The price of a request with that many input tokens."""
        return self.long if self.long is not None and input_ > self.over else self

    def input_cost(self, tokens: int, *, lasting: bool = False, audio: bool = False) -> int:
        """The most nanodollars that a request with that many input tokens costs before it has any
        output. `lasting` says that some may be written to a cache for an hour, `audio` that some
        may be sound."""
        price = self.at(tokens)
        rates = [price.input, price.cached, price.cache_write]
        rates += [price.cache_write_1h] if lasting else []
        rates += [price.audio_input] if audio else []
        return _nano(tokens * max(rates), self.per_request)

    def output_rate(self, input_: int = 0, *, audio: bool = False) -> int:
        """The most nanodollars that one output token costs after that many input tokens. `audio`
        says that it may be sound."""
        price = self.at(input_)
        return _nano(max(price.output, price.audio_output) if audio else price.output)


def cost(usage: Usage, price: Price) -> int:
    """Nanodollars, rounded up."""
    at = price.at(usage.input)
    written, lasting = usage.cache_write, usage.cache_write_1h
    kinds = usage.cached + written + lasting + usage.audio_input
    return _nano(
        max(usage.input - kinds, 0) * at.input  # kinds of a joined usage may exceed it
        + usage.cached * at.cached
        + written * at.cache_write
        + lasting * at.cache_write_1h
        + usage.audio_input * at.audio_input
        + max(usage.output - usage.audio_output, 0) * at.output
        + usage.audio_output * at.audio_output,
        price.per_request,
    )


def _nano(millionths: Decimal, dollars: Decimal = Decimal(0)) -> int:
    """Rounded up. Exact up to here: the 28 digits of a Decimal hold MAX_TOKENS of each kind, 10
    digits, at any rate within bounds, 12 digits, and in nanodollars, 3 more."""
    nano = millionths * _NANO_A_TOKEN + dollars * NANODOLLARS
    return int(nano.to_integral_value(ROUND_CEILING))


def make_price(row: Row) -> Price:
    """The price of a row, which names at least `input` and `output`. What it does not name costs
    what the next wider kind does."""
    values: dict[str, Any] = {key: row[key] for key in COUNTS if key in row}
    # By its text a float is what was written: 0.1, not what is next to it in base two.
    values |= {key: Decimal(str(row[key])) for key in DOLLARS if key in row}
    for kind, wider in _WIDER.items():
        values.setdefault(kind, values[wider])
    if "long" in row:
        values["long"] = make_price(row["long"])
    return Price(**values)


class PriceBook:
    """The prices of all models of all providers. Nothing in it changes."""

    def __init__(self, rows: Rows) -> None:
        self._prices: Mapping[str, Mapping[str, Price]] = MappingProxyType(
            {
                provider: {model: make_price(row) for model, row in models.items()}
                for provider, models in rows.items()
            }
        )

    def find(self, provider: str, model: str) -> Price | None:
        """A model's price at a provider, None if it isn't known. It goes by the name, then by the
        name without a date, then by these without their vendor; never by how a name begins."""
        prices = self._prices.get(provider, {})
        names = [model]
        if provider not in MARKETPLACES and "/" in model:
            names.append(model.rpartition("/")[2])
        for name in names:
            for known in (name, undated(name)):
                if known in prices:
                    return prices[known]
        return prices.get(ANY_MODEL)


def undated(model: str) -> str:
    """A model's name without the date of its snapshot."""
    match = _DATED.fullmatch(model)
    return match[1] if match else model
