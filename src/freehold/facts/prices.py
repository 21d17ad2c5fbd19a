"""What a call cost, from the price in force on its day (genai-prices: dated, tiered, by time of day; MIT).

price("gpt-4o-mini", Tokens(prompt=1000, cached=400, completion=10), at)
    = 600 x input + 400 x cached input + 10 x output, each at the rate of that hour
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from freehold.facts.models import plain_name, vendor_row
from freehold.nouns import Tokens

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

__all__ = ["price"]


def price(model: str, tokens: Tokens, at: float | None) -> float | None:
    """USD for one call at epoch seconds `at`; None for a model or a time that isn't known. A fine-tune has its own
    prices, so it isn't priced as its base."""
    found = None if at is None else _model(model)
    if at is None or found is None:
        return None
    return _cost(_Rates(found.get_prices(datetime.fromtimestamp(at, UTC))), tokens)


class _Rates:
    """A price in force, hashed by which one it is: the same object through all hours that it holds for."""

    __slots__ = ("price",)

    def __init__(self, price: ModelPrice) -> None:
        self.price = price

    def __hash__(self) -> int:
        return id(self.price)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rates) and self.price is other.price


@lru_cache(4096)
def _model(model: str) -> ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    row = vendor_row(model)
    if row is None or model.strip().lower().rpartition("/")[2].startswith("ft:"):
        return None
    try:
        return get_snapshot().find_provider_model(plain_name(model), None, row["prices"], None)[1]
    except LookupError:
        return None


@lru_cache(65536)
def _cost(rates: _Rates, tokens: Tokens) -> float | None:
    from genai_prices import Usage

    usage = Usage(
        input_tokens=tokens.prompt, output_tokens=tokens.completion, cache_read_tokens=min(tokens.cached, tokens.prompt)
    )
    try:
        return float(rates.price.calc_price(usage)["total_price"])
    except ValueError:  # a price that needs a count which chat logs don't carry
        return None
