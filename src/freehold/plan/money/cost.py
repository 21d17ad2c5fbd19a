"""What each way costs: Monte Carlo over the assumptions, the same draws for all, so that savings are paired.

    options(demand, setups, ranges, ...) ──→ Option each: month, year, once, $/M tokens, saves, chance, break-even, ...

P10, P50, P90 are Measure.low, value, high. `month` and `saves` are the first month's; `chance` is the share of draws in
which a way has saved money after twelve months with the work of getting there paid; `payback` is that work (and the
machines, where they are bought: cash) over the mean monthly saving. `break_even` and `utilisation` hold at the median
of every assumption. The bill of staying goes on in these figures after a model is switched off: what it would cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from freehold.errors import BadSetting
from freehold.facts.prices import PriceBook
from freehold.facts.tables import Facts
from freehold.measure import share
from freehold.nouns import Assumption, Demand, Measure, Option
from freehold.plan.money.even import even, load_even
from freehold.plan.money.ranges import column, tokens
from freehold.plan.money.setups import Setup
from freehold.plan.money.world import World, added, machines, once, spend

Floats = NDArray[np.float64]

__all__ = ["DRAWS", "FEW", "Money", "options"]

DRAWS = 4000
FEW = 127
"""Draws where a decision is asked many times (flips)."""
TENTHS = (0.1, 0.5, 0.9)


def options(
    demand: Demand,
    setups: Sequence[Setup],
    ranges: Sequence[Assumption],
    *,
    book: PriceBook,
    facts: Facts,
    today: date,
    seed: int = 0,
    draws: int = DRAWS,
    fixed: Mapping[str, float] | None = None,
) -> tuple[Option, ...]:
    """Each setup with its money; the first `closed` one is staying as it is. `fixed` sets assumptions to one value.
    Raises BadSetting for a fixed name that isn't an assumption."""
    return Money(demand, setups, ranges, book=book, facts=facts, today=today, seed=seed, draws=draws).options(fixed)


@dataclass(frozen=True, slots=True)
class _Run:
    """One setup over all draws: what it goes to, all of it, the work to get there, and the machines that are bought.
    `gain` is staying less this way; None where one of them isn't known."""

    parts: dict[str, Floats]
    total: Floats
    once: Floats
    outlay: Floats
    worn: Floats
    gain: Floats | None


