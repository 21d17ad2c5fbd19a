"""Does the promise still hold? A bet against it, on every home answer that was also asked upstream. Pure.

    R_t = (R_{t-1} + 1) · (1 + l · (D_t − (1 − bar)))     D_t = 1 where the two answers differ; one R for each bet l
    alarm when the mean of the R reaches A

The Shiryaev-Roberts e-detector (Shin, Ramdas and Rinaldo 2022). While agreement is at least the bar, at least A pairs
pass between false alarms on average, and P(false alarm within n pairs) <= n / A. A is 20 times the pairs expected in
10,000 kept calls: 4,000 where 2 % are asked, and then at most 5 % false alarms in 10,000 kept calls.

What earlier runs saw is counted again at start (`remember`), each row with the share it was drawn with then: a run with
another share has another A, and only an alarm that it had reason to raise itself, or a new pair, closes a rung.
"""

from __future__ import annotations

__all__ = ["Monitor"]

BETS = (0.02, 0.05, 0.1, 0.2, 0.4)  # l = c / (1 - bar) for each c
KEPT_CALLS = 10_000
QUIET = 20  # pairs that the kept calls without one may have been expected to bring
ROUNDING = 1e-6  # of a sum of shares


class Monitor:
    """One rung's detector. `pairs` is the share of home answers that are asked upstream too, in (0, 1]."""

    def __init__(self, bar: float, pairs: float) -> None:
        assert 0.0 < bar < 1.0, bar
        assert 0.0 < pairs <= 1.0, pairs
        self.bar = bar
        self.pairs = pairs
        self.limit = 20 * KEPT_CALLS * pairs
        self.gap = QUIET / pairs
        self.seen = 0
        self.differed = 0
        self.since = 0
        self.expected = 0.0  # pairs, in the kept calls since the last one
        self.alarm = ""
        self._bets = [0.0] * len(BETS)

    @property
    def evidence(self) -> float:
        """The mean of the bets: how strongly the pairs speak against the promise."""
        return sum(self._bets) / len(BETS)

    def kept(self, awaited: bool = False) -> str:
        """One more home answer; `awaited`: a pair of this rung is under way. Returns why the rung must close, or ""."""
        self.remember_kept(self.pairs)
        return self.alarm if awaited else self.unwatched()

    def pair(self, agrees: bool) -> str:
        """One pair. Returns why the rung must close, or ""."""
        self.remember_pair(agrees, self.pairs)
        return self.alarm

    def unwatched(self) -> str:
        """Look at the gap: 20 pairs expected since the last one, and none came. Returns the alarm, or ""."""
        if not self.alarm and self.expected >= QUIET - ROUNDING:
            self.alarm = f"unwatched: {self.since} kept calls went by without a pair"
        return self.alarm

    def remember_kept(self, pairs: float) -> None:
        """A home answer of a run that asked the share `pairs`; whether a pair was under way then is not known."""
        self.since += 1
        self.expected += pairs

    def remember_pair(self, agrees: bool, pairs: float) -> None:
        """A pair of a run that asked the share `pairs`, held against that run's limit."""
        limit = 20 * KEPT_CALLS * pairs
        differs = 0.0 if agrees else 1.0
        self.seen += 1
        self.differed += not agrees
        self.since, self.expected = 0, 0.0
        wrong = 1.0 - self.bar
        self._bets = [(r + 1.0) * (1.0 + c / wrong * (differs - wrong)) for r, c in zip(self._bets, BETS, strict=True)]
        if not self.alarm and self.evidence >= limit:
            said = f"{self.differed} of {self.seen} pairs differ"
            self.alarm = f"the promise of {self.bar:g} fails: {said}, evidence {self.evidence:.0f} of {limit:.0f}"
