"""The public claims of claims.json, each recomputed through freehold's own functions.

    claims.json ─ id, quote, inputs, formula, expected {figure: [low, high]}, verdict, as_of, sources, status
                      │ formula = "money.saving"          ▲ compared with, by test_claims.py
                      ▼                                   │
    money.py, sizes.py, rules.py: (inputs, World) ─→ Found(verdict, says, figures) ─→ page.py ─→ docs/claims.md

`status`: computed (arithmetic decides it), seen (the source says so, nothing to compute), unverified. `differs` says
why a figure lies outside what was expected, and who is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from freehold.facts import Facts, PriceBook
from freehold.facts.open_models import architecture
from freehold.fit import Architecture
from freehold.nouns import Fact, Measure

__all__ = ["Found", "Inputs", "World", "decide", "exact", "read", "within"]

FILE = Path(__file__).with_name("claims.json")
Inputs = Mapping[str, Any]
NEAR = 1e-9  # a float's last digits


@dataclass(frozen=True, slots=True)
class Found:
    """What the arithmetic says. The first of `figures` is the one that the verdict hangs on."""

    verdict: str
    says: str
    figures: dict[str, Measure] = field(default_factory=dict)
    uses: tuple[Fact, ...] = ()


class World:
    """The facts as of a day: each claim gets its own, so that what it rests on is known."""

    def __init__(self, today: date) -> None:
        self.facts, self.book, self.today = Facts(), PriceBook(), today

    def model(self, name: str) -> Architecture:
        return architecture(self.facts.get("models", name))

    def device(self, name: str) -> Fact:
        return self.facts.get("hardware", name)

    def rent(self, name: str) -> Measure:
        """USD a device and hour."""
        row = self.facts.get("rents", name).values
        return Measure(row["price"], row.get("low"), row.get("high"), unit="USD/h")

    def licence(self, model: str) -> Fact:
        return self.facts.get("licences", self.facts.get("models", model).values["licence"])


def exact(value: float, unit: str = "", method: str = "") -> Measure:
    """A figure without an interval: arithmetic on what the facts say."""
    return Measure(float(value), unit=unit, method=method)


def read() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def decide(claim: Mapping[str, Any]) -> Found:
    """Recompute a claim; one that arithmetic can't decide gets the verdict of its sources."""
    if not claim.get("formula"):
        return Found(claim["verdict"], claim["because"])
    world = World(date.fromisoformat(claim["as_of"]))
    found = _formula(claim["formula"])(claim["inputs"], world)
    return Found(found.verdict, found.says, found.figures, world.facts.used)


def within(value: float | None, expected: list[float | None]) -> bool:
    """Is it in [low, high]? `[null, null]`: no value was expected (never, unknown)."""
    low, high = expected
    if value is None or low is None or high is None:
        return value is None and low is None and high is None
    return low * (1 - NEAR) <= value <= high * (1 + NEAR)


def _formula(name: str) -> Callable[[Inputs, World], Found]:
    from claims import money, rules, sizes

    room, _, function = name.partition(".")
    found: Callable[[Inputs, World], Found] = getattr({"money": money, "rules": rules, "sizes": sizes}[room], function)
    return found
