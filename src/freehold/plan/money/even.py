"""Where a way costs what staying costs: tokens a month, and mean load of the machines.

    break-even volume V*: own(V) = stay(V)         with one replica: V* = F / (p_closed - c_variable)
    break-even load u*: F / (replicas x rate x seconds of a month x (p_closed - c_variable));  above 1: never

F is what doesn't grow with tokens (machines, people, power). Replicas come one at a time, so own(V) has steps: V* is
the least volume from which on it no longer costs more, up to the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from freehold.nouns import Measure
from freehold.plan.money.setups import Setup
from freehold.totals import HOURS

Floats = NDArray[np.float64]

__all__ = ["even", "load_even"]

LEAST, MOST, POINTS = 1e3, 1e15, 400
"""Tokens a month that are looked at."""
UNIT = "tokens/month"
MEDIAN = "at the median of every assumption, first month"


def even(apart: Callable[[Floats], tuple[Floats, Floats] | None]) -> Measure:
    """The least volume at which a way doesn't cost more than staying; None: at none. `apart` gives both costs."""
    grid = np.geomspace(LEAST, MOST, POINTS)
    for _ in range(3):
        costs = apart(grid)
        if costs is None:
            return Measure(None, unit=UNIT, method="a price isn't known")
        good = costs[0] <= costs[1]
        if not good.any():
            return Measure(None, unit=UNIT, method=f"never: it costs more at any volume ({MEDIAN})")
        first = int(good.argmax())
        if first == 0 and grid[0] == LEAST:
            return Measure(0.0, unit=UNIT, method=f"it costs less at any volume ({MEDIAN})")
        grid = np.linspace(grid[first - 1], grid[first], POINTS)
    return Measure(float(grid[-1]), unit=UNIT, method=f"{MEDIAN}; machines one at a time")


def load_even(setup: Setup, parts: Mapping[str, Floats], stay: Floats, work: float, total: float) -> Measure:
    """The mean load of the machines at which they cost what staying costs. `work` is replicas times the speed factor,
    `total` the demand's tokens a month. None: never, or unknown (said in the method)."""
    if setup.home is not None or setup.rate is None or not setup.rate.value:
        return Measure(None, method="its machines take part of the work" if setup.home is not None else "no speed")
    back = float(parts["fallback"][0, 0]) if "fallback" in parts else 0.0
    fixed = sum(float(part[0, 0]) for name, part in parts.items() if name != "fallback")
    each = (float(stay[0, 0]) - back) / total
    if each <= 0:
        return Measure(None, method="never: what it takes over costs nothing now")
    load = fixed / (work * setup.rate.value * 3600 * HOURS * each)
    if load > 1:
        return Measure(None, method=f"never: at full load it costs {load:,.1f} times as much ({MEDIAN})")
    return Measure(load, method=MEDIAN)
