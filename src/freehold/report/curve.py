"""A verdict's curve, ready to plot: agreement against share kept, with its interval, and the table behind it.

columns   x = share kept, low, high, bar, agreement beyond the threshold, agreement kept home, certified point
          each a list in per cent, in order of x; None where that line says nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freehold.measure import share
from freehold.nouns import Measure, Verdict

__all__ = ["Row", "plot", "rows"]

Column = list[float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One threshold: the share of certification calls kept, and how many of those agree."""

    threshold: float
    kept: Measure
    agreement: Measure
    errors: int
    certified: bool
    home: bool


def rows(verdict: Verdict) -> list[Row]:
    """The curve from the strictest threshold to the loosest, one row per share kept."""
    n = verdict.kept_home.n or max((p.kept for p in verdict.curve), default=0)
    at = verdict.threshold
    by_kept = {p.kept: p for p in sorted(verdict.curve, key=lambda p: -p.threshold) if 0 < p.kept <= n}
    return [
        Row(
            p.threshold,
            share(p.kept, n, verdict.confidence),
            share(p.kept - p.errors, p.kept, verdict.confidence),
            p.errors,
            certified=at is not None and p.threshold == at,
            home=at is not None and p.threshold >= at,
        )
        for _, p in sorted(by_kept.items())
    ]


def plot(verdict: Verdict) -> dict[str, Any] | None:
    """The numbers that report.js draws; None where there are fewer than two thresholds."""
    found = rows(verdict)
    if len(found) < 2:
        return None
    first_up = next((i for i, r in enumerate(found) if not r.home), len(found))
    x: Column = [_percent(r.kept.value) for r in found]
    agreement: Column = [_percent(r.agreement.value) for r in found]
    columns: list[Column] = [
        x,
        [_percent(r.agreement.low) for r in found],
        [_percent(r.agreement.high) for r in found],
        [_percent(verdict.bar)] * len(found),
        [a if i >= first_up - 1 else None for i, a in enumerate(agreement)],
        [a if r.home else None for a, r in zip(agreement, found, strict=True)],
        [a if r.certified else None for a, r in zip(agreement, found, strict=True)],
    ]
    thresholds: list[float | None] = [r.threshold for r in found]
    for column, edge in zip(columns, (0.0, None, None, columns[3][0], None, None, None), strict=True):
        column.insert(0, edge)  # so that the bar's line starts at the axis
    agreement.insert(0, None)
    thresholds.insert(0, None)
    return {"columns": columns, "agreement": agreement, "thresholds": thresholds, "floor": _floor(verdict, found)}


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def _floor(verdict: Verdict, found: list[Row]) -> float:
    """Where the agreement axis starts: under the bar and under the curve from a tenth kept on, never above 99."""
    lows = [r.agreement.low or 0.0 for r in found if (r.kept.value or 0.0) >= 0.1]
    lowest = min([*lows, verdict.bar])
    return max(0.0, min(99.0, float(int(100 * lowest - 0.5))))
