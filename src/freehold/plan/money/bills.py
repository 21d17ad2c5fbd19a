"""What tokens cost in each of the next twelve months, by the list with its dates: the demand's own mix on a model.

    Demand(input, cached, output, calls) x rates(model, day, hour, size of prompt, batch) ──→ Bill: read, written [12]

Month k is priced on the day `today` + k months, so a change that is announced is in it. Where a price hangs on the hour
or the day of the week, the mean over a week. The size of a prompt is the demand's mean: a model that asks more above a
length is priced in the band of that mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from freehold.facts.prices import PriceBook
from freehold.facts.rates import Band, Rates
from freehold.facts.values import number
from freehold.nouns import Demand, Fact, ModelDemand

Floats = NDArray[np.float64]

__all__ = ["MONTHS", "Bill", "Mix", "bill", "flat", "mix_of", "present"]

MONTHS = 12
NOON = 43_200.0
DAY = 86_400.0
PROBES = tuple(3600.0 * hour for hour in (0, -10, -7, -4, -2, 3, 6, 9, 48, 62, 65, 68, 72, 75, 78, 81))
"""Hours from a noon at which a price by the hour or the day of the week would differ."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Tokens and calls a month; `batch` the share of them that waits for the batch price."""

    calls: float
    input: float
    cached: float
    output: float
    reasoning: float = 0.0
    batch: float = 0.0

    @property
    def prompt(self) -> float:
        """Tokens of a mean prompt, 0 where the calls aren't known."""
        return self.input / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Bill:
    """USD in each month at the demand's volume: for what is read (with a price a call) and what is written."""

    read: Floats
    written: Floats

    @property
    def total(self) -> Floats:
        return self.read + self.written

    @property
    def change(self) -> tuple[int, float]:
        """The first month whose price differs from the first one's, and by what factor; (0, 1.0) where none does."""
        total = self.total
        for month in range(1, MONTHS):
            if total[0] > 0 and abs(total[month] / total[0] - 1) > 0.005:
                return month, float(total[month] / total[0])
        return 0, 1.0


def mix_of(demand: Demand) -> Mix:
    return Mix(
        *(measure.value or 0.0 for measure in (
            demand.calls, demand.input, demand.cached, demand.output, demand.reasoning, demand.batch
        ))
    )  # fmt: skip


def part_of(demand: Demand, part: ModelDemand) -> Mix:
    """One model's part, with the whole demand's share of reasoning and batch."""
    written = demand.output.value or 0.0
    share = (demand.reasoning.value or 0.0) / written if written else 0.0
    return Mix(
        part.calls, part.input, part.cached, part.output, part.output * min(1.0, share), demand.batch.value or 0.0
    )


def present(demand: Demand, book: PriceBook, today: date) -> dict[str, Bill | None]:
    """What each model in use costs; None for one without a price."""
    return {part.model: bill(part_of(demand, part), part.model, book, today) for part in demand.models}


def bill(mix: Mix, model: str, book: PriceBook, today: date) -> Bill | None:
    """The mix on a model of the price list; None where it has no price on one of the days."""
    read, written = np.zeros(MONTHS), np.zeros(MONTHS)
    for month in range(MONTHS):
        usual = _mean(book, model, _noon(today, month), mix, "")
        if usual is None:
            return None
        waiting = _mean(book, model, _noon(today, month), mix, "batch") if mix.batch else None
        batch = mix.batch if waiting is not None else 0.0
        for cost, share in ((usual, 1 - batch), (waiting or usual, batch)):
            read[month] += share * cost[0]
            written[month] += share * cost[1]
    return Bill(read, written)


def flat(mix: Mix, row: Fact, book: PriceBook, today: date) -> Bill | None:
    """The mix at a row of hosted.json, with the changes that the price list announces for it. Raises BadSetting for a
    price that isn't a number."""
    if row.values.get("input") is None or row.values.get("output") is None:
        return None
    read, written = number(row, "input") / 1e6, number(row, "output") / 1e6
    cached = read if row.values.get("cached") is None else number(row, "cached") / 1e6
    listed = bill(mix, str(row.values.get("book", "")), book, today) if row.status != "given" else None
    change = np.ones(MONTHS) if listed is None or listed.total[0] <= 0 else listed.total / listed.total[0]
    kept = min(mix.cached, mix.input)
    return Bill(((mix.input - kept) * read + kept * cached) * change, mix.output * written * change)


def _noon(today: date, month: int) -> float:
    return datetime(*_later(today, month), tzinfo=UTC).timestamp() + NOON


def _later(day: date, months: int) -> tuple[int, int, int]:
    """The same day of a later month, the 28th at the latest where that month is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return year, month + 1, day.day if months == 0 else min(day.day, 28)


def _mean(book: PriceBook, model: str, noon: float, mix: Mix, tier: str) -> tuple[float, float] | None:
    """USD a month for reading and for writing: at that moment, or the mean of a week where hours differ."""
    seen = [book.rates(model, noon + at, tier) for at in PROBES]
    if any(rates is not seen[0] for rates in seen):
        seen = _week(book, model, noon - NOON, tier)
    else:
        seen = seen[:1]
    costs = [_cost(rates, mix) for rates in seen]
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return None
    return sum(a for a, _ in known) / len(known), sum(b for _, b in known) / len(known)


def _week(book: PriceBook, model: str, start: float, tier: str) -> list[Rates | None]:
    """The rates of each hour of a week; of the day alone where another price comes into force within that week."""
    dated = book.rates(model, start + NOON, tier) != book.rates(model, start + NOON + 7 * DAY, tier)
    return [book.rates(model, start + hour * 3600.0, tier) for hour in range(24 if dated else 7 * 24)]


def _cost(rates: Rates | None, mix: Mix) -> tuple[float, float] | None:
    if rates is None:
        return None
    band = next((b for b in reversed(rates.bands) if mix.prompt > b.above), rates.bands[0])
    if band.output is None and mix.output:
        return None
    return _read(band, mix), _written(band, mix)


def _read(band: Band, mix: Mix) -> float:
    kept = min(mix.cached, mix.input)
    cached = band.input if band.cached is None else band.cached
    return (mix.input - kept) * float(band.input) + kept * float(cached) + mix.calls * float(band.request)


def _written(band: Band, mix: Mix) -> float:
    output = float(band.output or 0)
    thought = min(mix.reasoning, mix.output)
    return (mix.output - thought) * output + thought * (output if band.reasoning is None else float(band.reasoning))
