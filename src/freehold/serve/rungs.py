"""The rungs of the ladder: opened from verdicts at start, closed by the monitor, and never opened by accident.

    verdict says move → artefact whole? → student opens? → 64 stored calls score as they did? → not closed before?
                                                                                             → open, and watched
Why a rung is closed, and for how long:
    start     the artefact is damaged, or scores otherwise on this machine: looked at again at each start
    monitor   the promise failed, or nobody watched it: until a verdict whose evidence has calls after the closing

rungs.jsonl keeps every change: {"at", "task", "event": "opened|closed", "why", "student", "verdict", "by"}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freehold import wire
from freehold.engines.label import TOLERANCE, check, read_checks
from freehold.errors import FreeholdError, StudentUnusable
from freehold.nouns import Artifact, Audit, Student, Task, Verdict
from freehold.project import Project, now
from freehold.serve.ledger import past
from freehold.serve.monitor import Monitor
from freehold.serve.route import Rung, rung
from freehold.tell import Tell, quiet

__all__ = ["Opener", "Step", "close", "open_rungs"]

Opener = Callable[[Path, Artifact], Student]


@dataclass(slots=True)
class Step:
    """A rung and what runs behind it. `bill` is what a call of the task cost on average, in USD (None: not known);
    `damage` is the error that kept it from opening at start."""

    rung: Rung
    student: Student | None = None
    verdict: Verdict | None = None
    monitor: Monitor | None = None
    bill: float | None = None
    damage: FreeholdError | None = None


def open_rungs(
    project: Project, audit: Audit, *, opener: Opener, pool: Executor, pairs: float, tell: Tell = quiet
) -> list[Step]:
    """A step for each task of `audit`, the heaviest template first. `pairs` of 0 means that nothing is watched."""
    verdicts = {verdict.task: verdict for verdict in project.verdicts()}
    events = project.rows("rungs.jsonl")
    steps: list[Step] = []
    for task in audit.tasks:
        verdict = verdicts.get(task.name)
        if verdict is None or verdict.decision != "move":
            why = f"this task stays upstream ({verdict.decision if verdict else 'no verdict'})"
            steps.append(Step(rung(task, why=why), bill=_bill(task)))
        else:
            tell(f"check the student of {task.name}")
            steps.append(_step(project, task, verdict, events, opener, pool, pairs))
    _remember(project, steps)
    for step in steps:
        if step.rung.student:
            _record_start(project, step, events)
    return sorted(steps, key=lambda step: step.rung.weight, reverse=True)


def close(project: Project, step: Step, why: str, by: str = "monitor") -> None:
    """Close the rung now, and write it down. Raises StorageFailed, with the rung closed all the same."""
    step.rung = replace(step.rung, open=False, why=why)
    project.append("rungs.jsonl", _event(step, "closed", by))


def _step(
    project: Project,
    task: Task,
    verdict: Verdict,
    events: Sequence[dict[str, Any]],
    opener: Opener,
    pool: Executor,
    pairs: float,
) -> Step:
    assert verdict.student is not None, verdict.task
    assert verdict.threshold is not None, verdict.task
    step = Step(rung(task, verdict.student.sha256, verdict.threshold), verdict=verdict, bill=_bill(task))
    try:
        step.student = _student(project, verdict.student.sha256, opener, pool)
    except FreeholdError as error:
        step.damage = error
        step.rung = replace(step.rung, why=error.message)
        return step
    step.monitor = Monitor(verdict.bar, pairs) if pairs else None
    why = _closed_before(events, verdict)
    step.rung = replace(step.rung, open=not why, why=why)
    return step


def _bill(task: Task) -> float | None:
    return None if task.money.value is None or not task.calls else task.money.value / task.calls


def _student(project: Project, sha256: str, opener: Opener, pool: Executor) -> Student:
    """The student in the artefact, after it has given the stored answers again. Raises FreeholdError."""
    artifact = project.read_artifact(sha256)
    folder = project.artifact_path(sha256)
    student = opener(folder, artifact)
    checked = pool.submit(check, student, read_checks(folder))
    error = checked.exception()  # whatever a student raises leaves it closed, and the server up
    if error is not None:
        raise StudentUnusable(f"The student {sha256[:8]} failed on its stored calls: {type(error).__name__}.")
    worst = checked.result()
    if not worst <= TOLERANCE:
        said = "another label" if worst >= 1.0 else f"a score that is off by {worst:.4f}"
        message = f"The student {sha256[:8]} gives {said} on its stored calls here."
        raise StudentUnusable(message, "Tune and prove it again on this machine.")
    return student


def _closed_before(events: Sequence[dict[str, Any]], verdict: Verdict) -> str:
    """Why the monitor closed this task, where the verdict rests on no call after that; "" where it is free to open."""
    closings = [e for e in events if e["task"] == verdict.task and e["event"] == "closed" and e.get("by") == "monitor"]
    if not closings:
        return ""
    at = max(wire.timestamp(event["at"]) or 0.0 for event in closings)
    newest = verdict.evidence.newest if verdict.evidence else None
    return "" if newest is not None and newest > at else str(closings[-1]["why"])


def _remember(project: Project, steps: Sequence[Step]) -> None:
    """Bring each monitor to where it stood, from the ledger's rows since the rung's verdict."""
    watched = {(s.rung.task.name, s.rung.student): s for s in steps if s.monitor and s.verdict}
    made = {key: wire.timestamp(s.verdict.made or 0) or 0.0 for key, s in watched.items() if s.verdict}
    if not watched:
        return
    for row in past(project, min(made.values())):
        own = row.freehold
        key = own.task, own.student.sha256 if own.student else ""
        step = watched.get(key)
        if step is None or step.monitor is None or row.at < made[key]:
            continue
        if own.why == "home" and own.pairs:
            step.monitor.kept()
        elif own.why == "pair" and own.agrees is not None:
            step.monitor.pair(own.agrees)


def _record_start(project: Project, step: Step, events: Sequence[dict[str, Any]]) -> None:
    """Write down what a start changed: a rung that opens, one that can't, and an alarm the last run died with."""
    if step.rung.open and step.monitor and step.monitor.alarm:
        close(project, step, step.monitor.alarm)
        return
    event = _event(step, "opened" if step.rung.open else "closed", "start")
    same = ("event", "why", "student", "verdict")
    last: dict[str, Any] = next((e for e in reversed(events) if e["task"] == step.rung.task.name), {})
    if any(last.get(key) != event[key] for key in same):
        project.append("rungs.jsonl", event)


def _event(step: Step, event: str, by: str) -> dict[str, Any]:
    head = {"at": now(), "task": step.rung.task.name, "event": event, "why": step.rung.why}
    return head | {"student": step.rung.student, "verdict": step.verdict.made if step.verdict else "", "by": by}
