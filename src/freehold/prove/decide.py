"""From a certificate to a verdict: pure.

certified, with at least 5 % of the calls above it   → move
enough with at most ten times the log more           → need_more, and how many
else                                                 → stay
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from freehold.measure import MOST, USEFUL, Certificate, Grid, extra_calls, log_calls, share
from freehold.nouns import Decision, Measure, Task, TaskPlan, Verdict
from freehold.project import now

__all__ = ["Decided", "agreement", "bare", "decide", "kept_home", "too_few"]


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision
    needed: int | None
    reason: str


def decide(grid: Grid, certificate: Certificate, calls: int, drawn: int, barred: str = "") -> Decided:
    """`calls`: the task's calls put upstream. `drawn`: the certification calls with those that can't certify, which
    are all that the share is of. `barred`: why the server would send some up. `needed` counts calls of the log, of
    which a part certifies."""
    c = certificate
    if c.n == 0:
        return Decided("stay", None, f"No call is left to certify with{': ' * bool(barred)}{barred}.")
    risk = f"P(agreement < {c.bar:g}) <= {1.0 - c.confidence:.3g}"
    kept_share = 0.0 if c.at is None else int(c.kept[c.at]) / drawn
    if c.at is not None and kept_share >= USEFUL:
        kept, errors = int(c.kept[c.at]), int(c.errors[c.at])
        seen = f"{kept:,} of {c.n:,} certification calls reach the threshold and {errors:,} of them disagree"
        return Decided("move", None, f"Certified: {seen}; {risk}.")
    few = (
        f"Certified for {100 * kept_share:.1f} % of the calls only, and {100 * USEFUL:g} % is the least that is useful"
    )
    why = few if c.at is not None else f"No threshold has {risk} on {c.n:,} certification calls"
    why += f"; {barred}" if barred else ""
    extra = extra_calls(grid, c, useful=USEFUL * drawn / c.n)
    needed = None if extra is None else math.ceil(extra * calls / c.n)
    if needed is None or needed > MOST * calls:
        return Decided("stay", None, f"{why}; at the agreement observed, ten times the log would not do ({_best(c)}).")
    return Decided("need_more", needed, f"{why}; {needed:,} further calls would certify it with power 0.8.")


def too_few(step: TaskPlan, bar: float, confidence: float) -> Decided:
    """Without a student nothing is observed: `needed` is what a proof without any error asks for."""
    if step.go != "too_few":
        return Decided("stay", None, step.reason)
    total = log_calls(bar, confidence)  # the plan knows other bars and confidences
    needed = total - step.calls
    asks = f"A proof at bar {bar:g} asks for at least {total:,} calls, with no kept one wrong, and the log has"
    if needed <= 0:
        why = f"{asks} {step.calls:,}: enough, but the plan, made for other bars, let no student be fitted"
        return Decided("stay", None, f"{why}.")
    if needed > MOST * step.calls:
        return Decided("stay", None, f"{asks} {step.calls:,}: not even ten times the log would do.")
    return Decided("need_more", needed, f"{asks} {step.calls:,}: at least {needed:,} more are needed.")


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
        asked=task,
    )


def _best(c: Certificate) -> str:
    """The highest agreement observed above any threshold that keeps a useful share."""
    useful = c.kept >= max(1.0, USEFUL * c.n)
    with np.errstate(invalid="ignore", divide="ignore"):
        best = int(np.argmax(np.where(useful, 1.0 - c.errors / c.kept, -1.0)))
    kept, errors = int(c.kept[best]), int(c.errors[best])
    return f"at best {kept - errors:,} of {kept:,} kept calls agree, of {c.n:,} in all"


def kept_home(c: Certificate, moves: bool, drawn: int) -> Measure:
    """Share of the calls drawn, one a group, that the server would keep: those it honours, above the certified
    threshold; 0 where the task stays."""
    if not moves or c.at is None:
        return Measure(0.0, 0.0, 0.0, drawn, "share", "nothing is kept home without a certificate")
    found = share(int(c.kept[c.at]), drawn, c.confidence)
    return Measure(found.value, found.low, found.high, found.n, "share", found.method + ", of certification calls")


def agreement(c: Certificate, moves: bool) -> Measure:
    """Agreement of the kept certification calls, the bar as its lower limit; of all of them where the task stays."""
    if not moves or c.at is None:
        read, wrong = (int(c.kept[-1]), int(c.errors[-1])) if c.n else (0, 0)  # at threshold 0: all it can read whole
        found = share(read - wrong, read, c.confidence)
        return Measure(found.value, found.low, found.high, read, "share", found.method + ", of all certification calls")
    kept, errors = int(c.kept[c.at]), int(c.errors[c.at])
    high = share(kept - errors, kept, c.confidence).high
    method = "exact binomial, fallback procedure; low is after selection: what is guaranteed is the bar"
    return Measure(1.0 - errors / kept, c.bar, high, kept, "share", method)