class Money:
    """The draws of one plan, made once, so that its options can be asked for again with other assumptions fixed."""

    def __init__(
        self, demand: Demand, setups: Sequence[Setup], ranges: Sequence[Assumption], *, book: PriceBook, facts: Facts,
        today: date, seed: int = 0, draws: int = DRAWS,
    ) -> None:  # fmt: skip
        self.demand, self.setups, self.today, self.draws = demand, tuple(setups), today, draws
        self.known = {one.name: one for one in ranges}
        stays = [one for one in setups if one.way == "closed"]
        if len(stays) != 1:
            raise BadSetting(f"{len(stays)} setups stay as it is.", "Give one: closed_setups makes it.")
        self.stay = stays[0]
        own = (*ranges, *_quotes(setups))
        self._by = {one.name: column(one, draws, seed)[:, None] for one in own}
        self._medians = {one.name: one.value for one in own}
        self._refs = tuple(
            facts.get("assumptions", one.name).ref for one in ranges if facts.find("assumptions", one.name)
        )
        self._method = f"P10, P50 and P90 of {draws:,} draws over {len(own)} assumptions, seed {seed}; {book.method()}"

    def options(self, fixed: Mapping[str, float] | None = None, *, quick: bool = False) -> tuple[Option, ...]:
        """`quick` leaves out what no rule reads: intervals, the months, break-even, energy."""
        world = self._world(self._by, fixed)
        stay = spend(self.stay, world)
        bill = None if stay is None else added(stay)
        found = [(setup, _run(setup, world, bill)) for setup in self.setups]
        if quick:
            return tuple(_quick(setup, run, self.draws) for setup, run in found)
        return tuple(self._full(setup, run, world, fixed) for setup, run in found)

    def _world(self, by: Mapping[str, Floats], fixed: Mapping[str, float] | None) -> World:
        unknown = [name for name in fixed or {} if name not in self.known]
        if unknown:
            raise BadSetting(f"There is no assumption {unknown[0]!r}.", f"Known: {', '.join(self.known)}.")
        given = {name: np.full((1, 1), float(value)) for name, value in (fixed or {}).items()}
        return World(self.demand, self.stay, self.known, {**by, **given})

    def _full(self, setup: Setup, run: _Run | None, world: World, fixed: Mapping[str, float] | None) -> Option:
        option = _quick(setup, run, self.draws)
        if run is None:
            return option
        tenths = Tenths(self.draws, self._method)
        months = tuple(map(tuple, np.quantile(run.total, TENTHS, axis=0).T.tolist()))
        each = run.total[:, 0] / (world.volume[:, 0] * tokens(self.demand)) * 1e6
        energy = machines(setup, world).energy if setup.gpus else None
        carbon = None if energy is None else energy * world.by["grid"]
        option = replace(
            option, month=tenths.measure(run.total[:, 0], "USD/month"),
            year=tenths.measure(run.total.sum(axis=1), "USD/year"), once=tenths.measure(run.once, "USD"),
            per_million=tenths.measure(each, "USD/1M tokens"), months=months,
            energy=_watched(energy, "kWh/month", tenths), carbon=_watched(carbon, "kg CO2/month", tenths),
            notes=(*setup.notes, *_said(setup, run)), uses=(*setup.uses, *self._refs),
        )  # fmt: skip
        if setup.way == "closed" or run.gain is None:
            return option
        kept = run.gain.sum(axis=1) - run.once > 0
        chance = replace(share(int(kept.sum()), self.draws), method=f"share of {self.draws:,} draws in which it has "
                         "saved after 12 months, the work of getting there paid; Clopper-Pearson 95 %")  # fmt: skip
        at = self._even(setup, fixed)
        return replace(
            option, saves=tenths.measure(run.gain[:, 0], "USD/month"), chance=chance, break_even=at,
            utilisation=self._load(setup, fixed), payback=_payback(run, tenths, self.today),
        )  # fmt: skip

    def _even(self, setup: Setup, fixed: Mapping[str, float] | None) -> Measure:
        return even(lambda volume: self._apart(setup, volume, fixed))

    def _apart(self, setup: Setup, volume: Floats, fixed: Mapping[str, float] | None) -> tuple[Floats, Floats] | None:
        """(this way, staying) in the first month at each volume, all else at its median."""
        world = self._middle(fixed, volume)
        parts, stay = spend(setup, world), spend(self.stay, world)
        return None if parts is None or stay is None else (added(parts)[:, 0], added(stay)[:, 0])

    def _load(self, setup: Setup, fixed: Mapping[str, float] | None) -> Measure:
        world = self._middle(fixed)
        parts, stay = spend(setup, world), spend(self.stay, world)
        if not setup.gpus or parts is None or stay is None:
            return Measure(None, method="it has no machines of its own" if not setup.gpus else "")
        work = float(machines(setup, world).replicas[0, 0]) * float(world.by["speed"][0, 0])
        return load_even(setup, parts, added(stay), work, tokens(self.demand))

    def _middle(self, fixed: Mapping[str, float] | None, volume: Floats | None = None) -> World:
        by = {name: np.full((1, 1), value) for name, value in self._medians.items()}
        world = {**by, **{name: np.full((1, 1), float(value)) for name, value in (fixed or {}).items()}}
        if volume is not None:
            world["volume"] = volume[:, None]
        return self._world(world, None)


class Tenths:
    """P10, P50 and P90 of draws."""

    def __init__(self, n: int, method: str) -> None:
        self.n, self.method = n, method

    def __call__(self, values: Floats) -> tuple[float, float, float]:
        if values.size == 1:
            return (float(values[0]),) * 3
        low, value, high = np.quantile(values, TENTHS)
        return float(low), float(value), float(high)

    def measure(self, values: Floats, unit: str) -> Measure:
        low, value, high = self(values)
        return Measure(value, low, high, self.n, unit, self.method)


