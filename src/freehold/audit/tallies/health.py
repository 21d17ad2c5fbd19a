"""How calls ended, and how long they took.

    error "429" → errors      refusal → refused      finish length → cut      finish content_filter → filtered
    seconds ─→ the values while they are few; a histogram with bins 2 % wide when they are many ─→ p50, p95

A call counts once: as failed, else refused, else cut or filtered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from freehold.audit.tallies.names import Counts
from freehold.audit.tallies.surface import said
from freehold.audit.tallies.tally import Seen
from freehold.measure import ranks
from freehold.nouns import Call, Health, Measure

__all__ = ["HealthTally", "Seconds"]

CUT = ("length", "max_tokens", "max_output_tokens")
KNOWN = 10_000  # times that are kept as they are
WIDTH = math.log(1.02)  # of a bin, so that its middle is within 1 % of every value in it
SHORTEST = 1e-6  # seconds; anything shorter counts as this


class Seconds(msgspec.Struct):
    """Times: exact up to KNOWN of them, else by the logarithm of each."""

    n: int = 0
    exact: list[float] = []
    bins: dict[int, int] = {}

    def add(self, times: Sequence[float]) -> None:
        self.n += len(times)
        for time in times:
            place = math.floor(math.log(max(time, SHORTEST)) / WIDTH)
            self.bins[place] = self.bins.get(place, 0) + 1
        self._keep(times)

    def merge(self, later: Seconds) -> None:
        self.n += later.n
        for place, count in later.bins.items():
            self.bins[place] = self.bins.get(place, 0) + count
        self._keep(later.exact)

    def _keep(self, times: Sequence[float]) -> None:
        self.exact = [] if self.n > KNOWN else [*self.exact, *times]

    def quantile(self, share: float) -> Measure:
        """With its order-statistics interval: the number of values below it is binomial."""
        name = "median" if share == 0.5 else f"{100 * share:g}th percentile"
        if not self.n:
            return Measure(None, n=0, unit="s", method="the log doesn't say how long answers took")
        low, high = ranks(self.n, share)
        how = "" if self.exact else "; by a histogram, each time within 1 %"
        method = f"{name} of {self.n:,} answers with its order-statistics 95 %{how}"
        least, most = (None if at is None else self._at(at) for at in (low, high))
        return Measure(self._at(math.ceil(share * self.n) - 1), least, most, self.n, "s", method)

    def _at(self, place: int) -> float:
        """The value at a place, counted from 0, in ascending order."""
        if self.exact:
            return sorted(self.exact)[place]
        bins = sorted(self.bins)
        upto = np.cumsum([self.bins[one] for one in bins])
        return math.exp((bins[int(np.searchsorted(upto, place, side="right"))] + 0.5) * WIDTH)


class HealthTally(msgspec.Struct):
    """`spoilt` counts, by a task's place, the calls that brought no whole answer."""

    errors: Counts = msgspec.field(default_factory=Counts)
    refused: int = 0
    cut: int = 0
    filtered: int = 0
    spoilt: dict[int, int] = {}
    seconds: Seconds = msgspec.field(default_factory=Seconds)

    def add(self, seen: Sequence[Seen], /) -> None:
        spoilt: Counter[int] = Counter()
        upstream = [one for one in seen if one.call.answered_by == "upstream"]
        for one in upstream:
            spoilt[one.task] += self._ended(one.call)
        for task, count in spoilt.items():
            if task >= 0 and count:
                self.spoilt[task] = self.spoilt.get(task, 0) + count
        self.seconds.add([s for one in upstream if (s := one.call.seconds) is not None and not one.call.error])

    def _ended(self, call: Call) -> bool:
        """Did it end without a whole answer?"""
        if call.error:
            self.errors.add_all([call.error])
        elif call.answer is None and said(call).get("refusal"):
            self.refused += 1
        elif call.finish in CUT:
            self.cut += 1
        elif call.finish == "content_filter":
            self.filtered += 1
        else:
            return False
        return True

    def merge(self, later: HealthTally, /) -> None:
        self.errors.merge(later.errors)
        for name in ("refused", "cut", "filtered"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        for task, count in later.spoilt.items():
            self.spoilt[task] = self.spoilt.get(task, 0) + count
        self.seconds.merge(later.seconds)

    def health(self, retries: int = 0) -> Health:
        """`retries` is counted where equal requests are found together (RepeatTally)."""
        return Health(
            errors=self.errors.shown(),
            refused=self.refused,
            cut=self.cut,
            filtered=self.filtered,
            retries=retries,
            seconds=self.seconds.quantile(0.5),
            slow=self.seconds.quantile(0.95),
        )

    def shares(self, calls: Mapping[int, int]) -> dict[int, float]:
        """The share of each task's calls that brought no whole answer."""
        return {task: min(1.0, count / calls[task]) for task, count in self.spoilt.items() if calls.get(task)}
