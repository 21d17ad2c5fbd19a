"""The rungs of the ladder: opened from verdicts at start, closed by the monitor, and never opened by accident.

    verdict says move → artefact whole? → student opens? → its stored calls score as they did? → not closed before?
                                → proved on what the student before it defers? → open, watched, and as far as its stage
Why a rung is closed, and for how long:
    start     the artefact is damaged, or scores otherwise on this machine: looked at again at each start
    engine    its engine died on calls in a row: the same
    ladder    the student before it, whose deferred calls it was proved on, is not open: the same
    monitor   the promise failed, or nobody watched it: until a later verdict whose evidence has calls after the closing

rungs.jsonl keeps every change: {"at", "task", "event", "why", "student", "verdict", "by"}, where event is
    opened | closed
    stage     {"stage": "canary", "share": 0.05}: by "start" for a new student in shadow, by "evidence" for a step up
    frozen    {"successor": "gpt-5.6-luna"}: another model's answers come back now; the promise stands as it was
and "after" (a sha256) for a student that was proved on another's deferred calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from freehold import wire
from freehold.agree import judge
from freehold.engines import hosted
from freehold.engines.hosted_form import is_outside
from freehold.engines.hosted_gate import Gate
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
from freehold.project.gateway import RolloutSettings
from freehold.project.settings import TaskSettings
from freehold.serve.ladder import standing
from freehold.serve.ladder.recall import made, recall
from freehold.serve.ladder.route import Rung, rung
from freehold.serve.ladder.runglog import NAME, Events, RungLog
from freehold.serve.ladder.step import Step, after
from freehold.serve.pairing.monitor import Monitor
from freehold.serve.pairing.pairlog import PairLog
from freehold.serve.seats.students import OPENING, Seat, Students
from freehold.tell import Tell, quiet

__all__ = ["Opener", "Step", "close", "open_rungs", "rest_on", "went_up"]

Opener = Callable[[Path, Artifact], Student]
Look = Callable[[Student, Sequence[Mapping[str, Any]]], float]
PATIENCE = 2.0  # seconds that each stored call may take at start, at least
FULL = RolloutSettings(start="full")
AFTER = "proved after another student"
OUTSIDE = "its student runs at a host outside the house, and this task is declared never to leave it"
QUICK, SLOW_ASKS = 0.05, 0.1  # seconds a call of a quick student; the share of free pairs that a slow one is asked for


class Rows(Protocol):
    """Where events go: a Project, which raises StorageFailed, or a RungLog, which tries again."""

    def append(self, name: str, row: dict[str, Any], /) -> None: ...


def open_rungs(
    project: Project,
    audit: Audit,
    log: RungLog,
    *,
    opener: Opener,
    students: Students,
    pairs: float,
    kept: Sequence[Step] = (),
    rollout: RolloutSettings = FULL,
    successor: str = "",
    pair_log: PairLog | None = None,
    gates: dict[str, Gate] | None = None,
    tell: Tell = quiet,
) -> list[Step]:
    """A step for each task of `audit`, or one for each of its verdicts that say move, in the order of the ladder; the
    heaviest template first. `pairs` of 0: nothing is watched. `kept` are steps that run: an open one whose verdict is
    the same stays as it is. `rollout` says how a new student takes over; `successor` is the model that answers now in
    the place of the logged one. `gates` say, by the name of an open model's host, whether it may be asked, and are told
    what that took; a host without one gets one that only rests after failures."""
    gates = {} if gates is None else gates
    verdicts = project.verdicts()
    running = {step.key: step for step in kept if step.rung.open}
    events = log.read()
    ladders: list[list[Step]] = []
    fresh: list[Step] = []
    for task in audit.tasks:
        ladder: list[Step] = []
        for verdict in _ladder([one for one in verdicts if one.task == task.name]):
            step = running.get((task.name, verdict.student.sha256 if verdict.student else ""))
            if step is None or step.verdict != verdict:
                tell(f"check the student of {task.name}")
                step = _step(project, task, verdict, events, opener, students, pairs, gates)
                fresh.append(step)
            ladder.append(step)
        ladders.append(ladder or [_stays(project, task, verdicts)])
    risen = {step.key: at for step in fresh if (at := _stands(step, events, rollout, successor, pairs > 0))}
    recall(project, pair_log or PairLog(project, tell), fresh, risen, tell)
    for ladder in ladders:
        _start(project, log, ladder, fresh, events, tell)
    for step in fresh:
        if not pairs or not step.rung.leaves:  # of a task that never leaves the house nothing may be asked upstream
            step.monitor = None
    ladders.sort(key=lambda ladder: ladder[0].rung.weight, reverse=True)
    return [step for ladder in ladders for step in ladder]


def close(rows: Rows, step: Step, why: str, by: str = "monitor") -> None:
    """Close the rung now, and write it down. May raise what `rows` does, with the rung closed all the same."""
    step.shut(why)
    rows.append(NAME, _event(step, "closed", by))


def went_up(rows: Rows, step: Step, why: str) -> None:
    """Write down a step up that the stage has just taken."""
    assert step.stage is not None, step.rung.task.name
    rows.append(NAME, _event(step, "stage", "evidence", why, stage=step.stage.name, share=step.stage.share))


def rest_on(steps: Sequence[Step], closed: Step) -> list[Step]:
    """The open rungs that were proved on what `closed` defers, and so can't stay open: close them by "ladder"."""
    return [s for s in steps if s.rung.open and s.key[0] == closed.key[0] and after(s.verdict) == closed.key[1]]


