"""What the sums say: the bill with its interval, and who, when and what for.

MoneyTally ─Bill→ money(), task(i), users(), days(), estimate()

A logged count is exact, and so is its price: only the part that rests on estimated tokens has an interval, and that
part is said apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from freehold.audit.tallies.estimate import Estimator
from freehold.audit.tallies.money import MoneyTally
from freehold.audit.tallies.spend import Cell
from freehold.facts import PriceBook
from freehold.nouns import Measure, Spend, Tokens

__all__ = ["Bill"]

TOP, SHOWN = 50, 1_000
OTHERS = "others"


class Bill:
    """What a tally of the whole log says, in nouns."""

    def __init__(self, tally: MoneyTally, book: PriceBook, estimator: Estimator | None = None) -> None:
        self.tally, self.book, self.estimator = tally, book, estimator or Estimator()
        self._guessed = [name for name, cell in tally.models.cells.items() if cell.estimated]

    def money(self, cell: Cell | None = None) -> Measure:
        """USD of the log, or of one of its cells; None where nothing has a price. The interval is that of the estimated
        part, at 95 %: logged counts have none."""
        cell = self.tally.total if cell is None else cell
        method = "; ".join([self.book.method(), *self._notes(cell)])
        return self._measure(cell, method)

    def estimate(self) -> Measure:
        """The part of the money that rests on estimated tokens, in USD; None where all are counted."""
        cell = self.tally.total
        if not cell.estimated:
            return Measure(None, unit="USD", method="no call's tokens are an estimate")
        off = self.estimator.off(self._guessed, cell.estimated)
        value = float(cell.guessed)
        method = f"{self.estimator.method(self._guessed)}; {cell.estimated:,} calls, off by at most {off:.1%} at 95 %"
        return Measure(value, max(0.0, value * (1 - off)), value * (1 + off), cell.estimated, "USD", method)

    def task(self, task: int) -> tuple[Measure, Tokens, int]:
        """Money, tokens, and how many calls' tokens are an estimate, of the task at this place (-1: of none)."""
        cell = self.tally.tasks.get(task) or Cell()
        return self.money(cell), cell.tokens(), cell.estimated

    def users(self) -> tuple[Spend, ...]:
        """Who spent most: at most 50, then all others, then those that say no name ("")."""
        users = self.tally.users
        first = sorted(users.cells.items(), key=lambda item: (-item[1].cost, -item[1].calls, item[0]))[:TOP]
        rest = self.tally.total.less(self.tally.nobody)
        for _, cell in first:
            rest = rest.less(cell)
        found = [self._spend(name, cell) for name, cell in first]
        if rest.calls or rest.billed:
            sampled = f"those named are the first of a sample, 1 user in {2**users.bits:,}" if users.bits else ""
            found.append(self._spend(OTHERS, rest, sampled))
        if found and (self.tally.nobody.calls or self.tally.nobody.billed):
            found.append(self._spend("", self.tally.nobody))
        return tuple(found)

    def days(self) -> tuple[Spend, ...]:
        """Each day (UTC) in order: the last 1,000, those before them as one row, and "" for calls without a time."""
        cells = self.tally.days.cells
        named = sorted(name for name in cells if name)
        early, shown = named[:-SHOWN], named[-SHOWN:]
        found = [self._spend(f"before {shown[0]}", _sum(cells[name] for name in early))] if early else []
        found += [self._spend(name, cells[name]) for name in shown]
        return tuple(found) + ((self._spend("", cells[""]),) if found and "" in cells else ())

    def _spend(self, name: str, cell: Cell, note: str = "") -> Spend:
        method = "; ".join([*self._notes(cell), *([note] if note else [])])
        money = self._measure(cell, method)
        return Spend(name, cell.calls, cell.tokens(), money, cell.priced, cell.estimated)

    def _measure(self, cell: Cell, method: str) -> Measure:
        if not cell.priced:
            return Measure(None, n=0, unit="USD", method=method)
        value, guessed = float(cell.cost), float(cell.guessed)
        if not guessed:
            return Measure(value, n=cell.priced, unit="USD", method=method)
        off = guessed * self.estimator.off(self._guessed, cell.estimated)
        return Measure(value, value - min(off, guessed), value + off, cell.priced, "USD", method)

    def _notes(self, cell: Cell) -> list[str]:
        notes = []
        if cell.priced < cell.billed:
            notes.append(f"{cell.priced:,} of {cell.billed:,} calls have a price")
        if cell.estimated:
            off = self.estimator.off(self._guessed, cell.estimated)
            share = f"${cell.guessed:,.2f} of it rests on estimated tokens of {cell.estimated:,} calls"
            notes.append(f"{share}, off by at most {off:.1%} at 95 %")
        return notes


def _sum(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.merge(cell)
    return total
