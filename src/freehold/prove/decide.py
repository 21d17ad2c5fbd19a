"""From a certificate to a verdict: pure.

certified, with at least 5 % of the calls above it   → move
enough with at most ten times the log more           → need_more, and how many
else                                                 → stay
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from freehold.measure import MOST, USEFUL, Certificate, Grid, calls_needed, extra_calls, share
from freehold.nouns import Decision, Measure, Task, TaskPlan, Verdict
from freehold.project import now

CAL_SHARE = 0.25
"""Share of the calls that certify, as traffic.split parts them."""

__all__ = ["Decided", "agreement", "bare", "decide", "kept_home", "too_few"]


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision
    needed: int | None
    reason: str


def decide(grid: Grid, certificate: Certificate, calls: int) -> Decided:
    """`calls`: the task's evidence in all. `needed` counts calls of the log, of which a part certifies."""
    c = certificate
    if c.n == 0:
        return Decided("stay", None, "No call is left to certify with.")
    risk = f"P(agreement < {c.bar:g}) <= {1.0 - c.confidence:.3g}"
    if c.at is not None and c.share >= USEFUL:
        kept, errors = int(c.kept[c.at]), int(c.errors[c.at])
        seen = f"{kept:,} of {c.n:,} certification calls reach the threshold and {errors:,} of them disagree"
        return Decided("move", None, f"Certified: {seen}; {risk}.")
    few = f"Certified for {100 * c.share:.1f} % of the calls only, and {100 * USEFUL:g} % is the least that is useful"
    why = few if c.at is not None else f"No threshold has {risk} on {c.n:,} certification calls"
    extra = extra_calls(grid, c)
    needed = None if extra is None else math.ceil(extra * calls / c.n)
    if needed is None or needed > MOST * calls:
        return Decided("stay", None, f"{why}; at the agreement observed, ten times the log would not do ({_best(c)}).")
    return Decided("need_more", needed, f"{why}; {needed:,} further calls would certify it with power 0.8.")


def too_few(step: TaskPlan, bar: float, confidence: float) -> Decided:
    """Without a student nothing is observed: `needed` is what a proof without any error asks for."""
    if step.go != "too_few":
        return Decided("stay", None, step.reason)
    total = step.needed.get(f"{bar:g}") if confidence == 0.95 else None
    needed = (total or math.ceil(calls_needed(bar, 0, confidence) / CAL_SHARE)) - step.calls
    if needed <= 0 or needed > MOST * step.calls:
        return Decided("stay", None, step.reason)
    return Decided("need_more", needed, f"{step.reason} At least {needed:,} further calls, if no kept one is wrong.")


def bare(task: Task, decided: Decided, bar: float, confidence: float) -> Verdict:
    """A verdict that names no student yet."""
    return Verdict(
        task=task.name,
        kind=task.kind,
        calls=task.calls,
        share=task.share,
        bar=bar,
        confidence=confidence,
        decision=decided.decision,
        reason=decided.reason,
        needed=decided.needed,
        kept_home=Measure(0.0, 0.0, 0.0, 0, "share", "no student"),
        agreement=Measure(None, method="no student"),
        threshold=None,
        student=None,
        evidence=None,
        made=now(),
    )


def _best(c: Certificate) -> str:
    """The highest agreement observed above any threshold that keeps a useful share."""
    useful = c.kept >= max(1.0, USEFUL * c.n)
    with np.errstate(invalid="ignore", divide="ignore"):
        best = int(np.argmax(np.where(useful, 1.0 - c.errors / c.kept, -1.0)))
    kept, errors = int(c.kept[best]), int(c.errors[best])
    return f"at best {100 * (1 - errors / kept):.1f} % agreement, on {100 * kept / c.n:.0f} % of the calls"


def kept_home(c: Certificate, moves: bool) -> Measure:
    """Share of the certification calls above the certified threshold; 0 where the task stays."""
    if not moves or c.at is None:
        return Measure(0.0, 0.0, 0.0, c.n, "share", "nothing is kept home without a certificate")
    found = share(int(c.kept[c.at]), c.n, c.confidence)
    return Measure(found.value, found.low, found.high, found.n, "share", found.method + ", of certification calls")


def agreement(c: Certificate, moves: bool) -> Measure:
    """Agreement of the kept certification calls, the bar as its lower limit; of all of them where the task stays."""
    if not moves or c.at is None:
        wrong = int(c.errors[-1]) if c.n else 0
        found = share(c.n - wrong, c.n, c.confidence)
        return Measure(found.value, found.low, found.high, c.n, "share", found.method + ", of all certification calls")
    kept, errors = int(c.kept[c.at]), int(c.errors[c.at])
    high = share(kept - errors, kept, c.confidence).high
    method = "exact binomial, fallback procedure; low is after selection: what is guaranteed is the bar"
    return Measure(1.0 - errors / kept, c.bar, high, kept, "share", method)