def _ladder(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that say move, each behind the one whose deferred calls it was proved on; the rest at the end."""
    left = [one for one in verdicts if one.decision == "move"]
    found: list[Verdict] = []
    before = ""
    while (one := next((one for one in left if after(one) == before), None)) is not None:
        left.remove(one)
        found.append(one)
        before = one.student.sha256 if one.student else ""
    return [*found, *left]


def _stays(project: Project, task: Task, verdicts: Sequence[Verdict]) -> Step:
    decision = next((one.decision for one in verdicts if one.task == task.name), "no verdict")
    why = f"this task stays upstream ({decision})"
    return Step(_declared(project, rung(task, why=why)), bill=_bill(task))


def _declared(project: Project, one: Rung) -> Rung:
    """With what freehold.toml declares of its task."""
    said = project.settings.tasks.get(one.task.name, TaskSettings())
    return replace(one, home=said.home, leaves=said.leaves, unsure=said.unsure)


def _step(
    project: Project,
    task: Task,
    verdict: Verdict,
    events: Events,
    opener: Opener,
    students: Students,
    pairs: float,
    gates: dict[str, Gate],
) -> Step:
    assert verdict.student is not None, verdict.task
    assert verdict.threshold is not None, verdict.task
    proved = verdict.asked or task  # what is served is what was certified, whatever the log was audited to since
    one = _declared(project, rung(proved, verdict.student.sha256, verdict.threshold))
    one = replace(one, after=verdict.after, outside=bool(verdict.student.host))  # until its artefact says where
    step = Step(one, verdict=verdict, bill=_bill(proved))
    if verdict.asked is None:
        step.rung = replace(step.rung, why="the verdict doesn't say which requests it is about; run: freehold prove")
        return step
    try:
        step.judge = judge(proved)
        artifact = project.read_artifact(verdict.student.sha256)
        project.check_base(artifact)
        folder = project.artifact_path(artifact.sha256)
        if artifact.kind == "hosted":
            step.rung = replace(step.rung, outside=is_outside(str(artifact.recipe["url"])))
        step.title, step.rung = title(artifact, folder), replace(step.rung, context=tokens_read(artifact, folder))
        if step.rung.outside and not step.rung.leaves:  # not even for its stored calls
            step.rung = replace(step.rung, why=OUTSIDE)
            return step
        limits = partial(_limited, opener, gates=gates, inside=not step.rung.leaves)
        step.seat = _seat(project, artifact, verdict, limits, students)
    except FreeholdError as error:
        step.damage = error
        step.rung = replace(step.rung, why=str(error) if isinstance(error, MissingExtra) else error.message)
        return step
    # built without pairs too: what earlier runs saw may still close the rung (its own share is then never used)
    step.monitor = Monitor(verdict.bar, pairs or 1.0)
    damage = events.damage(task.name)
    if damage:
        step.damage = ArtifactDamaged(f"{damage[0].upper()}{damage[1:]}.", "Mend or remove it: it may be a closing.")
    why = _closed_before(standing.of(events.of(task.name), verdict), verdict) or damage
    step.rung = replace(step.rung, open=not why, why=why)
    step.asks = 1.0 if _usual(verdict) <= QUICK else SLOW_ASKS
    return step


def _stands(step: Step, events: Events, rollout: RolloutSettings, successor: str, watched: bool) -> float | None:
    """Its stage, and whether its promise is frozen. Returns when it last went up."""
    if step.monitor is None:
        return None
    before = events.of(step.rung.task.name)
    standing.freeze(step, before, successor, now())
    return standing.stand(step, before, rollout, watched and step.rung.leaves)


def _bill(task: Task) -> float | None:
    return None if task.money.value is None or not task.calls else task.money.value / task.calls


def _usual(verdict: Verdict) -> float:
    """Seconds that a call of the student takes, as prove measured it; 0 where it did not."""
    took = verdict.latency.high if verdict.latency.high is not None else verdict.latency.value
    return 0.0 if took is None else took / 1000.0


def _limited(opener: Opener, folder: Path, artifact: Artifact, *, gates: dict[str, Gate], inside: bool) -> Student:
    """A student at a host is told before its first question where it may ask, and by which gate."""
    student = opener(folder, artifact)
    if isinstance(student, hosted.HostedStudent):
        student.limit(inside=inside, gate=gates.setdefault(student.form.host, Gate()))
    return student


def _seat(project: Project, artifact: Artifact, verdict: Verdict, opener: Opener, students: Students) -> Seat:
    """The student in the artefact, after it has given the stored answers again. Raises FreeholdError."""
    folder = project.artifact_path(artifact.sha256)
    checks = read_checks(folder)
    seat = students.open(partial(opener, folder, artifact), _usual(verdict), name=artifact.sha256)
    try:
        look = hosted.check if artifact.kind == "hosted" else check
        _same_here(seat, artifact.sha256[:8], checks, "label" if verdict.kind == "labels" else "answer", look)
    except FreeholdError:
        students.drop(seat)
        raise
    return seat


def _same_here(seat: Seat, name: str, checks: Sequence[Mapping[str, Any]], what: str, look: Look) -> None:
    """Raises StudentUnusable where the stored calls get other answers than at the fit, or none in time."""
    checked = seat.thread.submit(look, seat.student, checks)
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
    free = newest is not None and newest > at and made(verdict) > at
    return "" if free else str(closings[-1].get("why") or "closed by the monitor")


def _start(
    project: Project, log: RungLog, ladder: Sequence[Step], fresh: Sequence[Step], events: Events, tell: Tell
) -> None:
    """From the first student on: a rung is open only behind the one whose deferred calls it was proved on."""
    before = ""
    for step in ladder:
        is_fresh, follows = any(step is one for one in fresh), after(step.verdict) == before
        if step.rung.open and not follows:
            step.shut(AFTER)
            if not is_fresh:
                close(log, step, AFTER, "ladder")
        if step.rung.student and is_fresh:
            _record_start(project, log, step, events, tell)
        if step.rung.open:
            before = step.rung.student


def _record_start(project: Project, log: RungLog, step: Step, events: Events, tell: Tell) -> None:
    """Write down what a start changed: a rung that opens, one that can't, and an alarm the last run died with.

    An opening that can't be written leaves the rung closed.
    """
    if step.rung.open and step.monitor and step.monitor.alarm:
        close(log, step, step.monitor.alarm)
        return
    before = standing.of(events.of(step.rung.task.name), step.verdict)
    event = _event(step, "opened" if step.rung.open else "closed", "start")
    same = ("event", "why", "student", "verdict")
    last: dict[str, Any] = next((one for one in reversed(before) if one["event"] in ("opened", "closed")), {})
    try:
        if not all(last.get(key) == event[key] for key in same):
            project.append(NAME, event)
        for further in standing.news(step, before):
            project.append(NAME, _event(step, **further))
    except StorageFailed as error:
        tell(error.message)
        if step.rung.open:
            step.damage = error
            step.shut(error.message)


def _event(step: Step, event: str, by: str, why: str = "", **more: Any) -> dict[str, Any]:
    head = {"at": now(), "task": step.rung.task.name, "event": event, "why": why or step.rung.why}
    head |= {"student": step.rung.student, "verdict": step.verdict.made if step.verdict else "", "by": by} | more
    return head | ({"after": after(step.verdict)} if after(step.verdict) else {})
