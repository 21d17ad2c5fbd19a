"""What one way costs in each of twelve months, over all draws at once.

World(by: assumption → draws)    volume, prices and the bill of staying, each [draws, 12]
spend(setup, world)              → {"tokens": [draws, 12], "machines": ..., "people": ..., "fallback": ..., ...}

tokens     (read x tokeniser + written x tokeniser x reasoning) x volume x price change
machines   replicas x devices x (USD/h x 730.5 x (1 + overhead)  |  price x (1 - residual) / life + room)
replicas   ceil(load x volume x peak / speed), one at the least, with the spare that the replay asked for
power      watts x mean share x PUE x hours x USD/kWh      (in the rent where machines are rented)
fallback   the share of the bill that goes back to the closed model
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from freehold.nouns import Assumption, Demand
from freehold.plan.money.bills import MONTHS
from freehold.plan.money.ranges import rent_name, tokens
from freehold.plan.money.setups import Setup
from freehold.totals import HOURS

Floats = NDArray[np.float64]

__all__ = ["Machines", "World", "added", "machines", "once", "spend"]

YEAR = 12.0


@dataclass
class World:
    """The draws, and what all ways share. `by` maps each assumption to a column [draws, 1]."""

    demand: Demand
    stay: Setup
    known: Mapping[str, Assumption]
    by: Mapping[str, Floats]
    volume: Floats = field(init=False)
    closed: Floats = field(init=False)
    hosted: Floats = field(init=False)
    bill: Floats | None = field(init=False)

    def __post_init__(self) -> None:
        time = np.arange(MONTHS) / YEAR
        self.volume = self.by["volume"] / tokens(self.demand) * self.by["growth"] ** time
        self.closed = self.by["closed-price-change"] ** time
        self.hosted = self.by.get("hosted-price-change", 1.0) ** time
        bills = list(self.stay.bills.values())
        listed = [one.total for one in bills if one is not None]
        unknown = not listed or len(listed) < len(bills)
        self.bill = None if unknown else self.level * self.volume * self.closed * sum(listed)

    @property
    def level(self) -> Floats | float:
        """The present models' price over the list's."""
        if "present-price" not in self.by or not self.known["present-price"].value:
            return 1.0
        return self.by["present-price"] / self.known["present-price"].value

    @property
    def written(self) -> float:
        """The share of output in all tokens."""
        return (self.demand.output.value or 0.0) / tokens(self.demand)


@dataclass(frozen=True, slots=True)
class Machines:
    """Replicas in each month, the kWh that they take, and what all of them cost to buy (0 where they aren't bought)."""

    replicas: Floats
    energy: Floats | None
    outlay: Floats | float


def spend(setup: Setup, world: World) -> dict[str, Floats] | None:
    """USD by what it goes to; None where a price that it needs isn't known."""
    if setup.way == "closed":
        return None if world.bill is None else _stay(setup, world)
    if setup.way == "cheaper":
        return None if setup.bill is None else {"tokens": _bought(setup, world) * world.closed}
    parts: dict[str, Floats] = {}
    if setup.way == "hosted":
        if setup.bill is None:
            return None
        parts["tokens"] = _bought(setup, world) * world.hosted * _quoted(setup, world)
    else:
        parts |= _machines(setup, world)
    if world.bill is None:
        return None
    if setup.home is not None:
        rest = world.bill if setup.rest is None else _elsewhere(setup.rest, world)
        if rest is None:
            return None
        parts["closed"] = (1 - world.by["home"]) * rest
    else:
        parts["fallback"] = world.by["fallback"] * world.bill
    return parts


def added(parts: Mapping[str, Floats]) -> Floats:
    """All parts together."""
    return np.asarray(sum(parts.values()))


def once(setup: Setup, world: World) -> Floats | float:
    """USD of work to get there."""
    if not setup.days:
        return 0.0
    days = world.by[setup.days] + (world.by[setup.rest.days] if setup.rest is not None else 0.0)
    return np.asarray((days * world.by["salary"] / world.by["working-days"])[:, 0])


def machines(setup: Setup, world: World) -> Machines:
    by, load = world.by, _load(setup, world)
    asked = load * world.volume * (by["peak"] / world.known["peak"].value) / by["speed"]
    if setup.home is None:
        asked = asked * by["tokeniser"] * (1 - world.written + world.written * by["reasoning"])
    spare = max(0, setup.replicas - max(1, math.ceil(load - 1e-9)))
    replicas = np.maximum(1.0, np.ceil(asked - 1e-9)) + spare
    outlay: Floats | float = 0.0
    if setup.way == "buy" and setup.capital is not None:
        replicas = np.maximum.accumulate(replicas, axis=1)
        outlay = (replicas[:, -1:] * setup.gpus * _capital(setup, world))[:, 0]
    energy = None
    if setup.watts is not None:
        site = 1.0 if setup.way == "here" else by["pue"]
        energy = replicas * setup.gpus * setup.watts / 1000 * by["power"] * site * HOURS
    return Machines(replicas, energy, outlay)


def _stay(setup: Setup, world: World) -> dict[str, Floats]:
    scale = world.level * world.volume * world.closed
    return {name: scale * one.total for name, one in setup.bills.items() if one is not None}


def _bought(setup: Setup, world: World) -> Floats:
    assert setup.bill is not None
    read = setup.bill.read + setup.bill.written * world.by["reasoning"]
    return read * world.volume * (1.0 if setup.same else world.by["tokeniser"])


def _elsewhere(rest: Setup, world: World) -> Floats | None:
    """The bill where the rest of the work goes to another closed model."""
    parts = spend(rest, world)
    return None if parts is None else added(parts)


def _quoted(setup: Setup, world: World) -> Floats | float:
    return world.by.get(f"quote {setup.name}", 1.0)


def _load(setup: Setup, world: World) -> float:
    """Replicas that the peak asks for at the demand's volume; what a replay said is not raised by the formula."""
    if setup.load is not None:
        return setup.load
    if setup.rate is None or not setup.rate.value:
        return float(max(1, setup.replicas))
    asked = tokens(world.demand) * world.known["peak"].value / (setup.rate.value * 3600 * HOURS)
    return min(asked, float(setup.replicas)) if setup.replicas else asked


def _machines(setup: Setup, world: World) -> dict[str, Floats]:
    by, found = world.by, machines(setup, world)
    parts: dict[str, Floats] = {}
    devices = found.replicas * setup.gpus
    if setup.hourly is not None:
        price = by.get(rent_name(setup.hardware)) if setup.way == "rent" else None
        hourly = setup.hourly[0] if price is None else price
        parts["machines"] = devices * hourly * HOURS
        if setup.way == "rent":
            parts["overhead"] = parts["machines"] * by["overhead"]
    if setup.capital is not None:
        parts["machines"] = devices * _capital(setup, world) * (1 - by["residual"]) / by["life"]
        if setup.watts is not None:
            parts["room"] = devices * setup.watts / 1000 * by["colo"]
    if found.energy is not None and setup.way != "rent" and not (setup.way == "here" and setup.hourly is not None):
        parts["power"] = found.energy * by["electricity"]
    parts["people"] = by[setup.people] * by["salary"] / YEAR + 0 * found.replicas
    return parts


def _capital(setup: Setup, world: World) -> Floats | float:
    """USD a device, with its part of a server."""
    assert setup.capital is not None
    price = world.by.get(f"capital {setup.name}", setup.capital[0])
    return price * world.by["servers"] if setup.card else price
