"""A plan's figures as a sentence says them.

0.07 → "$0.07"      4,120.3 → "$4,120"      0.99975 → "over 99.9 %"      "2027-01-14" → "14 Jan 2027"
"""

from __future__ import annotations

import re
from datetime import date

from freehold.nouns import Measure

__all__ = ["brief", "day", "digits", "odds", "span", "times", "usd"]

CLAUSE = re.compile(r"\s*\(“[^”]*”\)")
SCALE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def usd(value: float | None) -> str:
    """Whole dollars from ten on, else with cents; never -0."""
    if value is None:
        return "an unknown sum"
    text = f"{abs(value):,.0f}" if abs(value) >= 9.995 else f"{abs(value):,.2f}"
    return f"{'-' if value < 0 and float(text.replace(',', '')) else ''}${text}"


def span(measure: Measure) -> str:
    """P10 to P90 of an amount of money, in brackets; "" where there are none."""
    low, high = measure.low, measure.high
    if low is None or high is None or usd(low) == usd(high):
        return ""
    return f" (P10 to P90 {usd(low)} to {usd(high)})"


def odds(value: float) -> str:
    """A share of draws: nothing is rounded up to certainty nor down to none."""
    if 0 < value < 0.0005:
        return "under 0.1 %"
    if 0.9995 <= value < 1:
        return "over 99.9 %"
    return f"{100 * value:.0f} %" if value in (0.0, 1.0) or 0.005 <= value < 0.995 else f"{100 * value:.1f} %"


def day(text: str) -> str:
    """An ISO date as people write it."""
    when = date.fromisoformat(text)
    return f"{when.day} {when:%b %Y}"


def digits(value: float) -> str:
    """A count in three digits: 31.4 billion, 950."""
    for least, unit in SCALE:
        if value >= least:
            return f"{value / least:.3g} {unit}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(value: float) -> str:
    """How many times as much: 1.2, 14, 3,100."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def brief(text: str) -> str:
    """A reason for the middle of a sentence: without the clause that it quotes, and without a full stop."""
    return CLAUSE.sub("", text).strip().rstrip(".")
