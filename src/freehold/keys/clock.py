"""The time of day for expiries and budgets, from a clock that may jump.

The wall clock is followed while it goes as the system's steady clock does (which counts sleep too), and strays by at
most 5 minutes. A jump is not believed at first: time goes on as before. Forward, it is taken over once it has lasted an
hour (a machine that was frozen and woke again); back only where `back` says so, after an hour too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["HOUR", "SKEW", "Steady", "Tick", "boot", "follow"]

SKEW = 300.0
HOUR = 3600.0


def boot() -> float:
    """Seconds since the machine started, sleep included; the same for every process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(slots=True)
class Tick:
    """What was last believed: `seen` (epoch seconds) at `boot`; `off` is since when the wall clock says another time
    (on the steady clock; below 0: it doesn't)."""

    seen: float
    boot: float
    off: float = -1.0


def follow(tick: Tick, wall: float, boot: float, *, back: bool) -> float:
    """The time now, in epoch seconds; `tick` is brought up to it. A clock that goes right is compared with what it said
    up to an hour ago, so that one which stands still is found out."""
    passed = max(0.0, boot - tick.boot)
    expected = tick.seen + passed
    astray = wall - expected
    if -SKEW <= astray <= SKEW:
        tick.off = -1.0
        if passed >= HOUR:
            tick.seen, tick.boot = wall, boot
        return wall
    if astray < 0 and not back:
        tick.off = -1.0
    elif tick.off < 0 or boot < tick.off:
        tick.off = boot
    elif boot - tick.off >= HOUR:
        expected, tick.off = wall, -1.0
    tick.seen, tick.boot = expected, boot
    return expected


class Steady:
    """A wall clock of this process that does not jump: `now()` in epoch seconds."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot) -> None:
        self._wall, self._steady = wall, steady
        self._tick = Tick(wall(), steady())

    def now(self) -> float:
        return follow(self._tick, self._wall(), self._steady(), back=True)
