"""The certificate alone: how often it breaks its promise, and how much of the oracle's share it certifies.

    python benchmarks/guarantee.py [--full] [--pool FILE.npz]

    world ─3n pairs→ grid ─┐
          ─n calls──── one look ─certify→ threshold ─truth→ broken? share of the oracle

    pool       out-of-fold scores of our student on the bundled log, drawn with replacement; the truth is the pool
    monotone   a model whose truth is a formula: the score is uniform, disagreement rises as it falls
    top        the same with 3 % disagreement among the 4 % most certain calls

Each calibration draws its prior pairs anew and apart from its calls: neither the pool's truth nor a call is seen by
the grid. The oracle is the largest share whose true agreement reaches the bar. Rivals on the same draws: Bonferroni
over 20 and 99 points with the exact binomial test (the better of the two), and SGR (Geifman and El-Yaniv 2017).
Short form: 60 calibrations a cell; --full: 300. Limits are one-sided, 95 %.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import _run

ENV = _run.one_thread()  # before numpy comes in

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.special import bdtr  # noqa: E402

from freehold import measure  # noqa: E402

BARS = (0.95, 0.98, 0.99)
SIZES = (500, 1_000, 2_500, 5_000)
CONFIDENCE = 0.95
GOAL_SHARE = {"pool": (0.95, 0.95, 0.90), "monotone": (0.95, 0.95, 0.90), "top": (0.92, 0.92, 0.84)}
MIDDLE, WIDTH = 1.02, 0.085  # disagreement at coverage c: 1 / (1 + exp((1.02 - c) / 0.085)), 5 % over everything
TOP, TOP_ERRORS = 0.04, 0.03
Pairs = tuple[NDArray[np.float64], NDArray[np.bool_]]


class World(Protocol):
    def draw(self, rng: np.random.Generator, n: int) -> Pairs: ...

    def truth(self, threshold: float) -> tuple[float, float]:
        """Share kept and disagreement there."""
        ...

    def oracle(self, bar: float) -> float: ...


class Pool:
    """Scores and agreement of real answers; a draw is with replacement."""

    def __init__(self, scores: NDArray[np.float64], ok: NDArray[np.bool_]) -> None:
        order = np.argsort(scores, kind="stable")
        self.scores, self.ok = scores[order], ok[order]
        self.wrong_from = np.append(np.cumsum(~self.ok[::-1])[::-1], 0)

    def draw(self, rng: np.random.Generator, n: int) -> Pairs:
        at = rng.integers(0, len(self.scores), n)
        return self.scores[at], self.ok[at]

    def truth(self, threshold: float) -> tuple[float, float]:
        at = int(np.searchsorted(self.scores, threshold))
        kept = len(self.scores) - at
        return kept / len(self.scores), float(self.wrong_from[at]) / max(kept, 1)

    def oracle(self, bar: float) -> float:
        first = np.flatnonzero(np.append(True, self.scores[1:] > self.scores[:-1]))
        kept = len(self.scores) - first
        good = self.wrong_from[first] <= (1.0 - bar) * kept + 1e-9
        return float(kept[good].max(initial=0)) / len(self.scores)


@dataclass(frozen=True)
class Formula:
    """Score uniform in [0, 1]; disagreement a known function of 1 - score."""

    top: bool

    def risk(self, coverage: NDArray[np.float64]) -> NDArray[np.float64]:
        base = 1.0 / (1.0 + np.exp((MIDDLE - coverage) / WIDTH))
        return np.where(coverage < TOP, TOP_ERRORS, base) if self.top else base

    def draw(self, rng: np.random.Generator, n: int) -> Pairs:
        scores = rng.random(n)
        return scores, rng.random(n) >= self.risk(1.0 - scores)

    def disagreement(self, share: float) -> float:
        """The mean of `risk` over coverages up to `share`, in closed form."""

        def integral(c: float) -> float:
            return WIDTH * (math.log1p(math.exp((c - MIDDLE) / WIDTH)) - math.log1p(math.exp(-MIDDLE / WIDTH)))

        total = integral(share)
        if self.top:
            total += TOP_ERRORS * min(share, TOP) - integral(min(share, TOP))
        return total / share if share else 0.0

    def truth(self, threshold: float) -> tuple[float, float]:
        return 1.0 - threshold, self.disagreement(1.0 - threshold)

    def oracle(self, bar: float) -> float:
        return max(
            (c for c in np.linspace(0.0001, 1.0, 10_000).tolist() if self.disagreement(c) <= 1.0 - bar), default=0
        )


# the certificates: prior pairs and calls in, a threshold or None out

Certify = Callable[[Pairs, Pairs, float], float | None]


def ours(prior: Pairs, calls: Pairs, bar: float) -> float | None:
    grid = measure.grid(*prior, n=len(calls[0]), bar=bar, confidence=CONFIDENCE)
    return measure.certify(grid, *calls).threshold


def bonferroni(points: int) -> Certify:
    def certify(prior: Pairs, calls: Pairs, bar: float) -> float | None:
        thresholds = np.quantile(prior[0], 1.0 - np.arange(1, points + 1) / points, method="inverted_cdf")
        thresholds[-1] = 0.0
        kept = (calls[0][:, None] >= thresholds).sum(0)
        errors = ((calls[0][:, None] >= thresholds) & ~calls[1][:, None]).sum(0)
        p = np.where(errors >= kept, 1.0, bdtr(np.minimum(errors, np.maximum(kept, 1)), np.maximum(kept, 1), 1.0 - bar))
        passing = np.flatnonzero(p <= (1.0 - CONFIDENCE) / points)
        return float(thresholds[passing[-1]]) if len(passing) else None

    return certify


def sgr(prior: Pairs, calls: Pairs, bar: float) -> float | None:
    """Selection with Guaranteed Risk: bisection over the calls' own scores, the level shared by its log2 n steps."""
    order = np.argsort(calls[0])
    scores, wrong = calls[0][order], ~calls[1][order]
    n, low, high, found = len(scores), 0, len(scores) - 1, None
    steps = math.ceil(math.log2(n))
    for _ in range(steps):
        at = math.ceil((low + high) / 2)
        kept, errors = n - at, int(wrong[at:].sum())
        if errors < kept and bdtr(errors, kept, 1.0 - bar) < (1.0 - CONFIDENCE) / steps:
            high, found = at, float(scores[at])
        else:
            low = at
    return found


