"""The gate's table: one line a format, and what is said of one that is refused.

Line(format="Q8_0", bytes=144e6, passed=True, why="", kl=Measure(0.0043 nat), p99=0.02, max=0.4, top1=Measure(93.9 %),
     equal=Measure(99 %), agreement=Measure(69 %), gained=Measure(0.0), margin=0.02, types={"Q8_0": 211, "F32": 61})
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freehold.measure import share
from freehold.nouns import Measure
from freehold.shrink.budgets import PAIRED_LEVEL, budget_of
from freehold.shrink.damage import worse
from freehold.shrink.parity import SHOWN, Seen

__all__ = ["Answers", "Line", "judged"]


@dataclass(frozen=True, slots=True)
class Answers:
    """Of every row: the reference's answer and the format's, and how the task's rule judges them. `same`: ours against
    the reference's; `ours` and `theirs`: each against the log."""

    reference: Sequence[str]
    format: Sequence[str]
    same: Sequence[bool]
    ours: Sequence[bool]
    theirs: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Line:
    """`why`: what is over its budget; "" where it passed. `margin`: the largest at which an answer turned."""

    format: str
    bytes: int
    passed: bool
    why: str
    kl: Measure
    p99: float
    max: float
    top1: Measure
    equal: Measure
    agreement: Measure
    reference: Measure
    gained: Measure
    margin: float
    types: dict[str, int]
    example: str = ""


def judged(form: str, size: int, seen: Seen, answers: Answers, types: dict[str, int], texts: Sequence[str]) -> Line:
    """The format's line, with every budget that it breaks."""
    n = seen.rows
    gained, p = worse(answers.ours, answers.theirs)
    margin = max((change.margin for change in seen.changed), default=0.0)
    why = _over(form, seen, margin, p, gained)
    first = min((change.row for change in seen.changed), default=None)
    return Line(
        format=form, bytes=size, passed=not why, why=why, kl=seen.damage.mean, p99=seen.damage.p99,
        max=seen.damage.max, top1=seen.damage.top1, equal=share(sum(answers.same), n),
        agreement=share(sum(answers.ours), n), reference=share(sum(answers.theirs), n), gained=gained, margin=margin,
        types=types, example="" if first is None or not why else _shown(texts[first], answers, first),
    )  # fmt: skip


def _over(form: str, seen: Seen, margin: float, p: float, gained: Measure) -> str:
    budget, damage = budget_of(form), seen.damage
    mean = damage.mean.value or 0.0
    found = []
    if not mean <= budget.mean:  # also where it is no number
        found.append(f"mean KL {mean:.2g} nat, {budget.mean:g} is allowed")
    if budget.p99 is not None and not damage.p99 <= budget.p99:
        found.append(f"99th percentile of KL {damage.p99:.2g}, {budget.p99:g} is allowed")
    if budget.max is not None and not damage.max <= budget.max:
        found.append(f"largest KL {damage.max:.2g}, {budget.max:g} is allowed")
    if margin > budget.margin:
        found.append(f"an answer turns that was {margin:.2g} ahead, {budget.margin:g} is allowed")
    if p <= PAIRED_LEVEL:
        found.append(f"agreement with the log falls by {-(gained.value or 0.0):.1%} (p = {p:.3f})")
    return "; ".join(found)


def _shown(text: str, answers: Answers, row: int) -> str:
    one = f"{text[:SHOWN]!r}: {answers.reference[row][:SHOWN]!r} became {answers.format[row][:SHOWN]!r}"
    return one[: 2 * SHOWN]
