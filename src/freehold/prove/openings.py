"""How often these certification calls have been looked at.

openings.jsonl, one row each time another question is put to calls:
    {"at": "...", "task": "t1", "question": "<sha256>", "opening": 2, "joint_confidence": 0.9, "bar": 0.99,
     "confidence": 0.95, "student": "<sha256>", "calls": ["9f0c...", ...]}

A question is a task's calls with a bar, a confidence, a student, and what answers are compared by (the rule, and the
database where queries run). The same question again is no opening: its answer is known. Another one that shares calls
with earlier ones is: each spends 1 - confidence, so that the joint confidence of t openings is at least
1 - t (1 - confidence) (Bonferroni). A known answer too is one of all that were given about its calls, so asking again
reports the openings of today. Fresh calls start again at 1.
A call's id is a keyed hash, the key the log's own identity, so the file alone tells no text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from freehold import wire
from freehold.errors import ArtifactDamaged
from freehold.nouns import Artifact, Task
from freehold.project import Project, now
from freehold.prove.calls import Held

__all__ = ["Opening", "open_calls"]

FILE = "openings.jsonl"


@dataclass(frozen=True, slots=True)
class Opening:
    """The t-th opening of these calls, and the joint confidence of all t."""

    number: int
    joint_confidence: float


@dataclass(frozen=True, slots=True)
class _Row:
    """What is needed of a row."""

    question: str
    confidence: float
    calls: frozenset[str]


def open_calls(
    task: Task,
    artifact: Artifact,
    held: Held,
    project: Project,
    identity: str,
    *,
    bar: float,
    confidence: float,
    data: str = "",
) -> Opening:
    """Count this look at the calls, on disk before the first of them is scored. `data` is the sha256 of the database
    that answers are compared on. Raises ArtifactDamaged."""
    question = _question(task, artifact, held, bar, confidence, data)
    ids = _ids(held, identity)
    earlier = _rows(project)
    known = any(row.question == question for row in earlier)
    shared = [row.confidence for row in earlier if row.question == question or not ids.isdisjoint(row.calls)]
    looks = shared if known else [*shared, confidence]
    opening = Opening(len(looks), max(0.0, round(1.0 - sum(1.0 - sure for sure in looks), 12)))
    if not known:
        row = {"at": now(), "task": task.name, "question": question, "opening": opening.number}
        row |= {"joint_confidence": opening.joint_confidence, "bar": bar, "confidence": confidence}
        project.append(FILE, row | {"student": artifact.sha256, "calls": sorted(ids)})
    return opening


def _rows(project: Project) -> list[_Row]:
    """Every look so far. A row that can't be read stops the run: without it the count would be too low."""
    path = project.path / FILE
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    found = []
    for number, line in enumerate(whole.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = msgspec.convert(wire.loads(line), _Row)
        except (wire.RowError, msgspec.ValidationError) as error:
            raise _damaged(project, number, str(error)) from None
        if not 0.0 < row.confidence < 1.0:
            raise _damaged(project, number, f"confidence is {row.confidence:g}")
        found.append(row)
    return found


def _damaged(project: Project, number: int, why: str) -> ArtifactDamaged:
    message = f"{project.path / FILE}, line {number}, is no row of openings: {why}."
    return ArtifactDamaged(
        message, "Put the line back as it was, or start a new project: it counts looks at the calls."
    )


def _question(task: Task, artifact: Artifact, held: Held, bar: float, confidence: float, data: str) -> str:
    parts = (held.sha256, artifact.sha256, repr(bar), repr(confidence), task.rule, *([data] if data else []))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _ids(held: Held, identity: str) -> set[str]:
    key = hashlib.sha256(identity.encode()).digest()

    def name(i: int) -> str:
        return hashlib.blake2b(held.name(i).encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()

    return {name(int(i)) for i in held.cal}
