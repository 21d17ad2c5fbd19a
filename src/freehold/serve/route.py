"""Who answers this call? Pure, so that it is tested in microseconds: decide here, act in app.py.

    route(call, rungs)                   before the student has spoken
        where=student   a rung's template fits, it is open, and every field of the request is one it honours
        where=upstream  why = unmatched | refused | closed
    settle(decision, rung, answer)       after it has
        where=student   why = home: the score reaches the certified threshold
        where=upstream  why = escalated | closed | refused (too long for its context, cut, not JSON, a strange tool)

What is not understood goes up: honour.py lists the fields that a student honours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from freehold.honour import longest_answer, refusal, unfit
from freehold.nouns import Answer, Call, Task

__all__ = ["Decision", "Rung", "Why", "route", "rung", "settle"]

Why = Literal["home", "escalated", "closed", "unmatched", "refused"]


@dataclass(frozen=True, slots=True)
class Rung:
    """A task as served: which student (its sha256; "" for a task that stays), from which score, open or why not.

    `longest` is the most completion tokens that any of its answers takes. `weight` says how much of the template is
    fixed; of the templates that fit a call the heaviest is its task, as in the audit. `context` is how many tokens the
    student reads (0: it reads any text).
    """

    task: Task
    student: str = ""
    threshold: float = 1.0
    open: bool = False
    why: str = ""
    longest: int = 0
    weight: tuple[int, int] = (0, 0)
    context: int = 0

    @property
    def model(self) -> str:
        """How a home answer names its model."""
        return f"freehold/{self.task.name}@{self.student[:8]}"


def rung(task: Task, student: str = "", threshold: float = 1.0, *, open: bool = False, why: str = "") -> Rung:
    """A rung for `task`, with what is derived from the task worked out once."""
    slots = task.template.slots
    weight = sum(not slot.variable for slot in slots), sum(len(slot.before) + len(slot.after) for slot in slots)
    return Rung(task, student, threshold, open, why, longest_answer(task), weight)


@dataclass(frozen=True, slots=True)
class Decision:
    """`text` is what the student reads: set also where it is only asked for the record (a closed rung)."""

    where: Literal["student", "upstream"]
    why: Why
    task: str = ""
    reason: str = ""
    text: str | None = None


def route(call: Call, rungs: Sequence[Rung], *, query: bool = False) -> Decision:
    """Where `call` goes before any student is asked. `rungs` are the heaviest first; `query`: its URL had one."""
    for one in rungs:
        text = one.task.text(call) if one.task.endpoint == call.endpoint else None
        if text is not None:
            return _at(one, call, text, query)
    return Decision("upstream", "unmatched", reason="no task of the log has this form")


def _at(one: Rung, call: Call, text: str, query: bool) -> Decision:
    name = one.task.name
    if not one.student:
        return Decision("upstream", "unmatched", name, one.why or "this task stays upstream")
    reason = "a query" if query else refusal(one.task, call, text, one.longest)
    if reason:
        return Decision("upstream", "refused", name, reason)
    if not one.open:
        return Decision("upstream", "closed", name, one.why, text)
    return Decision("student", "home", name, text=text)


def settle(decision: Decision, one: Rung, answer: Answer, call: Call) -> Decision:
    """Home if the student is sure enough, else up; up too where the rung has closed while the student spoke, and where
    no client could use the answer."""
    if not one.open:
        return replace(decision, where="upstream", why="closed", reason=one.why)
    if not answer.able:
        size = f": {one.context:,} tokens" if one.context else ""
        reason = "the student's answer was not finished" if answer.text else f"longer than the student's context{size}"
        return replace(decision, where="upstream", why="refused", reason=reason)
    if answer.score < one.threshold:
        reason = f"score {answer.score:.4f} is below {one.threshold:.4f}"
        return replace(decision, where="upstream", why="escalated", reason=reason)
    reason = unfit(one.task, call, answer.text)
    return replace(decision, where="upstream", why="refused", reason=reason) if reason else decision
