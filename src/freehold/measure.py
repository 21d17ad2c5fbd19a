"""Intervals and certificates: what a claim may say at finite n.

    share(k, n)                            a share with its exact interval
    grid(prior_scores, prior_ok, n, bar)   thresholds in order, and where the level enters    (fit data only)
    certify(grid, scores, ok)              one look at the certification calls
    extra_calls(grid, certificate)         how many more calls would be enough

      prior pairs ──grid──┐
                          ├─certify→ Certificate: the loosest threshold marked
    scores, ok of cal ────┘          P(agreement above any marked threshold <= bar) <= 1 - confidence

A score is in [0, 1]; a call is kept where its score >= threshold; the threshold 0.0 keeps every call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freehold.nouns import Measure, Point

__all__ = [
    "CAL_SHARE", "Certificate", "Grid", "calls_needed", "certify", "extra_calls", "grid", "log_calls", "lower_bound",
    "middle", "ranks", "share",
]  # fmt: skip

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENTRIES = ((0.05, 2.5, 0.005), (0.80, 1.3, 0.005), (0.15, 1.0, 0.05))
"""(weight, x, slack), strict to loose: a share of the level, by how much more error than the prior shows its entry is
prepared for, and how much of the best chance to pass it gives up for a looser start. Chosen once, on simulations: the
last one takes up the walk again where chance broke it off (worth up to a point of the oracle's share at bar 0.99)."""
STEP = 0.01
FIRST = 0.02
USEFUL = 0.05
POWER = 0.8
MOST = 10
CAL_SHARE = 0.25  # of a task's calls certify; the others fit


def share(k: int, n: int, confidence: float = 0.95, unit: str = "share") -> Measure:
    """k of n with its two-sided exact interval (Clopper and Pearson 1934); without calls nothing is known."""
    from scipy.special import betaincinv

    method = f"Clopper-Pearson {_percent(confidence)}"
    if n == 0:
        return Measure(None, 0.0, 1.0, 0, unit, method)
    assert 0 <= k <= n, (k, n)
    half = (1.0 - confidence) / 2.0
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, half))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1.0 - half))
    return Measure(k / n, low, high, n, unit, method)


def lower_bound(k: int, n: int, level: float) -> float:
    """One-sided exact lower limit of a share at 1 - level (Clopper and Pearson 1934); 0.0 where k = 0."""
    from scipy.special import betaincinv

    return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, level))


def middle(values: ArrayLike, confidence: float = 0.95, unit: str = "ms", what: str = "calls") -> Measure:
    """The median with its order-statistics interval (the number of values below it is Bin(n, 1/2)), and the 95th
    percentile named in the method."""
    found = np.sort(np.asarray(values, float))
    n = len(found)
    if n == 0:
        return Measure(None, unit=unit, method="nothing measured")
    low, high = (None if at is None else float(found[at]) for at in ranks(n, 0.5, confidence))
    p95 = float(np.quantile(found, 0.95))
    method = (
        f"median of {n:,} {what} with its order-statistics {_percent(confidence)}; 95th percentile {p95:.3g} {unit}"
    )
    return Measure(float(np.median(found)), low, high, n, unit, method)


def ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int | None, int | None]:
    """Places (from 0, ascending) of the two of n values between which their source's q-quantile lies with this
    confidence: the number of values below it is Bin(n, q). None where n is too small for a limit on that side."""
    half = (1.0 - confidence) / 2.0
    below, above = (int(_most_errors(np.array([n]), p, half)[0]) for p in (q, 1.0 - q))
    return None if below < 0 else below, None if above < 0 else n - 1 - above


def calls_needed(bar: float, errors: int = 0, confidence: float = 0.95) -> int:
    """The fewest kept calls with `errors` errors that certify `bar` at one threshold fixed beforehand."""
    low, high = errors, errors + 1
    while float(_cdf(errors, high, 1.0 - bar)) > 1.0 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if float(_cdf(errors, half, 1.0 - bar)) > 1.0 - confidence else (low, half)
    return high


def log_calls(bar: float, confidence: float = 0.95) -> int:
    """Calls of the log that a proof at `bar` asks for when every certification call is kept and none is wrong."""
    return math.ceil(calls_needed(bar, 0, confidence) / CAL_SHARE)


# the certificate


