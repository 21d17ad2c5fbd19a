"""Who answers this call? Pure, so that it is tested in microseconds: decide here, act in app.py.

    route(call, rungs)                   before the student has spoken
        where=student   a rung's template fits, it is open, and every field of the request is one it honours
        where=upstream  why = unmatched | refused | closed
    settle(decision, rung, answer)       after it has
        where=student   why = home: the score reaches the certified threshold
        where=upstream  why = escalated | closed

What is not understood goes up: a field is honoured because it is listed here, never because nobody thought of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from freehold.nouns import Answer, Call, Task

__all__ = ["LONGEST_TEXT", "Decision", "Rung", "Why", "route", "rung", "settle"]

Why = Literal["home", "escalated", "closed", "unmatched", "refused"]
LONGEST_TEXT = (
    64 * 1024
)  # characters; a longer text is not what the certificate was made on, and it would hold others up


@dataclass(frozen=True, slots=True)
class Rung:
    """A task as served: which student (its sha256; "" for a task that stays), from which score, open or why not.

    `longest` is the most completion tokens that any of its answers takes. `weight` says how much of the template is
    fixed; of the templates that fit a call the heaviest is its task, as in the audit.
    """

    task: Task
    student: str = ""
    threshold: float = 1.0
    open: bool = False
    why: str = ""
    longest: int = 0
    weight: tuple[int, int] = (0, 0)

    @property
    def model(self) -> str:
        """How a home answer names its model."""
        return f"freehold/{self.task.name}@{self.student[:8]}"


def rung(task: Task, student: str = "", threshold: float = 1.0, *, open: bool = False, why: str = "") -> Rung:
    """A rung for `task`, with what is derived from the task worked out once."""
    most = max((len(label.encode()) for label in task.labels), default=0)  # no token is shorter than a byte
    longest = most if task.answer_tokens is None else task.answer_tokens
    slots = task.template.slots
    weight = sum(not slot.variable for slot in slots), sum(len(slot.before) + len(slot.after) for slot in slots)
    return Rung(task, student, threshold, open, why, longest, weight)


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
        text = one.task.template.text(call.messages)
        if text is not None:
            return _at(one, call, text, query)
    return Decision("upstream", "unmatched", reason="no task of the log has this form")


def _at(one: Rung, call: Call, text: str, query: bool) -> Decision:
    name = one.task.name
    if not one.student:
        return Decision("upstream", "unmatched", name, one.why or "this task stays upstream")
    reason = "a query" if query else _refusal(one, call, text)
    if reason:
        return Decision("upstream", "refused", name, reason)
    if not one.open:
        return Decision("upstream", "closed", name, one.why, text)
    return Decision("student", "home", name, text=text)


def settle(decision: Decision, one: Rung, answer: Answer) -> Decision:
    """Home if the student is sure enough, else up; up too where the rung has closed while the student spoke."""
    if not one.open:
        return replace(decision, where="upstream", why="closed", reason=one.why)
    if answer.score >= one.threshold:
        return decision
    reason = f"score {answer.score:.4f} is below {one.threshold:.4f}"
    return replace(decision, where="upstream", why="escalated", reason=reason)


# the allow-list


def _refusal(one: Rung, call: Call, text: str) -> str:
    """Why the student can't honour this request, or "". Values are not repeated: they may be anybody's."""
    if one.task.models and call.model not in one.task.models:
        return "the model is not one that the log has for this task"
    if len(text) > LONGEST_TEXT:
        return f"the text is longer than {LONGEST_TEXT} characters"
    for field, value in call.params.items():
        honours = HONOURED.get(field)
        if honours is None:
            return f"{field[:40]!r} is not a field that the student honours"
        if value is not None and not honours(value, one, field):
            return f"the value of {field} is not one that the student honours"
    return ""


def _anything(value: Any, one: Rung, field: str) -> bool:
    return True


def _flag(value: Any, one: Rung, field: str) -> bool:
    return isinstance(value, bool)


def _stream_options(value: Any, one: Rung, field: str) -> bool:
    known = isinstance(value, dict) and value.keys() <= {"include_usage", "include_obfuscation"}
    return known and all(isinstance(option, bool) for option in value.values())


def _logged(value: Any, one: Rung, field: str) -> bool:
    """Seen in the log, as the same JSON type: 0 and 0.0 are one number, 1 and true are not."""
    seen = one.task.params.get(field, ())
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in seen)


def _enough(value: Any, one: Rung, field: str) -> bool:
    return type(value) is int and value >= one.longest


def _one(value: Any, one: Rung, field: str) -> bool:
    return type(value) is int and value == 1


HONOURED: dict[str, Callable[[Any, Rung, str], bool]] = {
    "stream": _flag,
    "stream_options": _stream_options,
    "user": _anything,
    "metadata": _anything,
    "store": _anything,
    "temperature": _logged,
    "top_p": _logged,
    "seed": _logged,
    "response_format": _logged,
    "max_tokens": _enough,
    "max_completion_tokens": _enough,
    "n": _one,
}
