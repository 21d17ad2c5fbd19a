"""The rungs of the ladder: opened from verdicts at start, closed by the monitor, and never opened by accident.

    verdict says move → artefact whole? → student opens? → its stored calls score as they did? → not closed before?
                                                                                              → open, and watched
Why a rung is closed, and for how long:
    start     the artefact is damaged, or scores otherwise on this machine: looked at again at each start
    engine    its engine died on calls in a row: the same
    monitor   the promise failed, or nobody watched it: until a later verdict whose evidence has calls after the closing

rungs.jsonl keeps every change: {"at", "task", "event": "opened|closed", "why", "student", "verdict", "by"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from freehold import wire
from freehold.agree import Judge, judge
from freehold.engines.label import TOLERANCE, check, read_checks
from freehold.engines.title import title, tokens_read
from freehold.errors import (
    AdapterMismatch,
    ArtifactDamaged,
    BaseUnusable,
    FreeholdError,
    MissingExtra,
    StorageFailed,
    StudentUnusable,
)
from freehold.nouns import Artifact, Audit, Student, Task, Verdict
from freehold.project import Project, now
from freehold.serve.ledger import past
from freehold.serve.monitor import Monitor
from freehold.serve.route import Rung, rung
from freehold.serve.runglog import NAME, Events, RungLog
from freehold.serve.students import OPENING, Seat, Students
from freehold.tell import Tell, quiet

__all__ = ["Opener", "Step", "close", "open_rungs"]

Opener = Callable[[Path, Artifact], Student]
PATIENCE = 2.0  # seconds that each stored call may take at start, at least


class Rows(Protocol):
    """Where events go: a Project, which raises StorageFailed, or a RungLog, which tries again."""

    def append(self, name: str, row: dict[str, Any], /) -> None: ...


@dataclass(slots=True)
class Step:
    """A rung and what runs behind it. `title` says what the student is; `judge` compares its answers with the
    upstream's; `bill` is what a call of the task cost on average, in USD (None: not known); `damage` is the error that
    kept it from opening at start."""

    rung: Rung
    seat: Seat | None = None
    title: str = ""
    judge: Judge | None = None
    verdict: Verdict | None = None
    monitor: Monitor | None = None
    bill: float | None = None
    damage: FreeholdError | None = None


def open_rungs(
    project: Project,
    audit: Audit,
    log: RungLog,
    *,
    opener: Opener,
    students: Students,
    pairs: float,
    kept: Sequence[Step] = (),
    tell: Tell = quiet,
) -> list[Step]:
    """A step for each task of `audit`, built from its verdict, the heaviest template first. `pairs` of 0: nothing is
    watched. `kept` are steps that run: an open one whose verdict is the same stays as it is."""
    verdicts = {verdict.task: verdict for verdict in project.verdicts()}
    running = {step.rung.task.name: step for step in kept if step.rung.open}
    events = log.read()
    same: list[Step] = []
    fresh: list[Step] = []
    for task in audit.tasks:
        verdict, step = verdicts.get(task.name), running.get(task.name)
        if step is not None and step.verdict == verdict:
            same.append(step)
        elif verdict is None or verdict.decision != "move":
            why = f"this task stays upstream ({verdict.decision if verdict else 'no verdict'})"
            fresh.append(Step(rung(task, why=why), bill=_bill(task)))
        else:
            tell(f"check the student of {task.name}")
            fresh.append(_step(project, task, verdict, events, opener, students, pairs))
    _remember(project, fresh, tell)
    for step in fresh:
        if step.rung.student:
            _record_start(project, log, step, events, tell)
        if not pairs:
            step.monitor = None
    return sorted([*same, *fresh], key=lambda step: step.rung.weight, reverse=True)


def close(rows: Rows, step: Step, why: str, by: str = "monitor") -> None:
    """Close the rung now, and write it down. May raise what `rows` does, with the rung closed all the same."""
    step.rung = replace(step.rung, open=False, why=why)
    rows.append(NAME, _event(step, "closed", by))


def _step(
    project: Project,
    task: Task,
    verdict: Verdict,
    events: Events,
    opener: Opener,
    students: Students,
    pairs: float,
) -> Step:
    assert verdict.student is not None, verdict.task
    assert verdict.threshold is not None, verdict.task
    proved = verdict.asked or task  # what is served is what was certified, whatever the log was audited to since
    step = Step(rung(proved, verdict.student.sha256, verdict.threshold), verdict=verdict, bill=_bill(proved))
    if verdict.asked is None:
        step.rung = replace(step.rung, why="the verdict doesn't say which requests it is about; run: freehold prove")
        return step
    try:
        step.judge = judge(proved)
        artifact = project.read_artifact(verdict.student.sha256)
        project.check_base(artifact)
        folder = project.artifact_path(artifact.sha256)
        step.title, step.rung = title(artifact, folder), replace(step.rung, context=tokens_read(artifact, folder))
        step.seat = _seat(project, artifact, verdict, opener, students)
    except FreeholdError as error:
        step.damage = error
        step.rung = replace(step.rung, why=str(error) if isinstance(error, MissingExtra) else error.message)
        return step
    # built without pairs too: what earlier runs saw may still close the rung (its own share is then never used)
    step.monitor = Monitor(verdict.bar, pairs or 1.0)
    damage = events.damage(task.name)
    if damage:
        step.damage = ArtifactDamaged(f"{damage[0].upper()}{damage[1:]}.", "Mend or remove it: it may be a closing.")
    why = _closed_before(events.of(task.name), verdict) or damage
    step.rung = replace(step.rung, open=not why, why=why)
    return step


def _bill(task: Task) -> float | None:
    return None if task.money.value is None or not task.calls else task.money.value / task.calls


def _usual(verdict: Verdict) -> float:
    """Seconds that a call of the student takes, as prove measured it; 0 where it did not."""
    took = verdict.latency.high if verdict.latency.high is not None else verdict.latency.value
    return 0.0 if took is None else took / 1000.0


def _seat(project: Project, artifact: Artifact, verdict: Verdict, opener: Opener, students: Students) -> Seat:
    """The student in the artefact, after it has given the stored answers again. Raises FreeholdError."""
    folder = project.artifact_path(artifact.sha256)
    checks = read_checks(folder)
    seat = students.open(partial(opener, folder, artifact), _usual(verdict))
    try:
        _same_here(seat, artifact.sha256[:8], checks, "label" if verdict.kind == "labels" else "answer")
    except FreeholdError:
        students.drop(seat)
        raise
    return seat


def _same_here(seat: Seat, name: str, checks: Sequence[Mapping[str, Any]], what: str) -> None:
    """Raises StudentUnusable where the stored calls get other answers than at the fit, or none in time."""
    checked = seat.thread.submit(check, seat.student, checks)
    patience = seat.patience(PATIENCE)
    loading = OPENING if patience > PATIENCE else 0.0  # an engine reads its model with the first question
    try:
        # whatever it raises leaves the rung closed, and the server up
        error = checked.exception(patience * max(1, len(checks)) + loading)
    except TimeoutError:
        raise StudentUnusable(f"The student {name} does not come to an end on its stored calls.") from None
    if isinstance(error, MissingExtra | BaseUnusable | AdapterMismatch):  # an engine starts with the first question
        raise error
    if error is not None:
        raise StudentUnusable(f"The student {name} failed on its stored calls: {type(error).__name__}.")
    worst = checked.result()
    if not worst <= TOLERANCE:
        said = f"another {what}" if worst >= 1.0 else f"a score that is off by {worst:.4f}"
        message = f"The student {name} gives {said} on its stored calls here."
        raise StudentUnusable(message, "Tune and prove it again on this machine.")


def _closed_before(events: Sequence[dict[str, Any]], verdict: Verdict) -> str:
    """Why the monitor closed this task; "" where it is free to open.

    It is free where the verdict was made after the closing, on calls after it: a log whose times lie ahead will not do.
    """
    closings = [event for event in events if event["event"] == "closed" and event.get("by") == "monitor"]
    if not closings:
        return ""
    at = max(wire.timestamp(event["at"]) or 0.0 for event in closings)
    newest = verdict.evidence.newest if verdict.evidence else None
    free = newest is not None and newest > at and _made(verdict) > at
    return "" if free else str(closings[-1].get("why") or "closed by the monitor")


def _made(verdict: Verdict | None) -> float:
    return (wire.timestamp(verdict.made) if verdict and verdict.made else None) or 0.0


def _remember(project: Project, steps: Sequence[Step], tell: Tell) -> None:
    """Bring each monitor to where it stood, from the ledger's rows since the rung's verdict.

    Each row counts with the share of the run that wrote it. The gap is looked at once, at the end: a pair that came in
    after it was on its way all the time.
    """
    watched = {(s.rung.task.name, s.rung.student): s for s in steps if s.monitor and s.verdict}
    made = {key: _made(step.verdict) for key, step in watched.items()}
    if not watched:
        return
    for row in past(project, min(made.values()), tell):
        own = row.freehold
        key = own.task, own.student.sha256 if own.student else ""
        step = watched.get(key)
        if step is None or step.monitor is None or row.at < made[key]:
            continue
        if own.why == "home" and own.pairs:
            step.monitor.remember_kept(own.pairs)
        elif own.why == "pair" and own.agrees is not None:
            step.monitor.remember_pair(own.agrees, own.probability or step.monitor.pairs)
    for step in watched.values():
        if step.monitor:
            step.monitor.unwatched()


def _record_start(project: Project, log: RungLog, step: Step, events: Events, tell: Tell) -> None:
    """Write down what a start changed: a rung that opens, one that can't, and an alarm the last run died with.

    An opening that can't be written leaves the rung closed.
    """
    if step.rung.open and step.monitor and step.monitor.alarm:
        close(log, step, step.monitor.alarm)
        return
    event = _event(step, "opened" if step.rung.open else "closed", "start")
    same = ("event", "why", "student", "verdict")
    last: dict[str, Any] = next(reversed(events.of(step.rung.task.name)), {})
    if all(last.get(key) == event[key] for key in same):
        return
    try:
        project.append(NAME, event)
    except StorageFailed as error:
        tell(error.message)
        if step.rung.open:
            step.damage = error
            step.rung = replace(step.rung, open=False, why=error.message)


def _event(step: Step, event: str, by: str) -> dict[str, Any]:
    head = {"at": now(), "task": step.rung.task.name, "event": event, "why": step.rung.why}
    return head | {"student": step.rung.student, "verdict": step.verdict.made if step.verdict else "", "by": by}