@dataclass(frozen=True, slots=True)
class Grid:
    """Thresholds from strict to loose (the last keeps everything) and the level that enters at each; sums to
    1 - confidence. Of the `prior` out-of-fold pairs `kept` reach each threshold and `errors` of them are wrong. All
    of it depends on fit data only, so it is fixed before any certification call is scored."""

    thresholds: Floats
    levels: Floats
    kept: Ints
    errors: Ints
    prior: int
    bar: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """One look at the certification calls: per threshold the calls kept, the errors, the p-value's level and mark.

    `at` is the loosest marked point, or None; `level` is what was spent there.
    """

    thresholds: Floats
    kept: Ints
    errors: Ints
    marked: NDArray[np.bool_]
    n: int
    bar: float
    confidence: float
    at: int | None
    level: float | None

    @property
    def threshold(self) -> float | None:
        return None if self.at is None else float(self.thresholds[self.at])

    @property
    def share(self) -> float:
        """Share of the certification calls above the certified threshold; 0.0 where nothing is certified."""
        return 0.0 if self.at is None else int(self.kept[self.at]) / self.n

    @property
    def lower(self) -> float | None:
        """Lower limit of the agreement at the level spent. It is taken after the selection of the threshold: what is
        guaranteed is the bar."""
        if self.at is None or self.level is None:
            return None
        kept, errors = int(self.kept[self.at]), int(self.errors[self.at])
        return lower_bound(kept - errors, kept, self.level)

    def curve(self) -> tuple[Point, ...]:
        rows = zip(self.thresholds, self.kept, self.errors, self.marked, strict=True)
        return tuple(Point(float(t), int(n), int(e), bool(m)) for t, n, e, m in rows)


def grid(prior_scores: ArrayLike, prior_ok: ArrayLike, n: int, bar: float, confidence: float = 0.95) -> Grid:
    """Thresholds at prior coverage 2 %, 3 %, ..., everything, and three entries into their sequence.

    prior_scores [p], prior_ok [p]: out-of-fold scores and agreement of the fit part. n: certification calls to come.
    Each entry (w, x, slack) starts where a test of the level w(1 - confidence) on the expected n calls would most
    likely pass, were the error rate x times the prior's: at the loosest point whose chance is within slack of the best.
    Where no point can pass at all, the level enters at the last one.
    """
    scores, ok = np.asarray(prior_scores, float), np.asarray(prior_ok, bool)
    thresholds = _thresholds(scores)
    kept, errors = _count(thresholds, scores, ok)
    empty = Grid(thresholds, np.zeros(len(thresholds)), kept, errors, len(scores), bar, confidence)
    for at, level in _entries(empty, np.array([n])):
        empty.levels[at[0]] += level
    return empty


def _entries(grid: Grid, totals: Ints) -> list[tuple[Ints, float]]:
    """Each entry's point per total [len(totals)], and its level. A stricter entry never lies behind a looser one."""
    expected = np.floor(totals[:, None] * (grid.kept / max(grid.prior, 1))).astype(np.int64)
    rate = (grid.errors + 0.5) / (grid.kept + 1.0)
    last = len(grid.thresholds) - 1
    earliest = np.full(len(totals), last)
    found = []
    for weight, x, slack in reversed(ENTRIES):
        level = weight * (1.0 - grid.confidence)
        most = _most_errors(expected, 1.0 - grid.bar, level)
        chance = _cdf(most, expected, np.minimum(1.0, x * rate))
        best = chance.max(axis=1, keepdims=True)
        loosest = last - np.argmax((chance >= best - slack)[:, ::-1], axis=1)
        earliest = np.minimum(earliest, np.where(best[:, 0] > 0.0, loosest, last))
        found.append((earliest, level))
    return found


