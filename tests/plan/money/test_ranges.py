"""Assumptions: whose value holds, and that draws are what their ranges say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from freehold.facts.tables import Facts
from freehold.nouns import Assumption, Demand, Measure
from freehold.plan.demand import by_hand
from freehold.plan.money.ranges import bounds, column, ranges
from freehold.plan.money.setups import Setup

TODAY = date(2026, 11, 25)


def demand() -> Demand:
    return by_hand(1e9, "gpt-4o", share=0.75, calls=None, today=TODAY)


def named(*args: object, **more: object) -> dict[str, Assumption]:
    return {one.name: one for one in ranges(*args, **more)}  # type: ignore[arg-type]


def one(value: float, low: float, high: float, *, log: bool = True, unit: str = "factor") -> Assumption:
    return Assumption("x", value, low, high, unit, "", "", log=log)


@pytest.mark.parametrize(
    "given",
    [
        one(2.95, 1.99, 5.0),
        one(1.0, 0.5, 2.0),
        one(0.03, 0.0, 0.15, log=False, unit="share"),
        one(0.3, 0.25, 0.35, log=False),
    ],
)
def test_half_of_the_draws_lie_below_the_value_and_a_twentieth_beyond_each_end(given: Assumption) -> None:
    drawn = column(given, 4000, seed=3)
    assert np.median(drawn) == pytest.approx(given.value, rel=1e-3)
    assert (drawn > given.high).mean() == pytest.approx(0.05, abs=0.001)
    assert (drawn < given.low).mean() == pytest.approx(0.05 if given.low else 0.0, abs=0.001)
    assert drawn.min() >= 0


def test_draws_of_two_assumptions_are_not_in_step() -> None:
    first, second = (column(replace(one(1.0, 0.5, 2.0), name=name), 4000, seed=0) for name in ("a", "b"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_a_log_says_its_own_volume_and_peak() -> None:
    logged = replace(demand(), input=Measure(7.5e8, 2.5e8, 7.5e8, method="3 hours of log"), peaks={"10": 13.4})
    found = named(logged, Facts())
    volume = found["volume"]
    assert (volume.value, volume.status, volume.source) == (1e9, "measured", "3 hours of log")
    assert volume.low == pytest.approx(1e9 / 3)
    assert (found["peak"].value, found["peak"].status) == (13.4, "measured")


def test_a_typed_volume_is_given_and_the_rest_is_assumed_or_dated() -> None:
    found = named(demand(), Facts(), present=4.375)
    assert (found["volume"].value, found["volume"].unit, found["volume"].status) == (1e9, "tokens/month", "given")
    assert found["pue"].status == "catalogue"
    assert found["people"].status == "assumed"
    assert found["present-price"].value == 4.375


def test_electricity_is_as_clean_as_the_countrys() -> None:
    french, anywhere = named(demand(), Facts(), country="fr")["grid"], named(demand(), Facts())["grid"]
    assert french.value == french.high == pytest.approx(0.056, abs=0.001)
    assert anywhere.low < french.value < anywhere.value < anywhere.high


def test_speed_and_students_say_their_own_ranges() -> None:
    machine = Setup("rent", "m", "m", hardware="h", gpus=1, rate=Measure(1000.0, 500.0, 1300.0), hourly=(2, 1, 3))
    students = Setup("here", "s", "", gpus=1, home=(0.3, 0.2, 0.4), people="people-students", days="days-students")
    found = named(demand(), Facts(), setups=[replace(machine, people="people", days="days-own"), students])
    assert (found["speed"].low, found["speed"].high) == (0.5, 1.3)
    assert (found["rent-h"].value, found["rent-h"].unit) == (2, "USD/h")
    assert (found["home"].value, found["home"].low) == (0.3, 0.2)


def test_what_is_measured_or_given_comes_before_the_default() -> None:
    seen = one(0.08, 0.06, 0.1, log=False, unit="share")
    found = named(demand(), Facts(), own={"fallback": replace(seen, status="measured"), "growth": (1.5, 1.2, 2.0)})
    assert (found["fallback"].value, found["fallback"].status, found["fallback"].name) == (0.08, "measured", "fallback")
    assert (found["growth"].value, found["growth"].low, found["growth"].status) == (1.5, 1.2, "given")


def test_how_far_a_flip_looks() -> None:
    facts = Facts()
    assert bounds(replace(one(1e9, 8e8, 1.2e9), unit="tokens/month"), facts) == (1e7, 1e11)
    assert bounds(replace(one(2.95, 1.99, 5), unit="USD/h"), facts) == pytest.approx((0.295, 29.5))
    assert bounds(replace(one(0.1, 0, 0.2), unit="share")) == (0.0, 1.0)
    assert bounds(named(demand(), facts)["pue"], facts) == (1.0, 3.0)
