"""Does the promise still hold? A bet against it, on every answer of the student that was also asked upstream. Pure.

    R_t = (R_{t-1} + 1 / q_t) · (1 + l · (D_t − (1 − bar)))   one R for each bet l; D_t = 1 where the answers differ
    alarm when the mean of the R reaches 200,000              q_t: how likely this call was to become a pair

The Shiryaev-Roberts e-detector (Shin, Ramdas and Rinaldo 2022), its clock counted in kept calls: a pair drawn with
q = 0.02 stands for 50 of them, one of a call that goes up anyway (shadow, canary) for itself. While agreement is at
least the bar, the mean of the R less the kept calls so far is a supermartingale, so P(false alarm within K kept calls)
is at most K / 200,000: 5 % in 10,000 kept calls, whatever the shares were and however they changed. With one share q
all along this is the detector whose restarts weigh 1, with a limit of 200,000 q pairs.

What earlier runs saw is counted again at start (`remember`), each pair with the probability it was drawn with then.
"""

from __future__ import annotations

__all__ = ["LIMIT", "Monitor"]

BETS = (0.02, 0.05, 0.1, 0.2, 0.4)  # l = c / (1 - bar) for each c
LIMIT = 200_000.0  # kept calls: 20 times 10,000
QUIET = 20  # pairs that the kept calls without one may have been expected to bring
ROUNDING = 1e-6  # of a sum of shares


class Monitor:
    """One rung's detector. `pairs` is the share of home answers that are asked upstream too, in (0, 1]."""

    def __init__(self, bar: float, pairs: float) -> None:
        assert 0.0 < bar < 1.0, bar
        assert 0.0 < pairs <= 1.0, pairs
        self.bar = bar
        self.pairs = pairs
        self.gap = QUIET / pairs
        self.seen = 0
        self.differed = 0
        self.since = 0
        self.expected = 0.0  # pairs, in the kept calls since the last one
        self.alarm = ""
        self._bets = [0.0] * len(BETS)

    @property
    def evidence(self) -> float:
        """The mean of the bets, in kept calls: how strongly the pairs speak against the promise."""
        return sum(self._bets) / len(BETS)

    def kept(self, awaited: bool = False) -> str:
        """One more home answer; `awaited`: a pair of this rung is under way. Returns why the rung must close, or ""."""
        self.remember_kept(self.pairs)
        return self.alarm if awaited else self.unwatched()

    def pair(self, agrees: bool, probability: float | None = None) -> str:
        """One pair, drawn with `probability` (None: the share of home answers). Returns why the rung must close, or
        ""."""
        self.remember_pair(agrees, probability or self.pairs)
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

    def remember_pair(self, agrees: bool, probability: float) -> None:
        """A pair that was drawn with `probability`."""
        differs = 0.0 if agrees else 1.0
        self.seen += 1
        self.differed += not agrees
        self.since, self.expected = 0, 0.0
        wrong, stands_for = 1.0 - self.bar, 1.0 / probability
        self._bets = [
            (r + stands_for) * (1.0 + c / wrong * (differs - wrong)) for r, c in zip(self._bets, BETS, strict=True)
        ]
        if not self.alarm and self.evidence >= LIMIT:
            said = f"{self.differed:,} of {self.seen:,} pairs differ"
            self.alarm = f"the promise of {self.bar:g} fails: {said}, evidence {self.evidence:,.0f} of {LIMIT:,.0f}"
