"""What can move first: tasks by what they cost, times how well such answers move.

    money a month x portability x urgency                  labels for $900, soon switched off, before prose for $5,000

Portability is the share of calls that answers of this kind were seen to keep at home (facts/data/portability.json),
times what is left of it here: no student agrees with a model more often than that agrees with itself, calls that were
refused or cut teach nothing, and a log that is too short for any proof is that much further from one. Urgency orders
the queue and changes no figure: a model that is switched off takes its tasks with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from freehold.facts import load, retirement
from freehold.measure import log_calls
from freehold.nouns import FirstMove, Measure, Task

__all__ = ["BARS", "rank"]

BARS = (0.9, 0.95, 0.98, 0.99)
TOLD = 20  # requests asked again from which on the model's agreement with itself counts
SOON, LATER = (90, 2.0), (365, 1.5)  # days until a switch-off, and how much it weighs in the queue
NOISY = 0.98  # self-agreement below which the reason names it
SPOILT = 0.01  # share of calls without a whole answer from which on the reason names it


def rank(
    tasks: Sequence[Task],
    per_month: Callable[[Measure], Measure],
    bars: Sequence[float] = BARS,
    *,
    spoilt: Mapping[str, float] | None = None,
    today: date | None = None,
) -> tuple[FirstMove, ...]:
    """The tasks, first what can move first. `per_month` scales money of the log to a month, `spoilt` is the share of a
    task's calls, by name, that brought no whole answer. A task whose money is unknown comes after those with money, by
    its calls. Urgency counts from `today` (default: the clock's, UTC)."""
    today = today or datetime.now(UTC).date()
    lost, needed = spoilt or {}, {f"{bar:g}": log_calls(bar) for bar in sorted(bars)}
    queue: list[tuple[tuple[bool, float, str], FirstMove]] = []
    for task in tasks:
        share, limits = _portability(task, lost.get(task.name, 0.0), min(needed.values()))
        left = _days_left(task, today)
        worth = (task.calls if task.money.value is None else task.money.value) * (share.value or 0.0) * _urgency(left)
        reason = _reason(task, limits, left, needed)
        move = FirstMove(task.name, task.kind, per_month(task.money), share, reason, dict(needed))
        queue.append(((task.money.value is None, -worth, task.name), move))
    return tuple(move for _, move in sorted(queue, key=lambda one: one[0]))


def _base(kind: str) -> Mapping[str, Any]:
    return next(row for row in load("portability.json") if row["kind"] == kind)


def _portability(task: Task, spoilt: float, least: int) -> tuple[Measure, list[str]]:
    """The share, and what limits it in words."""
    base = _base(task.kind)
    basis = f"{base['basis']} ({base['source']}, {base['as_of']})"
    if (never := _never(task)) is not None:
        return Measure(0.0, 0.0, 0.0, task.calls, "share", never), [never]
    noise = task.noise if task.noise.n >= TOLD else Measure(1.0, 1.0, 1.0)
    others = (1.0 - spoilt) * min(1.0, task.calls / least)
    low, value, high = (
        base[end] * (1.0 if factor is None else factor) * others
        for end, factor in (("low", noise.low), ("value", noise.value), ("high", noise.high))
    )
    limits = [*_limits(task, noise, spoilt, least)]
    method = "; ".join([basis, *limits, "the range is that of the measurements, not a confidence interval"])
    return Measure(value, low, high, task.calls, "share", method), [base["says"], *limits]


def _never(task: Task) -> str | None:
    """Why a task can't be proved at all, if it can't."""
    if task.rule == "none":
        return "no rule says when two of its answers agree"
    if task.kind == "labels" and len(task.labels) < 2:
        return "every answer is the same, so there is nothing to tell apart"
    return str(_base(task.kind)["says"]) if task.kind == "embeddings" else None


def _limits(task: Task, noise: Measure, spoilt: float, least: int) -> list[str]:
    found = []
    if noise.value is not None and noise.value < NOISY:
        found.append(f"the model agrees with itself in only {noise.value:.1%} of {noise.n:,} requests asked again")
    if spoilt >= SPOILT:
        found.append(f"{spoilt:.1%} of its calls brought no whole answer")
    if task.calls < least:
        found.append(f"{task.calls:,} calls are fewer than the {least:,} of the easiest proof")
    return found


def _days_left(task: Task, today: date) -> tuple[int, str] | None:
    """Days until the first of the task's models is switched off, and which that is."""
    known = [(retirement(model), model) for model in task.models]
    return min((((date.fromisoformat(found[0]) - today).days, model) for found, model in known if found), default=None)


def _urgency(left: tuple[int, str] | None) -> float:
    return next((weight for days, weight in (SOON, LATER) if left is not None and left[0] <= days), 1.0)


def _reason(task: Task, limits: Sequence[str], left: tuple[int, str] | None, needed: Mapping[str, int]) -> str:
    """One sentence."""
    said = list(limits)
    if reached := [bar for bar, n in needed.items() if task.calls >= n]:
        said.append(f"{task.calls:,} calls can prove up to bar {reached[-1]}")
    if left is not None and left[0] <= LATER[0]:
        when = f"in {left[0]:,} days" if left[0] > 0 else "already"
        said.append(f"{left[1]} is switched off {when}")
    if task.money.value is None:
        said.append("what it costs is not known")
    text = "; ".join(said)
    return text[:1].upper() + text[1:] + "."
