"""Requests asked more than once: how many, what they cost, and how often the closed model agrees with itself.

"where is my card"  → card_arrival, card_arrival, lost_card     one text, three calls; its first two answers agree

A row of 48 bytes is kept for each call, in files where they are many. At the end the rows of equal messages come back
together (and so those of equal requests, which have equal messages), in the log's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold import wire
from freehold.audit.tallies.near import LONGEST, NearTally
from freehold.audit.tallies.same import answer_number, text_number
from freehold.audit.tallies.spill import Rows
from freehold.audit.tallies.tally import Seen
from freehold.measure import share
from freehold.nouns import Measure, Repeats

__all__ = ["RepeatTally", "Repeated"]

PAIR, EVIDENCE, TOOLS, WHOLE, FAILED, STEADY = 1, 2, 4, 8, 16, 32
"""What a row's call is: a ledger's pair; answered upstream with text, or with tool calls; answered to the end; failed;
asked at temperature 0."""
SOON = 60  # seconds in which a call after an equal one that failed is a retry
SCALE = 12  # decimal places of USD
MOST_COST = (1 << 62) - 1
ROW = np.dtype([
    ("messages", "<u8"), ("key", "<u8"), ("answer", "<u8"), ("text", "<u8"), ("cost", "<i8"), ("at", "<u4"),
    ("task", "<i2"), ("flags", "<u2"),
])  # fmt: skip
TEXT = 3  # place of the text's number in a row
Found = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Repeated:
    """What the repeats of a log say. `conflicts` counts equal messages answered in more than one way; `noise` is how
    often the closed model agrees with itself, by a task's place; `retries` as in Health."""

    repeats: Repeats
    conflicts: int
    noise: dict[int, Measure]
    retries: int


def _rows() -> Rows:
    return Rows(ROW.itemsize)


class RepeatTally(msgspec.Struct):
    """`rows` lie in files of `folder` where they are many; `blank` counts calls whose prompt was not logged."""

    folder: str = ""
    rows: Rows = msgspec.field(default_factory=_rows)
    near: NearTally = msgspec.field(default_factory=NearTally)
    blank: int = 0

    def __post_init__(self) -> None:
        self.rows.folder = self.folder

    def add(self, seen: Sequence[Seen], /) -> None:
        asked = [one for one in seen if not wire.unseen(one.call)]
        self.blank += len(seen) - len(asked)
        rows = [_row(one) for one in asked]
        pairs = zip(asked, rows, strict=True)
        self.near.add([(row[TEXT], one.task, one.text or "") for one, row in pairs if _counts(one)])
        self.rows.add(np.array(rows, ROW))

    def merge(self, later: RepeatTally, /) -> None:
        self.blank += later.blank
        self.near.merge(later.near)
        self.rows.merge(later.rows)

    def found(self) -> Repeated:
        """Everything at once, since it takes one reading of all rows."""
        sums = _Sums()
        for group in self.rows.groups(ROW):
            sums.add(group)
        return sums.repeated(self.near, self.blank)


def _counts(seen: Seen) -> bool:
    """Has it a text of a task, and did a user ask?"""
    return seen.task >= 0 and bool(seen.text) and seen.call.why != "pair"


def _row(seen: Seen) -> tuple[int, ...]:
    call, messages = seen.call, seen.asked
    fits = seen.task >= 0 and seen.text and len(seen.text) <= LONGEST
    text = text_number(messages, seen.task, seen.text or "") if fits else 0
    flags = PAIR * (call.why == "pair") | FAILED * bool(call.error) | STEADY * _at_zero(call.params)
    said = 0
    if call.answered_by == "upstream":
        if call.answer is not None:
            flags |= EVIDENCE
            said = answer_number(call.answer)
        elif (tools := wire.answer(call, "tools")) is not None:
            flags |= TOOLS
            said = answer_number(tools)
    if not call.error and (said or wire.finished(call)):
        flags |= WHOLE
    at = 0 if call.at is None else min(int(call.at), (1 << 32) - 1)
    return messages, seen.key, said, text, _cost(seen.cost), at, min(seen.task, 32767), flags


def _at_zero(params: dict[str, Any]) -> bool:
    value = params.get("temperature")
    return value is not None and value == 0 and value is not False


def _cost(cost: Decimal | None) -> int:
    """In 1e-12 USD, which holds every price that is whole in 1e-6 USD a million tokens; -1 for none."""
    return -1 if cost is None else min(MOST_COST, int(cost.scaleb(SCALE)))


