"""Traffic: one log as read, its calls parted into tasks once and remembered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from freehold import wire
from freehold.nouns import BadRow, Call, LogFile, Task
from freehold.traffic.templates import part

__all__ = ["Traffic", "calls_of", "evidence", "find_tasks", "put_upstream"]


@dataclass(frozen=True, eq=False)
class Traffic:
    """What `read` found. `bad` holds the first 100 bad rows, `bad_rows` counts all. With `until`, `later` counts the
    readable calls left out because they came at or after it, and `untimed` those left out because they say no time."""

    log: LogFile
    calls: tuple[Call, ...]
    bad: tuple[BadRow, ...] = ()
    bad_rows: int = 0
    later: int = 0
    untimed: int = 0

    def __repr__(self) -> str:
        return f"Traffic({len(self.calls)} calls, {self.bad_rows} bad rows)"

    @cached_property
    def parts(self) -> tuple[tuple[Task, tuple[Call, ...]], ...]:
        """Each task with its calls in the log's order; the largest task first. A call is in one task at most."""
        return part(self.calls)


def find_tasks(traffic: Traffic) -> tuple[Task, ...]:
    """The tasks in a log, found by template without tags; the largest first."""
    return tuple(task for task, _ in traffic.parts)


def calls_of(task: Task, traffic: Traffic) -> list[Call]:
    """The calls of one task, in the log's order.

    A task of an older state of the log, whose template is not found again, gets every call that its template fits.
    """
    for found, calls in traffic.parts:
        if found.template == task.template and found.endpoint == task.endpoint:
            return list(calls)
    mine = (call for call in traffic.calls if call.endpoint == task.endpoint)
    return [call for call in mine if task.template.variables(call.messages) is not None]


def put_upstream(task: Task, traffic: Traffic) -> list[Call]:
    """The calls of a task that the closed model was asked, whatever came of them: an answer, a refusal, a failure.

    Of a tools task `answer` is the tool calls as text (wire.answer).
    """
    calls = [call for call in calls_of(task, traffic) if call.answered_by == "upstream"]
    if task.kind != "tools":
        return calls
    return [replace(call, answer=wire.answer(call, "tools")) for call in calls]


def evidence(task: Task, traffic: Traffic) -> list[Call]:
    """The calls of a task that a student may be fitted on: the closed model answered them in full, and as text.

    Not what a fail-over host or a successor answered in its place (wire: `other`, `against`)."""
    return [call for call in put_upstream(task, traffic) if call.answer is not None]
