"""Figures as people read them: the filters of the template.

count 4550 -> 4,550      day 1764000000.0 -> 24 Nov 2025      percent 0.925 -> 92.5 %      short: 12 characters
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from math import floor, log10
from typing import Any

from freehold.nouns import Measure
from freehold.nouns.shown import shown

__all__ = ["FILTERS", "TELLS", "YEAR", "count", "day", "listing", "money", "percent"]

TELLS = 20  # from which on a share is said in per cent
YEAR = 365 * 86_400  # times before are of a clock that starts at 0


def count(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int | None = None) -> str:
    """A share in per cent; without `digits`, as many as the value needs (a bar: 99 %, 99.5 %)."""
    if value is None:
        return "not known"
    return f"{round(100 * value, 6):g} %" if digits is None else f"{100 * value:.{digits}f} %"


def portion(n: int, of: int) -> str:
    """n of `of` in per cent; what isn't nothing never reads as 0.0 %."""
    if of <= 0:
        return "not known"
    return "under 0.1 %" if 0 < n / of < 0.0005 else f"{100 * n / of:.1f} %"


def rate(measure: Measure) -> str:
    """A share with its interval and n; of fewer than 20 a count, since a share in per cent promises more."""
    few = measure.value is not None and 0 < measure.n < TELLS
    return f"{round((measure.value or 0.0) * measure.n):,} of {measure.n:,}" if few else str(measure)


def part(measure: Measure) -> str:
    """A share alone; what isn't nothing never reads as 0.0 %, nor a few as per cent."""
    if measure.value is not None and 0 < measure.value < 0.0005:
        return "under 0.1 %"
    return rate(measure) if 0 < measure.n < TELLS else percent(measure.value, 1)


def figure(value: float | None) -> str:
    """A plain number with the two digits that count."""
    return "not known" if value is None else f"{value:.2g}"


def between(measure: Measure) -> str:
    """The interval and n of a share, without its value."""
    if measure.low is None or measure.high is None:
        return f"n = {measure.n:,}"
    return f"{100 * measure.low:.1f} to {100 * measure.high:.1f} %, n = {measure.n:,}"


def money(measure: Measure) -> str:
    """US dollars with cents, the interval where there is one; what is less than a cent without."""
    if measure.value is None or not 0 < abs(measure.value) < 0.005 or not measure.unit.startswith("USD"):
        return str(measure)
    return f"{dollars(measure.value)}{measure.unit.removeprefix('USD').replace('/', ' a ')} (n = {measure.n:,})"


def dollars(value: float | None) -> str:
    """US dollars with cents; below a cent, with the two digits that count."""
    if value is None:
        return "not known"
    tiny = 0 < abs(value) < 0.01
    size = f"{abs(value):.{1 - floor(log10(abs(value)))}f}".rstrip("0") if tiny else f"{abs(value):,.2f}"
    return f"{'-' if value < 0 else ''}${size}"


def home_method(money: Mapping[str, Measure]) -> str:
    """How a verdict's cost at home was made."""
    return money["home"].method if "home" in money else ""


def price(value: float) -> str:
    """An hourly price, as exact as it is given."""
    return f"${value:.4g}"


def basename(path: str) -> str:
    """The file's own name, so that a report that is passed on says nothing about the machine."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def day(value: float | str | None) -> str:
    """A date from epoch seconds UTC or ISO 8601; text that is no date stays as it is."""
    if value is None or value == "":
        return "not known"
    if isinstance(value, str):
        try:
            at: date = datetime.fromisoformat(value)
        except ValueError:
            return value
    else:
        at = datetime.fromtimestamp(value, UTC)
    return f"{at.day} {at:%b %Y}"


def period(first: float | None, last: float | None) -> str:
    """From one day to another; of one day its times; of a clock that starts at 0 only how long."""
    if first is None or last is None:
        return "not known"
    if last < YEAR:
        return f"{(last - first) / 60:,.0f} minutes of a clock that starts at 0"
    if day(first) != day(last):
        return f"{day(first)} to {day(last)}"
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (first, last))
    return day(first) + (f", {begin:%H:%M} to {end:%H:%M} UTC" if first < last else "")


def partly(measure: Measure) -> bool:
    """Does money leave calls out, because they have no price?"""
    return measure.value is not None and "calls have a price" in measure.method


def minute(value: float) -> str:
    """A time to the second, UTC; of a clock that starts at 0 without a day."""
    at = datetime.fromtimestamp(value, UTC)
    if value < YEAR:
        return f"{value / 60:,.1f} minutes on"
    return f"{at.day} {at:%b %Y %H:%M:%S}"


def window(seconds: int) -> str:
    """1 s, 10 s, 1 min, 5 min, 1 h."""
    size, unit = next(pair for pair in ((3600, "h"), (60, "min"), (1, "s")) if seconds % pair[0] == 0)
    return f"{seconds // size} {unit}"


def times(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f} times"


def short(sha256: str) -> str:
    return sha256[:12]


def flat(recipe: Mapping[str, Any], under: str = "") -> list[tuple[str, str]]:
    """A nested recipe as (name, value) lines."""
    lines: list[tuple[str, str]] = []
    for key, value in recipe.items():
        name = f"{under}{key}"
        if isinstance(value, Mapping) and value:
            lines += flat(value, f"{name}.")
        elif isinstance(value, float):
            lines.append((name, f"{value:.6g}"))
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            lines.append((name, plural(len(value), "entry", "entries")))
        else:
            lines.append((name, listing(value) if isinstance(value, list | tuple) else str(value)))
    return lines


def listing(values: Any, most: int = 8) -> str:
    """The first few, and how many more."""
    said = [str(v) for v in values]
    more = len(said) - most
    return ", ".join(said[:most]) + (f" and {more:,} more" if more > 0 else "")


def plural(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


FILTERS = {
    "count": count, "percent": percent, "between": between, "money": money, "day": day, "short": short,
    "dollars": dollars, "basename": basename, "price": price, "figure": figure, "home_method": home_method,
    "flat": flat, "listing": listing, "plural": plural,
    "period": period, "partly": partly, "rate": rate, "part": part,
    "minute": minute, "window": window, "times": times, "portion": portion, "shown": shown,
}  # fmt: skip
