"""How fast the monitor closes a rung, as benchmarks/rollback.py --full found; docs/rollout.md has the whole table.

One row for each bar: out-of-scope calls become 15 % of calls, while the student serves everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FALLS", "Fall", "line"]


@dataclass(frozen=True, slots=True)
class Fall:
    """`kept` has, by the share of home answers that are asked again, the kept calls until the rung closes: median and
    95th percentile of 400 runs. `after` is the agreement after the fall."""

    bar: float
    what: str
    after: float
    kept: dict[float, tuple[int, int]]


OUT = "calls out of scope: 15 % of calls"
FALLS = (
    Fall(0.95, OUT, 0.831, {0.01: (4576, 10679), 0.02: (2685, 7183), 0.05: (1322, 2960), 0.1: (732, 1617)}),
    Fall(0.99, OUT, 0.955, {0.01: (9199, 26137), 0.02: (5948, 14636), 0.05: (2912, 8505), 0.1: (1748, 4321)}),
)


def line(bar: float, share: float) -> str:
    """In words, for the bar and the share that are nearest from below: a larger share is no slower."""
    fall = min(FALLS, key=lambda one: abs(one.bar - bar))
    asked = max((one for one in fall.kept if one <= share + 1e-9), default=min(fall.kept))
    half, most = fall.kept[asked]
    return (
        f"Simulated, bar {100 * fall.bar:g} %, {100 * asked:g} % of home answers asked again: after a fall to "
        f"{100 * fall.after:g} % agreement the monitor closes a rung within {half:,} kept calls in half of the runs, "
        f"{most:,} in 95 %."
    )