METHODS: dict[str, Certify] = {
    "freehold": ours,
    "bonferroni20": bonferroni(20),
    "bonferroni99": bonferroni(99),
    "sgr": sgr,
}


def cell(world: World, bar: float, n: int, draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Each method's share of the oracle and rate of broken promises over the same draws."""
    rng = np.random.default_rng(seed)
    shares: dict[str, list[float]] = {name: [] for name in METHODS}
    broken = dict.fromkeys(METHODS, 0)
    for _ in range(draws):
        prior, calls = world.draw(rng, 3 * n), world.draw(rng, n)
        for name, certify in METHODS.items():
            threshold = certify(prior, calls, bar)
            share, wrong = (0.0, 0.0) if threshold is None else world.truth(threshold)
            shares[name].append(share)
            broken[name] += wrong > 1.0 - bar + 1e-12
    oracle = world.oracle(bar)
    return {name: _row(np.array(shares[name]) / oracle, broken[name], draws) for name in METHODS}


def _row(share: NDArray[np.float64], broken: int, draws: int) -> dict[str, float]:
    low = measure.lower_bound(broken, draws, 0.05)
    high = 1.0 - measure.lower_bound(draws - broken, draws, 0.05)
    row = {"share_of_oracle": float(share.mean()), "se": float(share.std(ddof=1)) / math.sqrt(draws)}
    row |= {"nothing": float((share == 0).mean()), "violations": broken / draws, "low": low, "high": high}
    return {name: round(value, 4) for name, value in row.items()}


def pool_of_our_student() -> Pairs:
    """Out-of-fold pairs over the whole bundled log; made once, and again when the code or the log changes."""
    from freehold.engines.encoder import Encoder
    from freehold.traffic import evidence, find_tasks, near_duplicates, read
    from freehold.tune.label import ENCODERS, fit

    source = _run.ROOT / "src" / "freehold"
    code = sorted(file for room in ("tune", "engines", "traffic") for file in (source / room).rglob("*.py"))
    mark = _run.fingerprint(_run.LOG, *code)
    kept = _run.CACHE / f"guarantee-pool-{mark[:16]}.npz"
    if not kept.is_file():
        _run.say("fitting our student on the bundled log, for its out-of-fold scores")
        traffic = read([_run.LOG])
        task = find_tasks(traffic)[0]
        calls = evidence(task, traffic)
        texts, labels = [task.template.text(c.messages) or "" for c in calls], [c.answer or "" for c in calls]
        encoders = [Encoder.bundled(name) for name in ENCODERS]
        fitted = fit(texts, labels, groups=near_duplicates(texts), encoders=encoders)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, score=fitted.prior_scores, ok=fitted.prior_ok)
    return load(kept)