def _run(setup: Setup, world: World, bill: Floats | None) -> _Run | None:
    parts = spend(setup, world)
    if parts is None:
        return None
    total = added(parts)
    outlay = np.zeros(1)
    worn = np.zeros(1)
    if setup.way == "buy":
        outlay = np.atleast_1d(machines(setup, world).outlay)
        worn = parts["machines"].mean(axis=1)
    gain = None if bill is None else bill - total
    return _Run(parts, total, np.atleast_1d(once(setup, world)), outlay, worn, gain)


def _quick(setup: Setup, run: _Run | None, n: int) -> Option:
    gain = None if run is None else run.gain
    staying = setup.way == "closed"
    chance = payback = None
    if run is not None and gain is not None and not staying:
        chance, payback = float((gain.sum(axis=1) > run.once).mean()), _half(_months(run))
    saves = 0.0 if staying else None if gain is None else _half(gain[:, 0])
    nothing = Measure(None)
    return Option(
        setup.way, setup.name, setup.model,
        month=Measure(None if run is None else _half(run.total[:, 0]), n=n, unit="USD/month"), year=nothing,
        once=Measure(None if run is None else _half(run.once), n=n, unit="USD"), per_million=nothing,
        saves=Measure(saves, n=n, unit="USD/month"), chance=Measure(chance, n=n),
        break_even=Measure(None, unit="tokens/month"), utilisation=nothing,
        payback=Measure(_finite(payback), n=n, unit="months"), energy=Measure(None, unit="kWh/month"),
        carbon=Measure(None, unit="kg CO2/month"), provider=setup.provider, hardware=setup.hardware, gpus=setup.gpus,
        replicas=setup.replicas, format=setup.format, engine=setup.engine, out=setup.out, notes=setup.notes,
        parts={} if run is None else {name: _half(part[:, 0]) for name, part in run.parts.items()},
        uses=setup.uses,
    )  # fmt: skip


def _half(values: Floats) -> float:
    """The middle one; np.median takes ten times as long, and a flip table asks for hundred thousands."""
    middle = values.size // 2
    return float(np.partition(values, middle)[middle])


def _finite(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else value


def _months(run: _Run) -> Floats:
    """Months until the work, and machines bought, are paid by what is saved in cash; infinity: never."""
    assert run.gain is not None
    saved = run.gain.mean(axis=1) + run.worn
    spent = run.once + run.outlay
    return np.where(saved > 0, spent / np.where(saved > 0, saved, 1.0), np.inf)


def _payback(run: _Run, tenths: Tenths, today: date) -> Measure:
    low, value, high = map(_finite, np.quantile(_months(run), TENTHS, method="inverted_cdf").tolist())
    when = "never" if value is None else _later(today, value)
    return Measure(value, low, high, tenths.n, "months", f"paid back: {when}; {tenths.method}")


def _later(today: date, months: float) -> str:
    if months > 1200:
        return "in more than a hundred years"
    whole = today.year * 12 + today.month - 1 + int(-(-months // 1))
    return f"{whole // 12}-{whole % 12 + 1:02}"


def _watched(values: Floats | None, unit: str, tenths: Tenths) -> Measure:
    if values is None:
        return Measure(
            None, unit=unit, method="not published by who runs the machines, or the rated power is not known"
        )
    return tenths.measure(values[:, 0], unit)


def _said(setup: Setup, run: _Run) -> list[str]:
    notes = []
    if setup.way == "buy":
        notes.append(
            f"its machines cost ${float(np.median(run.outlay)):,.0f} to buy (median of the draws: "
            "peaks may ask for more of them than the replay did); a month bears their wear"
        )
    if "fallback" in run.parts:
        notes.append("part of the work goes back to the closed model, at its present price")
    return notes


def _quotes(setups: Sequence[Setup]) -> list[Assumption]:
    """What is a setup's own: how far sources are apart on its price, what its machines cost to buy."""
    found = []
    for one in setups:
        if one.quote != (1.0, 1.0):
            low, high = one.quote
            found.append(Assumption(f"quote {one.name}", 1.0, low, high, "factor", "where price lists disagree", ""))
        if one.capital is not None:
            found.append(Assumption(f"capital {one.name}", *one.capital, "USD", "price of a device", ""))
    return found
