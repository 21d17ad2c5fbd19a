"""Prices as genai-prices lists them (dated, by hour, by size of prompt, by price tier; MIT), read into Rates.

genai-prices   ModelInfo ── prices: [from a day | in some hours] ──→ Schedule of Rates
                         └─ price_variants: batch, flex, priority

What it lacks is said by data/tiers.csv: a tier's factor where the model's own tier prices were not yet written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from freehold.facts.catalogue import Row, load
from freehold.facts.models import Address
from freehold.facts.rates import Band, Rates, Schedule

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, TieredPrices

__all__ = ["TIERS", "factor_of", "listed", "midnight", "tier_starts"]

KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "audio_in": "input_audio_mtok",
    "audio_out": "output_audio_mtok",
    "reasoning": "output_reasoning_mtok",
}
"""A Band's field and the name of that price in genai-prices, in USD a million tokens."""
TIERS = ("batch", "flex", "priority")


def midnight(day: str) -> float:
    """Epoch seconds of an ISO date's first moment, UTC."""
    return datetime.combine(datetime.fromisoformat(day), time(), UTC).timestamp()


def listed(address: Address, tier: str) -> Schedule | None:
    """The schedule of a model on its provider's list; None where it isn't on it."""
    model, owner = next((found for name in address.names if (found := _model(address.provider, name))), (None, False))
    if model is None:
        return None
    name = address.names[-1]
    variants = (model.price_variants or []) if owner else []

    def resolve(at: float) -> Rates | None:
        return _tier_rates(model, variants, (address.provider, name, tier), at)

    starts = [*_starts(model), *tier_starts(address.provider, tier)]
    return Schedule(resolve, starts, any(_daily(model)))


@lru_cache(4096)
def _model(provider: str, name: str) -> tuple[ModelInfo, bool] | None:
    """A model on a provider's list, and whether it is the provider's own row: a cloud that lists another vendor's
    model at that vendor's price has tiers of its own."""
    from genai_prices.data_snapshot import get_snapshot

    if name.startswith("ft:") and provider != "openai":
        return None
    try:
        found, model = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    return model, any(model is one for one in found.models)


def _tier_rates(model: ModelInfo, variants: list[PriceVariant], which: tuple[str, str, str], at: float) -> Rates | None:
    """The rates of a tier: as listed for that day, else the usual ones times the vendor's factor."""
    provider, name, tier = which
    try:
        when = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    if not tier:
        return _rates(model.get_prices(when))
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    own = [variant for variant in variants if variant.when == context]
    if any(variant.constraint is None or variant.constraint.active(when) for variant in own):
        return _rates(model.get_prices(when, context))
    factor = factor_of(provider, name, tier, at, listed=bool(own))
    rates = None if factor is None else _rates(model.get_prices(when))
    if rates is None or factor is None:
        return None
    said = {key for variant in own for key, price in KEYS.items() if getattr(variant.prices, price) is not None}
    return rates.scaled(factor, frozenset(said))


def factor_of(provider: str, name: str, tier: str, at: float, listed: bool = False) -> Decimal | None:
    """What a tier costs as a share of the usual price, by data/tiers.csv; 1 for the usual tier, None where no source
    says. Rows marked `listed` hold only for models whose own price of that tier is on the list of a later day."""
    if not tier:
        return Decimal(1)
    for row in _tier_rows(provider, tier):
        fits = not row["models"] or re.search(row["models"], name)
        if fits and (listed or not row["listed"]) and (not row["since"] or at >= midnight(row["since"])):
            return Decimal(row["factor"])
    return None


def tier_starts(provider: str, tier: str) -> list[float]:
    return [midnight(row["since"]) for row in _tier_rows(provider, tier) if row["since"]]


@cache
def _tier_rows(provider: str, tier: str) -> tuple[Row, ...]:
    return tuple(row for row in load("tiers.csv") if row["provider"] == provider and row["tier"] == tier)


def _constraints(model: ModelInfo) -> Iterator[object]:
    if isinstance(model.prices, list):
        yield from (price.constraint for price in model.prices)
    yield from (variant.constraint for variant in model.price_variants or ())


def _starts(model: ModelInfo) -> Iterator[float]:
    from genai_prices.types import StartDateConstraint

    for constraint in _constraints(model):
        if isinstance(constraint, StartDateConstraint):
            yield midnight(constraint.start_date.isoformat())


def _daily(model: ModelInfo) -> Iterator[bool]:
    from genai_prices.types import TimeOfDateConstraint

    for constraint in _constraints(model):
        yield isinstance(constraint, TimeOfDateConstraint)


def _rates(price: ModelPrice) -> Rates | None:
    """A listed price as Rates; None where tokens aren't what is billed (hours of audio, pages)."""
    values = {field: getattr(price, key) for field, key in KEYS.items()}
    if values["input"] is None:
        return None
    aboves = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    request = (_at(price.requests_kcount, -1) or Decimal(0)) / 1000
    return Rates(
        tuple(
            Band.of({field: _at(value, above) for field, value in values.items()}, request, above)
            for above in (-1, *aboves)
        )
    )


def _at(value: Decimal | TieredPrices | None, above: int) -> Decimal | None:
    """A price for prompts of more than `above` tokens."""
    if value is None or isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= above), value.base)