class _Sums:
    """Adds up groups of rows, each with all calls of its messages, put in order by key."""

    def __init__(self) -> None:
        self.calls = self.requests = self.different = self.again = self.asked = self.agreeing = 0
        self.conflicts = self.retries = self.saved = self.safe = self.priced = self.steady = 0
        self.pairs: Counter[int] = Counter()
        self.alike: Counter[int] = Counter()

    def add(self, rows: Found) -> None:
        rows = rows[np.argsort(rows["key"], kind="stable")]
        flags = rows["flags"]
        users = rows[flags & PAIR == 0]
        self.calls += len(users)
        self.different += len(_starts(np.sort(users["text"][users["text"] != 0])))
        starts = _starts(users["key"])
        self.requests += len(starts)
        self._money(users, starts)
        self._retried(users, starts)
        self._agreement(rows[flags & EVIDENCE != 0])
        self._noise(rows[(flags & (EVIDENCE | TOOLS) != 0) & (rows["task"] >= 0)])

    def _money(self, rows: Found, starts: Ints) -> None:
        """What a cache would have saved: every call after the first that was answered to the end."""
        if not len(rows):
            return
        places = np.arange(len(rows))
        whole = np.minimum.reduceat(np.where(rows["flags"] & WHOLE != 0, places, len(rows)), starts)
        later = (places > np.repeat(whole, np.diff(starts, append=len(rows)))) & (rows["cost"] >= 0)
        steady = later & (rows["flags"] & STEADY != 0)
        self.saved += _sum(rows["cost"][later])
        self.safe += _sum(rows["cost"][steady])
        self.priced += int(later.sum())
        self.steady += int(steady.sum())

    def _agreement(self, rows: Found) -> None:
        again, first, second = _pairs(rows)
        self.again += len(first)
        self.asked += again
        self.agreeing += int((first["answer"] == second["answer"]).sum())
        order = np.argsort(rows["messages"])
        answers = rows["answer"][order]
        starts = _starts(rows["messages"][order])
        if len(starts):
            least, most = (ufunc.reduceat(answers, starts) for ufunc in (np.minimum, np.maximum))
            self.conflicts += int((least != most).sum())

    def _noise(self, rows: Found) -> None:
        _, first, second = _pairs(rows)
        self.pairs.update(first["task"].tolist())
        self.alike.update(first["task"][first["answer"] == second["answer"]].tolist())

    def _retried(self, rows: Found, starts: Ints) -> None:
        failed = (rows["flags"] & FAILED != 0) & (rows["at"] > 0)
        ends = [*starts[1:].tolist(), len(rows)]
        some = np.logical_or.reduceat(failed, starts) if len(rows) else failed
        for which in np.flatnonzero(some).tolist():
            of_one = rows[starts[which] : ends[which]]
            of_one = of_one[np.argsort(of_one["at"], kind="stable")]
            last = -SOON - 1
            for at, wrong in zip(of_one["at"].tolist(), (of_one["flags"] & FAILED != 0).tolist(), strict=True):
                self.retries += 0 < at <= last + SOON
                last = at if wrong and at else last

    def repeated(self, near: NearTally, blank: int) -> Repeated:
        untold = f"; {blank:,} calls whose prompt was not logged left out" if blank else ""
        exact = "calls whose request (model, messages, settings) came before, counted" + untold
        earlier = (self.calls - self.requests) / self.calls if self.calls else None
        repeats = Repeats(
            texts=self.again,
            calls=self.asked,
            self_agreement=share(self.agreeing, self.again),
            exact=Measure(earlier, n=self.calls, method=exact),
            near=near.share(self.different),
            saved=_usd(self.saved, self.priced, "cost of the calls whose request had been answered before"),
            safe=_usd(self.safe, self.steady, "the same, of requests at temperature 0 only"),
        )
        noise = {task: _noise(self.alike[task], n) for task, n in sorted(self.pairs.items())}
        return Repeated(repeats, self.conflicts, noise, self.retries)


def _noise(alike: int, pairs: int) -> Measure:
    found = share(alike, pairs)
    how = f"first two answers to each request asked again, equal as text or as JSON values; {found.method}"
    return Measure(found.value, found.low, found.high, found.n, found.unit, how)


def _usd(picos: int, calls: int, what: str) -> Measure:
    usd = float(Decimal(picos).scaleb(-SCALE))
    return Measure(usd, n=calls, unit="USD", method=f"{what}; calls without a price left out")


def _starts(ordered: npt.NDArray[Any]) -> Ints:
    """Where each run of equal values begins."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def _pairs(rows: Found) -> tuple[int, Found, Found]:
    """Of rows by key: the calls whose request comes more than once, and the first two rows of each such request."""
    starts = _starts(rows["key"])
    sizes = np.diff(starts, append=len(rows))
    twice = starts[sizes > 1]
    return int(sizes[sizes > 1].sum()), rows[twice], rows[twice + 1]


def _sum(costs: Ints) -> int:
    """Exactly, whatever their number."""
    return (int((costs >> 31).sum()) << 31) + int((costs & (1 << 31) - 1).sum())
