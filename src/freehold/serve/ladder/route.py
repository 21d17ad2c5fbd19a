"""Who answers this call? Pure, so that it is tested in microseconds: decide here, act in chat.py.

    route(call, rungs)                   before a student has spoken
        where=student   a rung's template fits, it is open, and every field of the request is one it honours
        where=upstream  why = unmatched | refused | closed | declared (home = false)
        where=refused   why = never_leaves: it may not go up (leaves = false), and no student may answer it
    settle(decision, rung, answer, call, rungs)   after one has
        where=student   why = home: the score reaches the certified threshold
                        another `student` than before: ask that one, the next rung of the task's ladder
                        why = below_bar: it may not go up, and is answered all the same (unsure = "answer")
        where=upstream  why = escalated | closed | refused (too long for its context, cut, not JSON, a strange tool)
        where=refused   why = never_leaves

A rung whose verdict was proved on what another student leaves (`after`) is asked only about that: calls that the other
was asked and was not sure of. What is not understood goes up: honour.py lists the fields that a student honours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from freehold.honour import longest_answer, refusal, unfit
from freehold.nouns import Answer, Call, Task

__all__ = ["Decision", "Rung", "Where", "Why", "route", "rung", "settle", "without"]

Where = Literal["student", "upstream", "refused"]
Why = Literal[
    "home", "escalated", "closed", "unmatched", "refused", "declared", "never_leaves", "below_bar",
    "shadow", "canary", "capped", "unwritten",
]  # fmt: skip
"""Of the last four a student may answer, and they go up all the same: for a rollout, for a client key's share, and
where the row of a home answer can't be written."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A task as served: which student (its sha256; "" for a task that stays), from which score, open or why not.

    `longest` is the most completion tokens that any of its answers takes. `weight` says how much of the template is
    fixed; of the templates that fit a call the heaviest is its task, as in the audit. `context` is how many tokens the
    student reads (0: it reads any text). `after` is the student whose deferred calls it was proved on ("": all calls),
    `outside` says that what it is asked leaves the house. `home`, `leaves` and `unsure` are the task's settings.
    """

    task: Task
    student: str = ""
    threshold: float = 1.0
    open: bool = False
    why: str = ""
    longest: int = 0
    weight: tuple[int, int] = (0, 0)
    context: int = 0
    after: str = ""
    outside: bool = False
    home: bool = True
    leaves: bool = True
    unsure: str = "refuse"

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
    """`text` is what the student reads: set also where it is only asked for the record (a closed rung). `student` is
    the sha256 of the one that is asked, or has answered."""

    where: Where
    why: Why
    task: str = ""
    reason: str = ""
    text: str | None = None
    student: str = ""


UNMATCHED = Decision("upstream", "unmatched", reason="no task of the log has this form")


def route(call: Call, rungs: Sequence[Rung], *, query: bool = False) -> Decision:
    """Where `call` goes before any student is asked. `rungs` are the heaviest first, and of one task in the order of
    its ladder; `query`: its URL had one."""
    found: Decision | None = None
    for one in rungs:
        if found is not None and one.task.name != found.task:
            continue
        text = one.task.text(call) if one.task.endpoint == call.endpoint else None
        if text is None:
            continue
        first = _behind(one) if one.after else _at(one, call, text, query)
        if first.where == "student":
            return first
        found = found or first
    return found or UNMATCHED


def settle(decision: Decision, one: Rung, answer: Answer, call: Call, rungs: Sequence[Rung] = ()) -> Decision:
    """Home if the student is sure enough; else the next rung of the ladder, or up; up too where the rung has closed
    while the student spoke, and where no client could use the answer."""
    if not one.open:
        return _last(one, replace(decision, where="upstream", why="closed", reason=one.why), answer, call)
    why: Why = "refused"
    if not answer.able:
        size = f": {one.context:,} tokens" if one.context else ""
        reason = "the student's answer was not finished" if answer.text else f"longer than the student's context{size}"
    elif answer.score < one.threshold:
        why, reason = "escalated", f"score {answer.score:.4f} is below {one.threshold:.4f}"
    else:
        reason = unfit(one.task, call, answer.text)
    if not reason:
        return replace(decision, why="home", reason="")
    further = _next(one, call, rungs)
    return further or _last(one, replace(decision, where="upstream", why=why, reason=reason), answer, call)


def without(decision: Decision, one: Rung, reason: str) -> Decision:
    """The student had nothing to say (busy, late, failed). A call that was on its way up keeps its own reason."""
    if decision.where != "student":
        return decision
    return _kept(one, replace(decision, where="upstream", why="refused", reason=reason))


def _at(one: Rung, call: Call, text: str, query: bool = False) -> Decision:
    name = one.task.name
    if not one.home:
        return _kept(one, Decision("upstream", "declared", name, "this task is declared never answered at home"))
    if not one.student:
        return _kept(one, Decision("upstream", "unmatched", name, one.why or "this task stays upstream"))
    if one.outside and not one.leaves:
        return _kept(one, Decision("upstream", "refused", name, "its student runs at a host outside the house"))
    reason = "a query" if query else refusal(one.task, call, text, one.longest)
    if reason:
        return _kept(one, Decision("upstream", "refused", name, reason))
    if one.open:
        return Decision("student", "home", name, text=text, student=one.student)
    if not one.leaves and one.unsure == "answer":
        return Decision("student", "below_bar", name, one.why, text, one.student)
    return _kept(one, Decision("upstream", "closed", name, one.why, text, one.student))


def _behind(one: Rung) -> Decision:
    reason = f"it answers only what the student {one.after[:8]} leaves"
    return _kept(one, Decision("upstream", "closed", one.task.name, reason))


def _next(one: Rung, call: Call, rungs: Sequence[Rung]) -> Decision | None:
    """The rung proved on what `one` leaves, where it may answer this call."""
    for other in rungs:
        if other.after and other.after == one.student and other.task.name == one.task.name and other.open:
            text = other.task.text(call)
            found = None if text is None else _at(other, call, text)
            if found is not None and found.where == "student":
                return found
    return None


def _last(one: Rung, up: Decision, answer: Answer, call: Call) -> Decision:
    """Up; where it may not go there, the answer below the bar if that is declared and a client can use it."""
    if not one.leaves and one.unsure == "answer" and answer.able and not unfit(one.task, call, answer.text):
        return replace(up, where="student", why="below_bar")
    return _kept(one, up)


def _kept(one: Rung, up: Decision) -> Decision:
    """Up, unless the task never leaves the house: then it is refused, and nobody is asked."""
    if one.leaves:
        return up
    return replace(up, where="refused", why="never_leaves", text=None, student="")
