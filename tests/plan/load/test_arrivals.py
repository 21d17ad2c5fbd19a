"""Calls that are made up where there is no log, and what is cut and counted of those that are there."""

from __future__ import annotations

import numpy as np
import pytest

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.nouns import Demand, Measure
from freehold.plan.load.arrivals import Arrivals, at_share, busiest, like, peak, scaled, series

NONE = Measure(None)


def demand(calls: float | None, read: float, written: float) -> Demand:
    return Demand(Measure(calls), Measure(read), NONE, Measure(written), NONE, NONE, given=True)


def squared(arrivals: Arrivals) -> float:
    gaps = np.diff(arrivals.at)
    return float(gaps.var() / gaps.mean() ** 2)


def test_like_a_busy_hour_of_the_month() -> None:
    found = like(demand(3e6, 3e9, 6e8), Facts())
    assert found.synthetic
    assert (found.seconds, found.kept, found.busy) == (3600.0, 1.0, pytest.approx(3.0))
    assert found.uses == ("loads/azure-2023-conv", "loads/busy-hour")
    assert len(found) == pytest.approx(3e6 / 730.5 * 3, abs=1)
    assert found.input.mean() == pytest.approx(1000, rel=0.03)
    assert found.output.mean() == pytest.approx(200, rel=0.04)
    assert squared(found) == pytest.approx(1.09**2, rel=0.06)
    assert "loads/azure-2023-conv" in found.source
    assert (np.diff(found.at) >= 0).all()


def test_the_same_seed_is_the_same_hour() -> None:
    one, same, other = (like(demand(3e6, 3e9, 6e8), Facts(), seed=seed) for seed in (1, 1, 2))
    assert (one.at == same.at).all()
    assert len(one) == len(other)
    assert (one.at != other.at).any()


def test_few_calls_take_a_longer_stretch() -> None:
    found = like(demand(7_000, 7e6, 3e6), Facts())
    assert len(found) == pytest.approx(2000, abs=1)
    assert found.seconds == pytest.approx(2000 / (7000 * 3 / 730.5 / 3600), rel=1e-3)
    least = like(demand(100, 1e5, 1e4), Facts())
    assert least.seconds == 730.5 * 3600
    assert like(demand(None, 0, 0), Facts()).tokens == 0


def test_less_than_a_call_a_month_is_one() -> None:
    found = like(demand(None, 0.75, 0.25), Facts())
    assert (len(found), found.seconds) == (1, 730.5 * 3600)
    assert found.at[0] <= found.seconds


def test_a_call_longer_than_can_be_counted_is_a_sentence() -> None:
    with pytest.raises(BadSetting, match=r"1e\+15 tokens a call\. Mend one of the two"):
        like(demand(1.0, 7.5e14, 2.5e14), Facts())


def test_calls_that_nobody_named_are_as_long_as_the_traces() -> None:
    found = like(demand(None, 7.5e9, 2.5e9), Facts())
    assert (found.input.mean() + found.output.mean()) == pytest.approx(1154.7 + 211.13, rel=0.03)
    assert found.input.mean() / found.output.mean() == pytest.approx(3, rel=0.06)
    assert len(found) * (1154.7 + 211.13) == pytest.approx(1e10 / 730.5 * 3, rel=0.01)


def test_very_many_calls_are_thinned() -> None:
    found = like(demand(2e8, 2e11, 2e10), Facts())
    assert len(found) == 200_000
    assert found.tokens == pytest.approx(2.2e11 / 730.5 * 3, rel=0.01)


def test_a_bursty_trace_and_the_teams_own_facts() -> None:
    own = Facts({"loads": {"busy-hour": {"value": 1.0}, "mine": {"cv": 3.0, "input": 10, "output": 10, "at": [0, 100],
                                                                 "inputs": [10, 10], "outputs": [1, 19]}}})  # fmt: skip
    found = like(demand(7.305e6, 7.305e8, 7.305e7), own, trace="mine")
    assert len(found) == 10_000
    assert set(found.input.tolist()) == {100}
    assert squared(found) == pytest.approx(9, rel=0.25)
    assert {one.ref for one in own.used} == {"loads/mine", "loads/busy-hour"}
    with pytest.raises(BadSetting, match="no 'azure'"):
        like(demand(1e6, 1e9, 1e8), own, trace="azure")


def whole() -> Arrivals:
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 100, 8000).astype(np.int32)
    return Arrivals(np.sort(draw.uniform(0, 3600, 8000)), sizes, sizes, "a test", 3600.0)


@pytest.mark.parametrize("times", [0.25, 1.0, 1.5, 3.0])
def test_scaled(times: float) -> None:
    found = scaled(whole(), times)
    assert found.tokens == pytest.approx(times * whole().tokens, rel=0.05)
    assert (np.diff(found.at) >= 0).all()
    assert 0 <= found.at[0] <= found.at[-1] <= 3600
    stands_for = at_share(whole(), times)
    assert stands_for.kept == times
    assert stands_for.tokens == pytest.approx(whole().tokens, rel=0.05)


@pytest.mark.parametrize("times", [0.0, -1.0, float("nan"), float("inf")])
def test_a_load_that_cant_be(times: float) -> None:
    with pytest.raises(BadSetting, match="times what it is"):
        scaled(whole(), times)


def test_busiest_part() -> None:
    at = np.sort(np.concatenate([np.arange(0.0, 1000, 2), np.arange(600.0, 700, 0.25)]))
    ones = np.ones(len(at), np.int32)
    found = busiest(Arrivals(at, ones, ones, "a test", 1000.0), 90)
    assert found.seconds == pytest.approx(100)
    assert len(found) == pytest.approx(450, abs=3)
    assert found.source == "the busiest 100 s of a test"
    assert busiest(whole(), 8000).source == "a test"


def test_peak_and_series_by_hand() -> None:
    calls = Arrivals(
        np.array([0.0, 1.0, 12.0, 35.0]), np.array([5, 5, 20, 9], np.int32), np.ones(4, np.int32), "", 35.0
    )
    assert peak(calls).value == pytest.approx(21 / (43 / 4))  # windows 12, 21, 0, 10
    assert series(calls, 5) == ((0.0, 12 / 7), (7.0, 3.0), (14.0, 0.0), (21.0, 0.0), (28.0, 0.0))
