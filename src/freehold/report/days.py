"""Calls and money over time, ready to draw: a column a day, or a week, month, year where days would be too many.

    2026-11-02  1,204 calls  $3.10    →   Column(x=4.2, width=1.9, calls=Part(top, height), money=Part(...), said=...)
    2026-11-03  (nothing)             →   no column: a gap stays a gap

x, width, top and height are in per cent of the panel, so that the SVG fits any width and its text keeps its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta
from math import floor, log10

from freehold.nouns import Measure, Spend, Tokens
from freehold.report.words import count, dollars, plural

__all__ = ["Chart", "Column", "Tick", "chart", "date_of"]

MOST = 110  # columns that a phone still shows apart
ROOM = 94.0  # per cent of a panel's height under its uppermost line
LEAST = 0.9  # the lowest column that can still be seen


@dataclass(frozen=True, slots=True)
class Part:
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """`money` is None where no call of it has a price; `estimated` says that some tokens of it are an estimate."""

    x: float
    width: float
    calls: Part
    money: Part | None
    estimated: bool
    said: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label under the columns; on a phone only those that are there `always`."""

    x: float
    anchor: str
    text: str
    always: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """`span` is the first and the last unit of time; `lines` are (its height in per cent from the top, its
    calls, its money); `empty` counts the units between in which there was no call."""

    unit: str
    span: tuple[str, str]
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[tuple[float, str, str], ...]
    empty: int
    paid: bool
    estimated: bool


def chart(days: Sequence[Spend]) -> Chart | None:
    """None where all calls are of one day, or of none."""
    dated = [(at, day) for day in days if day.calls and (at := date_of(day.name))]
    if len({at for at, _ in dated}) < 2:
        return None
    first, last = min(at for at, _ in dated), max(at for at, _ in dated)
    unit, step = _unit(first, last)
    begin = _place(first, unit, step)
    n = _place(last, unit, step) - begin + 1
    found: dict[int, Spend] = {}
    for at, day in dated:
        place = _place(at, unit, step) - begin
        found[place] = _added(found[place], day) if place in found else day
    most_calls = nice(max(spend.calls for spend in found.values()))
    most_money = nice(max(spend.money.value or 0.0 for spend in found.values()))
    columns = tuple(
        _column(place, n, spend, most_calls, most_money, _label(begin + place, unit, step))
        for place, spend in sorted(found.items())
    )
    lines = tuple(
        (100 - ROOM * part, _axis(part * most_calls), "$" + _axis(part * most_money) if most_money else "")
        for part in (1.0, 0.5)
    )
    ticks = _ticks(n, [_label(begin + place, unit, step) for place in _marks(n)])
    span = _label(begin, unit, step), _label(begin + n - 1, unit, step)
    unit = unit if step == 1 else f"{step} years"
    estimated = any(column.estimated for column in columns)
    return Chart(unit, span, columns, ticks, lines, n - len(found), most_money > 0, estimated)


def nice(value: float) -> float:
    """A round figure at or above; 0 of 0."""
    if value <= 0:
        return 0.0
    size = 10.0 ** floor(log10(value))
    return next(step * size for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * size >= value * (1 - 1e-9))


def date_of(text: str) -> date | None:
    """Of a day's name; None for those that are no day ("before 2024-03-01", "" for calls without a time)."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _unit(first: date, last: date) -> tuple[str, int]:
    """The smallest unit of time of which there aren't too many, and how many of it make a column."""
    for unit in ("day", "week", "month", "year"):
        if _place(last, unit, 1) - _place(first, unit, 1) < MOST:
            return unit, 1
    return "year", (last.year - first.year) // MOST + 1


def _place(at: date, unit: str, step: int) -> int:
    """Which unit of time a day is in, counted from the year 1; weeks begin on Monday (day 1 was one)."""
    if unit == "month":
        return 12 * at.year + at.month - 1
    if unit == "year":
        return at.year // step
    return at.toordinal() if unit == "day" else (at.toordinal() - 1) // 7


def _label(place: int, unit: str, step: int) -> str:
    if unit == "year":
        return str(place * step)
    if unit == "month":
        at = date(min(place // 12, MAXYEAR), place % 12 + 1, 1)
        return f"{at:%b} {at.year}"
    at = date.fromordinal(place) if unit == "day" else date.fromordinal(1) + timedelta(weeks=place)
    return f"{at.day} {at:%b} {at.year}"


def _marks(n: int) -> list[int]:
    """The first, the last, and two between; all where there are few."""
    return sorted({round(i * (n - 1) / 3) for i in range(4)})


def _ticks(n: int, labels: Sequence[str]) -> tuple[Tick, ...]:
    """Each under its column; of many columns the outer two stand at the edges, and the others go without a year."""
    if n <= 4:
        return tuple(
            Tick(round(100 * (i + 0.5) / n, 3), "middle", label.rsplit(" ", 1)[0], True)
            for i, label in enumerate(labels)
        )
    middle = [
        Tick(round(100 * (place + 0.5) / n, 3), "middle", label.rsplit(" ", 1)[0])
        for place, label in zip(_marks(n)[1:-1], labels[1:-1], strict=True)
    ]
    return (Tick(0.0, "start", labels[0], True), *middle, Tick(100.0, "end", labels[-1], True))


def _column(place: int, n: int, spend: Spend, most_calls: float, most_money: float, label: str) -> Column:
    slot = 100 / n
    width = slot * 0.82 if slot < 8 else 6.5
    money = spend.money.value
    paid = _part(money, most_money) if money is not None and most_money else None
    said = f"{label}: {plural(spend.calls, 'call')}, {dollars(money) if money is not None else 'no price'}"
    if spend.priced and spend.priced < spend.calls:
        said += f" ({count(spend.priced)} of them have a price)"
    if spend.estimated:
        said += f"; tokens of {count(spend.estimated)} estimated"
    x = round(slot * (place + 0.5) - width / 2, 3)
    return Column(x, round(width, 3), _part(spend.calls, most_calls), paid, spend.estimated > 0, said)


def _part(value: float, most: float) -> Part:
    height = max(ROOM * value / most, LEAST if value else 0.0)
    return Part(round(100 - height, 3), round(height, 3))


def _axis(value: float) -> str:
    """As little room as it takes: 750, 12 k, 1.5 M."""
    for least, by, unit in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if value >= least:
            return f"{value / by:.4g}{unit}"
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _added(one: Spend, other: Spend) -> Spend:
    known = [s.money.value for s in (one, other) if s.money.value is not None]
    money = Measure(sum(known) if known else None, n=one.money.n + other.money.n, unit="USD", method=one.money.method)
    return Spend(one.name, one.calls + other.calls, Tokens(), money, one.priced + other.priced,
                 one.estimated + other.estimated)  # fmt: skip
