"""What earlier runs saw, brought back: each rung's monitor and stage as they stood.

pairs/*.jsonl    what each pair showed   ┐ since the rung's verdict → monitor
ledger/*.jsonl   home answers; pairs     ┘ since its last step up   → stage, made at that step
                 that pairs/ doesn't have
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge

from freehold import wire
from freehold.ledger import past
from freehold.nouns import Verdict
from freehold.project import Project
from freehold.serve.ladder.stage import Stage
from freehold.serve.ladder.step import Step
from freehold.serve.pairing.pairlog import PairLog
from freehold.tell import Tell

__all__ = ["made", "recall"]

SECOND = 1.0  # a step's time is written in whole seconds: pairs of that second that say no share are left out


@dataclass(frozen=True, slots=True)
class _Seen:
    """A pair, or a home answer (`agrees` None) of a run that asked the share `probability`."""

    at: float
    key: tuple[str, str]
    agrees: bool | None
    probability: float
    against: str = ""
    stage: str = ""
    share: float | None = None


def made(verdict: Verdict | None) -> float:
    """When the verdict was made, in epoch seconds."""
    return (wire.timestamp(verdict.made) if verdict and verdict.made else None) or 0.0


def recall(
    project: Project, pairs: PairLog, steps: Sequence[Step], risen: dict[tuple[str, str], float], tell: Tell
) -> None:
    """Bring each monitor and stage to where it stood. `risen` says when a rung took its last step up, in epoch seconds.

    Each pair counts with the probability that it was drawn with. The gap is looked at once, at the end: a pair that
    came in after it was on its way all the time.
    """
    watched = {step.key: step for step in steps if step.monitor and step.verdict}
    if not watched:
        return
    for seen in _seen(project, pairs, min(made(step.verdict) for step in watched.values()), tell):
        step = watched.get(seen.key)
        if step is None or step.monitor is None or seen.at < made(step.verdict):
            continue
        if seen.agrees is None:
            if not step.frozen:
                step.monitor.remember_kept(seen.probability)
        elif seen.against:
            if step.beside is not None and step.beside.model == seen.against:
                step.beside.pair(seen.agrees)
        else:
            step.monitor.remember_pair(seen.agrees, seen.probability or step.monitor.pairs)
            if step.stage is not None and _at_this_step(step.stage, seen, risen.get(seen.key)):
                step.stage.remember(seen.agrees)
    for step in watched.values():
        if step.monitor and not step.frozen:
            step.monitor.unwatched()


def _at_this_step(stage: Stage, seen: _Seen, risen: float | None) -> bool:
    """Whether a pair is evidence for the stage's next step. One that says its share may have been made in another
    process that had not yet heard of the step; one that says none is told by its time."""
    if seen.share is not None:
        return stage.made(seen.stage, seen.share) and seen.at >= (risen or 0.0)
    return seen.at >= (0.0 if risen is None else risen + SECOND)


def _seen(project: Project, pairs: PairLog, since: float, tell: Tell) -> Iterator[_Seen]:
    """Everything since `since`, in order of time."""
    rows = pairs.read(since)
    known = {row.id for row in rows if row.home}
    noted = [
        _Seen(row.time, (row.task, row.student), row.agrees, row.probability, row.against, row.stage, row.share)
        for row in rows
    ]
    yield from merge(noted, _in_ledger(project, since, known, tell), key=lambda seen: seen.at)


def _in_ledger(project: Project, since: float, known: set[str], tell: Tell) -> Iterator[_Seen]:
    for row in past(project, since, tell):
        own = row.freehold
        key = own.task, own.student.sha256 if own.student else ""
        if own.why == "home" and own.pairs:
            yield _Seen(row.written, key, None, own.pairs)
        elif own.why == "pair" and own.agrees is not None and own.id not in known:
            yield _Seen(row.written, key, own.agrees, own.probability, own.against)
