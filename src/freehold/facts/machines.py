"""What a machine that serves at home costs."""

from __future__ import annotations

from freehold.facts.catalogue import load
from freehold.nouns import Measure

__all__ = ["machine_cost"]


def machine_cost(given: float | None = None) -> Measure:
    """$ an hour of the machine that serves at home: the team's own figure (`given`), else of a small machine without a
    GPU, a dated default, marked as assumed."""
    if given is not None:
        return Measure(given, unit="USD/h", method="given")
    row = load("machines.json")[0]
    method = f"assumed: {row['name']}, as of {row['as_of']}, {row['source']}"
    return Measure(row["usd_per_hour"], unit="USD/h", method=method)
