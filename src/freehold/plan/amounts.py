"""Amounts as people type them: a number, of what, per what.

    "10M/month" → 10,000,000 a month     "1.2B tokens per year" → 100,000,000 a month     "500k calls/day" → 15,218,750

A number without its period is refused: 10M tokens a day and 10M a year are 365 times apart.
"""

from __future__ import annotations

import re

from freehold.errors import BadSetting
from freehold.totals import HOURS

__all__ = ["monthly", "number", "plain", "ratio"]

SIZES = {"": 1.0, "k": 1e3, "m": 1e6, "mio": 1e6, "million": 1e6, "g": 1e9, "b": 1e9, "bn": 1e9, "billion": 1e9,
         "t": 1e12, "trillion": 1e12}  # fmt: skip
PERIODS = {"h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0, "week": 168.0, "w": 168.0, "month": HOURS, "mo": HOURS,
           "year": 12 * HOURS, "y": 12 * HOURS, "yr": 12 * HOURS, "s": 1 / 3600, "second": 1 / 3600, "sec": 1 / 3600,
           "min": 1 / 60, "minute": 1 / 60}  # fmt: skip
AMOUNT = re.compile(
    r"(?P<number>[-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?P<size>[a-z]*)\s*(?P<what>tokens?|calls?|requests?)?"
    r"\s*(?:(?:/|per|a)\s*(?P<period>[a-z]+))?",
    re.IGNORECASE,
)
MOST = 1e18
"""More a month than all of the world's traffic: a slip of the unit."""


def monthly(text: str, flag: str, what: str) -> float:
    """How many a month (730.5 hours). Raises BadSetting for what has no number, an unknown size or no period, is not
    above 0, or is of something else than `what` ("tokens" or "calls")."""
    example = f"Write it as {flag} 10M/month (k, M, B; per hour, day, week, month or year)."
    found = AMOUNT.fullmatch(text.strip())
    if found is None:
        raise BadSetting(f"{flag} is {text!r}, which is not an amount per time.", example)
    size, said = found["size"].lower(), (found["what"] or "").lower()
    if size.rstrip("s") in ("token", "call", "request"):
        size, said = "", size
    if size not in SIZES:
        raise BadSetting(f"{flag} is {text!r}: {size!r} is no size.", example)
    if said and said.rstrip("s").replace("request", "call") != what.rstrip("s"):
        raise BadSetting(f"{flag} is {text!r}, which counts {said}, not {what}.", example)
    if found["period"] is None:
        raise BadSetting(f"{flag} is {text!r}, which does not say per what.", example)
    period = found["period"].lower()
    hours = PERIODS.get(period) or PERIODS.get(period.removesuffix("s"))
    if hours is None:
        raise BadSetting(f"{flag} is {text!r}: {period!r} is no period.", example)
    value = float(found["number"].replace(",", "").replace("_", "")) * SIZES[size] * HOURS / hours
    if not 0 < value < MOST:
        raise BadSetting(f"{flag} is {text!r}: that is {value:.3g} {what} a month.", example)
    return value


def plain(text: str, flag: str) -> float:
    """An amount of tokens by itself: "2B" → 2,000,000,000. Raises BadSetting."""
    found = AMOUNT.fullmatch(text.strip())
    size, said = (found["size"].lower(), (found["what"] or "").lower()) if found is not None else ("?", "")
    if size.rstrip("s") == "token":
        size, said = "", size
    if found is None or size not in SIZES or found["period"] or said.rstrip("s") not in ("", "token"):
        raise BadSetting(
            f"{flag} is {text!r}, which is not an amount of tokens.", f"Write it as {flag} 2B (k, M, B, T)."
        )
    value = float(found["number"].replace(",", "").replace("_", "")) * SIZES[size]
    if not 1 <= value < MOST:
        raise BadSetting(f"{flag} is {text!r}.", f"Write it as {flag} 2B (k, M, B, T), a token or more.")
    return value


def number(text: str, flag: str, *, least: float, most: float, unit: str) -> float:
    """A plain number between two limits, both allowed. Raises BadSetting."""
    try:
        value = float(text)
    except ValueError:
        raise BadSetting(f"{flag} is {text!r}, which is not a number.", f"Give {unit}.") from None
    if not least <= value <= most:
        raise BadSetting(f"{flag} is {text}.", f"Give {unit} from {least:g} to {most:g}.")
    return value


def ratio(text: str, flag: str) -> float:
    """The share of input in all tokens: "3:1" (input to output) → 0.75. Raises BadSetting."""
    parts = text.split(":")
    try:
        read, written = (float(part) for part in parts)
    except ValueError:
        raise BadSetting(f"{flag} is {text!r}.", f"Write input to output as {flag} 3:1.") from None
    if not (0 <= read < MOST and 0 <= written < MOST and read + written > 0):
        raise BadSetting(f"{flag} is {text!r}.", f"Write input to output as {flag} 3:1.")
    return read / (read + written)
