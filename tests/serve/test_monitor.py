"""The monitor keeps its false-alarm rate, finds a broken promise, and notices when nobody watches."""

from __future__ import annotations

import numpy as np
import pytest

from freehold.serve.pairing.monitor import BETS, Monitor


def test_evidence_counts_in_kept_calls() -> None:
    """A first pair that differs stands for 1 / share kept calls, times its bets."""
    for share in (0.02, 0.1, 1.0):
        monitor = Monitor(0.95, share)
        monitor.pair(False)
        assert monitor.evidence * share == pytest.approx(sum(1 + c / 0.05 * 0.95 for c in BETS) / 5)
    assert Monitor(0.95, 0.02).gap == pytest.approx(1000)


def test_one_step_is_the_formula() -> None:
    monitor = Monitor(0.9, 0.02)
    monitor.pair(False)
    bets = [c / 0.1 for c in BETS]
    assert monitor.evidence == pytest.approx(sum(50 * (1 + b * 0.9) for b in bets) / 5)
    monitor.pair(True, 1.0)
    assert monitor.evidence == pytest.approx(sum((1 + 50 * (1 + b * 0.9)) * (1 - b * 0.1) for b in bets) / 5)


@pytest.mark.parametrize("bar", [0.9, 0.99])
def test_false_alarms_stay_under_their_rate(bar: float) -> None:
    """At agreement exactly the bar: P(alarm within n pairs) <= n / A = 5 % for the 200 pairs of 10,000 kept calls."""
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        monitor = Monitor(bar, 0.02)
        alarms += any(monitor.pair(bool(agrees)) for agrees in draw.random(200) < bar)
    assert alarms <= 30  # 400 runs at 5 %: 99 % of the time at most 30


def test_a_broken_promise_is_found() -> None:
    """0.99 fallen to 0.9: within 200 pairs in nearly every run; the reason says what was seen."""
    draw = np.random.default_rng(1)
    found = 0
    for _ in range(50):
        monitor = Monitor(0.99, 0.02)
        found += any(monitor.pair(bool(agrees)) for agrees in draw.random(200) < 0.9)
    assert found >= 48
    assert "pairs differ" in monitor.alarm


def test_an_alarm_stays() -> None:
    monitor = Monitor(0.99, 0.02)
    while not monitor.pair(False):
        pass
    alarm = monitor.alarm
    for _ in range(2000):
        assert monitor.pair(True) == alarm


def test_unwatched_calls_close_the_rung() -> None:
    monitor = Monitor(0.95, 0.02)
    assert not any(monitor.kept() for _ in range(999))
    assert "without a pair" in monitor.kept()


def test_a_pair_starts_the_count_again() -> None:
    monitor = Monitor(0.95, 0.02)
    for _ in range(5):
        assert not any(monitor.kept() for _ in range(999))
        monitor.pair(True)


def test_what_is_remembered_counts_with_its_own_share() -> None:
    """The share that pairs are drawn with now changes nothing about those of an earlier run."""
    now, then = Monitor(0.95, 0.02), Monitor(0.95, 1.0)
    for agrees in (True, False, True, False, False):
        assert not now.alarm
        now.remember_pair(agrees, 1.0)
        then.pair(agrees)
    assert now.evidence == pytest.approx(then.evidence)
    while not then.alarm:
        then.remember_pair(False, 0.02)
    assert "of 200,000" in then.alarm


@pytest.mark.parametrize("bar", [0.9, 0.99])
def test_false_alarms_stay_under_their_rate_where_shares_change(bar: float) -> None:
    """10,000 kept calls at agreement exactly the bar: shadow, a canary at 5 %, then full at a share of 2 %."""
    draw = np.random.default_rng(2)
    alarms = 0
    for _ in range(40):
        monitor = Monitor(bar, 0.02)
        chances = [1.0] * 1000 + np.where(draw.random(3000) < 0.05, 0.02, 1.0).tolist() + [0.02] * 6000
        is_pair = draw.random(10_000) < chances
        agrees = draw.random(10_000) < bar
        alarms += any(monitor.pair(bool(agrees[i]), chances[i]) for i in np.flatnonzero(is_pair))
    assert alarms <= 6  # 40 runs at 5 %: 99 % of the time at most 6


def test_a_gap_is_a_number_of_expected_pairs() -> None:
    monitor = Monitor(0.95, 1.0)
    for _ in range(950):
        monitor.remember_kept(0.02)
    assert monitor.unwatched() == ""
    assert monitor.kept() == "unwatched: 951 kept calls went by without a pair"  # 19 and 1


def test_an_awaited_pair_holds_the_gap_and_nothing_else() -> None:
    monitor = Monitor(0.95, 1.0)
    assert not any(monitor.kept(awaited=True) for _ in range(30))
    assert "without a pair" in monitor.kept()