def certify(grid: Grid, scores: ArrayLike, ok: ArrayLike) -> Certificate:
    """Mark thresholds in order, each by an exact binomial test, the level carried from mark to mark.

    scores [n], ok [n]: the certification calls, independent draws that neither the fit nor the grid has seen.
    p_j = P(Bin(N_j, 1 - bar) <= E_j) is super-uniform where the true disagreement is at least 1 - bar (given N_j,
    E_j is binomial). The fallback procedure (Wiens 2003; as a graph Bretz, Maurer, Brannath and Posch 2009) keeps
    P(any such threshold marked) <= 1 - confidence under any dependence, whether or not agreement rises with the score.
    The frame is Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, arXiv 2110.01052).
    """
    scores, ok = np.asarray(scores, float), np.asarray(ok, bool)
    kept, errors = _count(grid.thresholds, scores, ok)
    p = np.where(kept == 0, 1.0, _cdf(errors, kept, 1.0 - grid.bar))
    marked = np.zeros(len(p), bool)
    held, at, spent = 0.0, None, None
    for j, (p_j, level) in enumerate(zip(p.tolist(), grid.levels.tolist(), strict=True)):
        held += level
        if held > 0.0 and p_j <= held:
            marked[j], at, spent = True, j, held
        else:
            held = 0.0
    return Certificate(grid.thresholds, kept, errors, marked, len(scores), grid.bar, grid.confidence, at, spent)


def extra_calls(
    grid: Grid, certificate: Certificate, *, useful: float = USEFUL, power: float = POWER, most: int = MOST
) -> int | None:
    """How many further certification calls would certify a share of at least `useful` with this power, at the
    agreement and shares observed; None where `most` times as many would not do.

    It is the chance to pass where the level would enter the sequence, the better of the entries, at the disagreement
    of prior and certification calls together (the latter alone, chosen for having failed by chance or passing by
    luck, gave a power of 0.2 to 0.4). It has to hold from that n on, since it rises in a saw-tooth.
    """
    n = certificate.n
    if n == 0:
        return None
    totals = np.unique(np.geomspace(n + 1, (1 + most) * n, 120).astype(np.int64))
    kept, errors = grid.kept + certificate.kept, grid.errors + certificate.errors
    share, rate = kept / (grid.prior + n), (errors + 0.5) / (kept + 1.0)
    chance = np.zeros(len(totals))
    for at, level in _entries(grid, totals):
        expected = np.floor(totals * share[at]).astype(np.int64)
        passes = _cdf(_most_errors(expected, 1.0 - grid.bar, level), expected, rate[at])
        chance = np.maximum(chance, np.where(share[at] >= useful, passes, 0.0))
    lasting = np.flatnonzero(np.minimum.accumulate(chance[::-1])[::-1] >= power)
    return int(totals[lasting[0]]) - n if len(lasting) else None


def _thresholds(scores: Floats) -> Floats:
    """Strictly falling scores at coverage 2 %, 3 %, ...; the last is 0.0, everything."""
    if len(scores) == 0:
        return np.zeros(1)
    falling = np.sort(scores)[::-1]
    coverage = np.arange(FIRST, 1.0 - STEP / 2, STEP)
    chosen = falling[np.maximum(np.ceil(coverage * len(scores)).astype(np.int64) - 1, 0)]
    apart = np.unique(chosen[chosen > falling[-1]])[::-1]
    return np.append(apart, 0.0)


def _count(thresholds: Floats, scores: Floats, ok: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Per threshold: calls at or above it, and how many of them are errors."""
    order = np.argsort(scores)
    below = np.searchsorted(scores[order], thresholds, side="left")
    wrong = np.concatenate(([0], np.cumsum(~ok[order])))
    return (len(scores) - below).astype(np.int64), (wrong[-1] - wrong[below]).astype(np.int64)


def _cdf(k: Any, n: Any, p: Any) -> Any:
    """P(Bin(n, p) <= k), elementwise; 0 for k < 0 and 1 for k >= n."""
    from scipy.special import bdtr

    k, n, p = np.broadcast_arrays(np.asarray(k, float), np.asarray(n), np.asarray(p, float))
    inside = bdtr(np.clip(k, 0, n), n, p)
    return np.where(k < 0, 0.0, np.where(k >= n, 1.0, inside))


def _most_errors(n: Ints, p: float, level: float) -> Ints:
    """max k with P(Bin(n, p) <= k) <= level, elementwise; -1 where even k = 0 is above the level."""
    from scipy.special import bdtrik

    n = np.asarray(n, np.int64)
    guess = np.nan_to_num(bdtrik(level, np.maximum(n, 1).astype(float), p), nan=0.0)
    k: Ints = np.minimum(np.floor(guess).astype(np.int64) + 1, n)
    while (over := (k >= 0) & (_cdf(k, n, p) > level)).any():  # the inverse is approximate: step down to what holds
        k = k - over
    return k


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.4g} %"
