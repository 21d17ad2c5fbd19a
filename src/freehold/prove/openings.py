"""How often these certification calls have been looked at.

openings.jsonl, one row each time another question is put to calls:
    {"at": "...", "task": "t1", "question": "<sha256>", "opening": 2, "joint_confidence": 0.9, "bar": 0.99,
     "confidence": 0.95, "student": "<sha256>", "calls": ["9f0c...", ...]}

A question is a task's calls with a bar, a confidence and a student. The same question again is no opening: its answer
is known. Another one that shares calls with earlier ones is: each spends 1 - confidence, so that the joint confidence
of t openings is at least 1 - t (1 - confidence) (Bonferroni). Fresh calls start again at 1.
A call's id is a keyed hash, the key the log's own identity, so the file alone tells no text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

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


def open_calls(
    task: Task, artifact: Artifact, held: Held, project: Project, identity: str, *, bar: float, confidence: float
) -> Opening:
    """Count this look at the calls, on disk before the first of them is scored."""
    question = _question(task, artifact, held, bar, confidence)
    ids = _ids(held, identity)
    earlier = project.rows(FILE)
    for row in earlier:
        if row["question"] == question:
            return Opening(row["opening"], row["joint_confidence"])
    shared = [row for row in earlier if not ids.isdisjoint(row["calls"])]
    spent = sum(1.0 - row["confidence"] for row in shared) + (1.0 - confidence)
    opening = Opening(1 + len(shared), max(0.0, round(1.0 - spent, 12)))
    row = {"at": now(), "task": task.name, "question": question, "opening": opening.number}
    row |= {"joint_confidence": opening.joint_confidence, "bar": bar, "confidence": confidence}
    project.append(FILE, row | {"student": artifact.sha256, "calls": sorted(ids)})
    return opening


def _question(task: Task, artifact: Artifact, held: Held, bar: float, confidence: float) -> str:
    parts = (held.sha256, artifact.sha256, repr(bar), repr(confidence), task.rule)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _ids(held: Held, identity: str) -> set[str]:
    key = hashlib.sha256(identity.encode()).digest()

    def name(i: int) -> str:
        text = f"{held.texts[i]}\0{held.truths[i]}\0{held.times[i]}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=key, digest_size=8).hexdigest()

    return {name(int(i)) for i in held.cal}
