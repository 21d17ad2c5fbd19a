"""The monitor keeps its false-alarm rate, finds a broken promise, and notices when nobody watches."""

from __future__ import annotations

import numpy as np
import pytest

from freehold.serve.monitor import Monitor


def test_the_limit_follows_the_pairs_expected() -> None:
    assert Monitor(0.95, 0.02).limit == pytest.approx(4000)
    assert Monitor(0.95, 0.1).limit == pytest.approx(20_000)
    assert Monitor(0.95, 0.02).gap == pytest.approx(1000)


def test_one_step_is_the_formula() -> None:
    monitor = Monitor(0.9, 0.02)
    monitor.pair(False)
    bets = [c / 0.1 for c in (0.02, 0.05, 0.1, 0.2, 0.4)]
    assert monitor.evidence == pytest.approx(sum(1 + b * 0.9 for b in bets) / 5)
    monitor.pair(True)
    assert monitor.evidence == pytest.approx(sum((2 + b * 0.9) * (1 - b * 0.1) for b in bets) / 5)


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
    monitor = Monitor(0.95, 0.02)
    while monitor.evidence < 5000:
        monitor.remember_pair(False, 1.0)
    assert monitor.alarm == ""  # of 200,000
    assert "of 4000" in monitor.pair(False)
    earlier = Monitor(0.95, 1.0)
    while earlier.evidence < 4000:
        earlier.remember_pair(False, 0.02)
    assert "of 4000" in earlier.alarm


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
