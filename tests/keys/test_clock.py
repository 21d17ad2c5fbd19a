"""A time of day that does not jump (G35)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from freehold.keys.clock import HOUR, Steady, Tick, follow

YEAR = 365.25 * 86_400


@dataclass
class Clocks:
    wall: float = 1.8e9
    steady: float = 1000.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self) -> Steady:
        return Steady(lambda: self.wall, lambda: self.steady)


def test_it_goes_as_time_goes() -> None:
    at = Clocks()
    clock = at.clock()
    for _ in range(100):
        at.passes(3601)
        assert clock.now() == at.wall


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR, -3600.0, 3600.0])
def test_a_jump_is_not_believed_at_once(jump: float) -> None:
    at = Clocks()
    clock = at.clock()
    at.wall += jump
    for _ in range(50):
        at.passes(60)
        assert clock.now() == pytest.approx(at.wall - jump)
    at.wall -= jump
    at.passes(60)
    assert clock.now() == at.wall


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR, -3600.0])
def test_a_jump_that_lasts_an_hour_is(jump: float) -> None:
    at = Clocks()
    clock = at.clock()
    at.wall += jump
    clock.now()
    at.passes(HOUR + 1)
    assert clock.now() == at.wall


def test_a_slow_drift_is_followed() -> None:
    at = Clocks()
    clock = at.clock()
    for _ in range(1000):
        at.passes(600)
        at.wall += 5
        assert clock.now() == at.wall


def test_a_clock_that_stands_still_is_left_behind() -> None:
    at = Clocks()
    tick = Tick(at.wall, at.steady)
    for minutes in range(1, 50):
        at.steady += 60
        now = follow(tick, at.wall, at.steady, back=False)
        assert now >= 1.8e9 + minutes * 60 - 300


def test_without_back_time_never_goes_back() -> None:
    at = Clocks()
    tick = Tick(at.wall, at.steady)
    seen = at.wall
    for jump in (10 * YEAR, -20 * YEAR, 5 * YEAR, -3600.0, 3600.0):
        at.wall += jump
        for _ in range(30):
            at.passes(300)
            now = follow(tick, at.wall, at.steady, back=False)
            assert now >= seen - 300
            seen = now
