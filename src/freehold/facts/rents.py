"""What a device costs to rent, of the rows of rents.json.

rent("h100-sxm", facts)    ((2.95, 1.99, 5.0), source, as_of, ("rents/h100-sxm-market",), notes), USD a device and hour
"""

from __future__ import annotations

from statistics import median

from freehold.facts.tables import Facts
from freehold.facts.values import number
from freehold.nouns import Fact

__all__ = ["Price", "Span", "rent", "spanned"]

Span = tuple[float, float, float]
Price = tuple[Span, str, str, tuple[str, ...], tuple[str, ...]]
"""Price with its range, source, date, refs of the rows, notes."""


def rent(hardware: str, facts: Facts) -> Price | None:
    """The market's row on demand; else the median over providers."""
    rows = [
        row for row in facts.rows("rents")
        if row.values.get("hardware") == hardware and row.values.get("way") == "rent"
        and row.values.get("term", "on demand") == "on demand"
    ]  # fmt: skip
    rows = [row for row in rows if row.status == "given"] or rows
    rows = [row for row in rows if row.values.get("provider") == "market"] or rows
    rows = [row for row in rows if row.status != "unverified"] or rows
    if not rows:
        return None
    prices, lows, highs = zip(*map(spanned, rows), strict=True)
    newest = max(rows, key=lambda row: row.as_of)
    for row in rows:
        facts.get("rents", row.id)
    notes = [f"its rent is unverified ({newest.id})"] if newest.status == "unverified" else []
    if len(rows) == 1 and lows == highs:
        notes.append(f"its rent rests on one offer ({newest.id})")
    price = (median(prices), min(lows), max(highs))
    return price, newest.source, newest.as_of, tuple(row.ref for row in rows), tuple(notes)


def spanned(row: Fact) -> Span:
    """A row's price with its range; a price of the team's own that lies outside the shipped range has none."""
    value = number(row, "price")
    low, high = (number(row, end) if end in row.values else value for end in ("low", "high"))
    return (value, low, high) if low <= value <= high else (value, value, value)
