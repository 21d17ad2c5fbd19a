"""The bill: what the closed model's calls cost, each at the price of its day, to the last digit.

call ─Pricer→ tokens (or an estimate), cost (or None) ─MoneyTally→ sums by task, model, user, day
                                                                     └─ bill.py → Measures, Spends

What has no price is counted and named, and is not in the sum. Only what the closed model answered costs anything; a
ledger's pairs are billed, but are no further calls of users.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from freehold.audit.tallies.estimate import Estimator
from freehold.audit.tallies.spend import Cell, Cells, short
from freehold.audit.tallies.tally import Seen
from freehold.facts import PriceBook
from freehold.nouns import Call, Measure, Tokens
from freehold.totals import HOURS

__all__ = ["MoneyTally", "Pricer", "per_month"]

DAY = 86400.0
NEVER = 253402300800.0  # the year 10000, which datetime doesn't have
USERS, MODELS, DAYS = 100_000, 10_000, 20_000


class Pricer:
    """Tokens and cost of one call after the other, for `Seen`."""

    def __init__(self, book: PriceBook, estimator: Estimator | None = None) -> None:
        self.book, self.estimator = book, estimator or Estimator()
        self._tiers = {"": ""}

    def __call__(self, call: Call) -> tuple[Tokens | None, bool, Decimal | None]:
        """(tokens as logged or estimated, are they an estimate, USD exact). The cost is None where model, tokens or
        time don't say, and of what the closed model did not answer."""
        tokens, estimated = call.tokens, False
        if call.answered_by != "upstream":
            return tokens, False, None
        if tokens is None and (call.model or self.book.price_as):
            tokens = self.estimator.tokens(call)
            estimated = tokens is not None
        if tokens is None:
            return None, False, None
        rates = self.book.rates(call.model, call.at, call.tier)
        return tokens, estimated, None if rates is None else rates.cost(tokens)


class MoneyTally(msgspec.Struct):
    """Sums that don't hang on how the log is cut. `nobody` has the calls that name no user, `tiers` those of other than
    the usual price tier, by model and tier."""

    total: Cell = msgspec.field(default_factory=Cell)
    tasks: dict[int, Cell] = {}
    nobody: Cell = msgspec.field(default_factory=Cell)
    models: Cells = msgspec.field(default_factory=lambda: Cells(MODELS))
    users: Cells = msgspec.field(default_factory=lambda: Cells(USERS))
    days: Cells = msgspec.field(default_factory=lambda: Cells(DAYS))
    tiers: Cells = msgspec.field(default_factory=lambda: Cells(MODELS))

    def add(self, seen: Sequence[Seen]) -> None:
        alike: dict[tuple[int, str, str, int], Cell] = {}
        users, last, known = self.users, None, None
        for one in seen:
            call = one.call
            day = -1 if call.at is None or not 0 <= call.at < NEVER else int(call.at // DAY)
            key = one.task, call.model, call.tier, day
            cell = alike.get(key)
            if cell is None:
                cell = alike[key] = Cell()
            cell.add(one)
            if not call.user:
                self.nobody.add(one)
                continue
            if known is None or call.user != last:
                last, known = call.user, users.cell(short(call.user))
            if known is not None:
                known.add(one)
        for (task, model, tier, day), cell in alike.items():
            self._fold(task, model, tier, day, cell)

    def _fold(self, task: int, model: str, tier: str, day: int, cell: Cell) -> None:
        self.total.merge(cell)
        self.tasks.setdefault(task, Cell()).merge(cell)
        names = [(self.models, model), (self.days, _date(day))]
        if tier:
            names.append((self.tiers, f"{model} {tier}"))
        for table, name in names:
            if (mine := table.cell(short(name))) is not None:
                mine.merge(cell)

    def merge(self, later: MoneyTally) -> None:
        self.total.merge(later.total)
        self.nobody.merge(later.nobody)
        for task, cell in later.tasks.items():
            self.tasks.setdefault(task, Cell()).merge(cell)
        for name in ("models", "users", "days", "tiers"):
            getattr(self, name).merge(getattr(later, name))


def _date(day: int) -> str:
    """A day of the epoch as ISO date, UTC; "" for none."""
    return "" if day < 0 else datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def per_month(money: Measure, first: float | None, last: float | None) -> Measure:
    """The bill at this pace: scaled from the span between first and last call to an average month."""
    span = None if first is None or last is None else last - first
    if money.value is None or span is None or span < DAY:
        why = "no call has a price" if money.value is None else "the log's calls have no times, or span under a day"
        return Measure(None, n=money.n, unit="USD/month", method=why)
    method = f"{money.method}; {span / DAY:.1f} days of log scaled to {HOURS / 24:.2f}"
    value, low, high = (None if x is None else x * HOURS * 3600 / span for x in (money.value, money.low, money.high))
    return Measure(value, low, high, money.n, "USD/month", method)
