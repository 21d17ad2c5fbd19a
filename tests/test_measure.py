"""Intervals against known values; the certificate against an exact enumeration, a simulation and its own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, binom

from freehold import measure
from freehold.measure import Grid, calls_needed, certify, extra_calls, grid, lower_bound, middle, share


def test_share_is_clopper_pearson() -> None:
    found = share(9, 10)
    assert (found.value, found.n, found.method) == (0.9, 10, "Clopper-Pearson 95 %")
    assert (found.low, found.high) == pytest.approx((0.5550, 0.9975), abs=5e-5)  # the textbook's 9 of 10
    assert (share(0, 20).low, share(0, 20).high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert (share(20, 20).low, share(20, 20).high) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert (share(0, 0).value, share(0, 0).low, share(0, 0).high) == (None, 0.0, 1.0)


@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_share_agrees_with_the_beta_quantiles(n: int, part: float, confidence: float) -> None:
    k = round(part * n)
    found, half = share(k, n, confidence), (1 - confidence) / 2
    assert found.low == pytest.approx(0.0 if k == 0 else beta.ppf(half, k, n - k + 1), abs=1e-9)
    assert found.high == pytest.approx(1.0 if k == n else beta.ppf(1 - half, k + 1, n - k), abs=1e-9)


@pytest.mark.parametrize(
    ("bar", "errors", "needed"),
    [
        *[(0.99, 0, 299), (0.99, 1, 473), (0.99, 2, 628), (0.99, 3, 773), (0.99, 5, 1049), (0.99, 10, 1693)],
        *[(0.98, 0, 149), (0.95, 0, 59), (0.90, 0, 29)],
    ],
)
def test_calls_needed(bar: float, errors: int, needed: int) -> None:
    assert calls_needed(bar, errors) == needed


@given(st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.integers(0, 20), st.sampled_from([0.8, 0.95, 0.999]))
def test_calls_needed_is_the_least(bar: float, errors: int, confidence: float) -> None:
    n = calls_needed(bar, errors, confidence)
    assert binom.cdf(errors, n, 1 - bar) <= 1 - confidence < binom.cdf(errors, n - 1, 1 - bar)


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.5]), st.floats(1e-4, 0.3))
def test_most_errors_is_the_largest_that_holds(sizes: list[int], p: float, level: float) -> None:
    found = measure._most_errors(np.array(sizes), p, level)
    for n, k in zip(sizes, found.tolist(), strict=True):
        assert k == -1 or binom.cdf(k, n, p) <= level * (1 + 1e-9)
        assert k == n or binom.cdf(k + 1, n, p) > level * (1 - 1e-9)


def test_middle_is_the_median_with_its_order_statistics() -> None:
    found = middle(range(1, 201))
    assert (found.value, found.low, found.high, found.n) == (100.5, 86, 115, 200)  # P(Bin(200, 1/2) <= 85) = 0.020
    assert "95th percentile" in found.method
    assert (middle([3.0]).value, middle([3.0]).low) == (3.0, None)
    assert middle([]).value is None


# the certificate


def pairs(rng: np.random.Generator, n: int, worst: float = 0.3) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    scores = rng.random(n)
    return scores, rng.random(n) >= worst * (1 - scores) ** 3


def test_thresholds_fall_and_end_with_everything() -> None:
    found = grid(*pairs(np.random.default_rng(0), 3000), n=1000, bar=0.95)
    assert (np.diff(found.thresholds) < 0).all()
    assert found.thresholds[-1] == 0.0
    assert len(found.thresholds) == 99
    assert found.levels.sum() == pytest.approx(0.05)
    assert found.kept[0] == 60
    assert found.kept[-1] == 3000


def test_a_good_student_is_certified() -> None:
    rng = np.random.default_rng(1)
    found = certify(grid(*pairs(rng, 7500), n=2500, bar=0.98), *pairs(rng, 2500))
    assert found.threshold is not None
    assert found.at is not None
    assert found.lower is not None
    assert found.lower >= 0.98
    assert found.share == found.kept[found.at] / 2500 > 0.4
    assert binom.cdf(found.errors[found.at], found.kept[found.at], 0.02) <= found.level
    assert found.curve()[found.at].marked
    assert not any(p.marked for p in found.curve()[found.at + 1 :])


@pytest.mark.parametrize("n", [1, 2, 30, 400])
@pytest.mark.parametrize("right", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scores", ["equal", "two", "zero", "spread"])
def test_odd_logs_neither_crash_nor_certify_a_wrong_student(n: int, right: float, scores: str) -> None:
    s = {"equal": np.full(n, 0.7), "two": np.arange(n) % 2.0, "zero": np.zeros(n), "spread": np.linspace(0, 1, n)}[
        scores
    ]
    ok = np.arange(n) < right * n
    for order in (np.arange(n), np.arange(n)[::-1]):
        g = grid(s, ok[order], n=n, bar=0.95)
        found = certify(g, s, ok[order])
        assert g.levels.sum() == pytest.approx(0.05)
        assert found.kept[-1] == n
        assert found.errors[-1] == n - ok.sum()
        if right == 1.0:
            assert (found.threshold is not None) == (n == 400)
        if right == 0.0:
            assert found.threshold is None
        more = extra_calls(g, found)
        assert more is None or 0 < more <= 10 * n


def test_nothing_to_certify_with() -> None:
    g = grid([], [], n=0, bar=0.95)
    found = certify(g, [], [])
    assert (found.threshold, found.share, found.lower, extra_calls(g, found)) == (None, 0.0, None, None)


def test_equal_scores_stay_on_one_side() -> None:
    scores = np.repeat([0.9, 0.5, 0.1], 500)
    g = grid(scores, scores > 0.2, n=1500, bar=0.95)
    found = certify(g, scores, scores > 0.2)
    assert g.thresholds.tolist() == [0.9, 0.5, 0.0]
    assert found.kept.tolist() == [500, 1000, 1500]
    assert found.threshold == 0.5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.9, 0.95, 0.98]), st.sampled_from([0.9, 0.95]))
def test_one_more_error_never_helps(seed: int, bar: float, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    g = grid(*pairs(rng, 1200), n=400, bar=bar, confidence=confidence)
    scores, ok = pairs(rng, 400)
    worse = ok.copy()
    worse[rng.integers(0, 400)] = False
    better, less = certify(g, scores, ok), certify(g, scores, worse)
    assert less.share <= better.share
    assert not (less.marked & ~better.marked).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_calls_is_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    g, (scores, ok) = grid(*pairs(rng, 900), n=300, bar=0.9), pairs(rng, 300)
    scores = scores.round(1)  # ties
    mixed = rng.permutation(300)
    one, other = certify(g, scores, ok), certify(g, scores[mixed], ok[mixed])
    assert (one.at, one.level) == (other.at, other.level)
    assert (one.errors == other.errors).all()


def _any_true_null_marked(levels: list[float], bar: float, n: int) -> float:
    """P(the walk marks a threshold whose agreement is the bar), exact, two nested thresholds of n and 2n calls: all
    numbers of errors in the first n and the next n are enumerated. Both nulls are true, at their worst value."""
    both = Grid(np.array([0.5, 0.0]), np.array(levels), np.ones(2, np.int64), np.ones(2, np.int64), 1, bar, 0.95)
    errors = np.arange(n + 1)
    chance = binom.pmf(errors, n, 1 - bar)
    total = 0.0
    for a in errors:
        for b in errors:
            scores = np.repeat([0.9, 0.1], n)
            ok = np.concatenate([errors[1:] > a, errors[1:] > b])
            if certify(both, scores, ok).at is not None:
                total += chance[a] * chance[b]
    return total


@pytest.mark.parametrize("levels", [[0.05, 0.0], [0.0, 0.05], [0.025, 0.025], [0.04, 0.01]])
@pytest.mark.parametrize("bar", [0.8, 0.9, 0.95])
def test_exactly_no_more_wrong_marks_than_promised(levels: list[float], bar: float) -> None:
    assert _any_true_null_marked(levels, bar, 40) <= 0.05


@pytest.mark.parametrize("shape", ["flat at the bar", "worse at the top"])
def test_a_broken_promise_stays_as_rare_as_promised(shape: str) -> None:
    """1,000 calibrations of a student whose agreement is nowhere above the bar, with a prior that claims half the
    errors: the worst case for the starts. Every certificate is wrong; 5 % may be."""
    rng = np.random.default_rng(7)
    bar, n, wrong = 0.95, 400, 0
    for _ in range(1000):
        scores = rng.random(n)
        risk = np.full(n, 0.05) if shape == "flat at the bar" else 0.05 + 0.03 * scores
        prior = rng.random(900)
        g = grid(prior, rng.random(900) >= 0.025, n=n, bar=bar)
        wrong += certify(g, scores, rng.random(n) >= risk).at is not None
    assert lower_bound(wrong, 1000, 0.01) <= 0.05
    assert shape == "worse at the top" or wrong > 10  # the simulation does reach the level


def test_extra_calls_certify_with_the_power_they_promise() -> None:
    """Logs too small to certify grow by what was asked for (fit and cal alike), then pass about four times in five."""
    rng = np.random.default_rng(3)
    asked = passed = 0
    for _ in range(40):
        prior, calls = pairs(rng, 450, 0.08), pairs(rng, 150, 0.08)
        g = grid(*prior, n=150, bar=0.98)
        if certify(g, *calls).share >= 0.05:
            continue
        more = extra_calls(g, certify(g, *calls))
        if more is not None:
            old, new = pairs(rng, 3 * more, 0.08), pairs(rng, more, 0.08)
            prior, calls = _joined(prior, old), _joined(calls, new)
            asked += 1
            passed += certify(grid(*prior, n=150 + more, bar=0.98), *calls).share >= 0.05
    assert asked > 15
    assert passed / asked > 0.6


def _joined(
    a: tuple[NDArray[np.float64], NDArray[np.bool_]], b: tuple[NDArray[np.float64], NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])


def test_hopeless_means_none() -> None:
    scores = np.linspace(0, 1, 400)
    ok = np.arange(400) % 2 == 0
    g = grid(scores, ok, n=400, bar=0.99)
    assert extra_calls(g, certify(g, scores, ok)) is None


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99, 0.999])
def test_other_confidences(confidence: float) -> None:
    rng = np.random.default_rng(5)
    g = grid(*pairs(rng, 7500), n=2500, bar=0.95, confidence=confidence)
    found = certify(g, *pairs(rng, 2500))
    assert g.levels.sum() == pytest.approx(1 - confidence)
    assert found.level is not None
    assert found.level <= 1 - confidence + 1e-12
    assert found.lower is not None
    assert found.lower >= 0.95
    assert not math.isnan(found.share)