def load(path: Path) -> Pairs:
    found = np.load(path, allow_pickle=False)
    return found["score"].astype(float), found["ok"].astype(bool)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="300 calibrations a cell instead of 60")
    parser.add_argument("--pool", type=Path, metavar="FILE", help="other out-of-fold pairs: an .npz with score and ok")
    args = parser.parse_args()
    draws = 300 if args.full else 60
    pool = Pool(*(load(args.pool) if args.pool else pool_of_our_student()))
    worlds: dict[str, World] = {"pool": pool, "monotone": Formula(False), "top": Formula(True)}
    cells = []
    for name, world in worlds.items():
        for bar in BARS:
            for n in SIZES:
                found = cell(world, bar, n, draws, seed=len(cells))
                cells.append({"world": name, "bar": bar, "n": n, "oracle": round(world.oracle(bar), 4), **found})
                words = ", ".join(
                    f"{m} {100 * r['share_of_oracle']:.1f} ({100 * r['violations']:.1f})" for m, r in found.items()
                )
                _run.say(f"{name} {bar} n={n}: {words}")
    about = {"calls": len(pool.scores), "accuracy": round(float(pool.ok.mean()), 4)}
    about["source"] = str(args.pool.name) if args.pool else "our student, out of fold, bundled log"
    return _run.emit(
        "guarantee",
        full=args.full,
        n=draws,
        goals=goals(cells),
        cells=cells,
        pool=about,
        notes=["share_of_oracle and violations (violations as a rate of calibrations) per cell; limits one-sided 95 %"],
    )


def goals(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    worst = max(cells, key=lambda c: c["freehold"]["low"])
    low = worst["freehold"]["low"]
    where = f"{low} ({worst['world']}, bar {worst['bar']}, n = {worst['n']})"
    found = [_run.goal("lower 95 % limit of violations, worst cell", "<= 0.05", where, low <= 0.05)]
    for c in (c for c in cells if c["n"] == 2_500):
        wanted, ours = GOAL_SHARE[c["world"]][BARS.index(c["bar"])], c["freehold"]["share_of_oracle"]
        best = max(c["bonferroni20"]["share_of_oracle"], c["bonferroni99"]["share_of_oracle"])
        value = {"freehold": ours, "se": c["freehold"]["se"], "bonferroni": best, "sgr": c["sgr"]["share_of_oracle"]}
        found.append(_run.goal(f"{c['world']}, bar {c['bar']}, n = 2,500", f">= {wanted}", value, ours >= wanted))
    return found


if __name__ == "__main__":
    sys.exit(main())
