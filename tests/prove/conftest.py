"""A small true world: real utterances and labels of the bundled log, a scripted student, an artefact with its prior."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.audit import audit
from freehold.engines.scripted import ScriptedStudent
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.traffic import Traffic, evidence, put_upstream, read, split
from freehold.tune.rows import rows_of

LOG = Path(__file__).resolve().parents[2] / "examples" / "support-desk" / "calls.jsonl.gz"
Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    traffic: Traffic
    task: Task
    student: ScriptedStudent
    artifact: Artifact
    project: Project
    fit: frozenset[str]

    @property
    def proof(self) -> tuple[Task, ScriptedStudent, Artifact, Traffic, Project]:
        return self.task, self.student, self.artifact, self.traffic, self.project


def luck(text: str, salt: str = "") -> float:
    """A number in [0, 1) that hangs on the text alone."""
    return int.from_bytes(hashlib.blake2b((salt + text).encode(), digest_size=6).digest(), "big") / 2**48


def script(texts: Sequence[str], answers: Sequence[str], worst: float) -> dict[str, tuple[str, float]]:
    """A student that disagrees with probability worst * (1 - score)^3."""
    wrong = {t: luck(t, "wrong") < worst * (1 - luck(t)) ** 3 for t in texts}
    return {t: ("wrong" if wrong[t] else a, luck(t)) for t, a in zip(texts, answers, strict=True)}


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """The first 4,000 rows of the bundled log, with its 4,000-character system message cut short."""
    found = []
    with gzip.open(LOG, "rt", encoding="utf-8") as file:
        for _, line in zip(range(4000), file, strict=False):
            row = json.loads(line)
            row["request"]["messages"][0]["content"] = "Name the intent."
            found.append(row)
    return found


@pytest.fixture
def world(tmp_path: Path, rows: list[Row]) -> Callable[..., World]:
    """A project with a log of these rows, and a student that is wrong as often as told."""

    def make(used: Sequence[Row] = rows[:2400], worst: float = 0.3, name: str = "project") -> World:
        log = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        log.write_text("".join(json.dumps(row) + "\n" for row in used))
        traffic = read([log])
        (task,) = audit(traffic).tasks
        calls = evidence(task, traffic)
        texts = [task.template.text(c.messages) or "" for c in calls]
        asked = put_upstream(task, traffic)
        answers = [c.answer or task.labels[0] for c in asked]
        said = script([task.template.text(c.messages) or "" for c in asked], answers, worst)
        fit = [texts[i] for i in split(texts).fit]
        project = Project.create(tmp_path / name)
        return World(
            traffic, task, ScriptedStudent(said), artefact(project, task, traffic, fit, said), project, frozenset(fit)
        )

    return make


def artefact(
    project: Project, task: Task, traffic: Traffic, fit: Sequence[str], said: dict[str, tuple[str, float]]
) -> Artifact:
    from safetensors.numpy import save

    score = np.array([said[text][1] for text in fit])
    ok = np.array([said[text][0] != "wrong" for text in fit], np.uint8)
    files = {"prior.safetensors": save({"score": score, "ok": ok})}
    about = {"kind": "label", "task": task.name, "base": "scripted", "licence": "Apache-2.0"}
    return project.write_artifact(files, **about, recipe={"of": len(said)}, data_sha256=rows_of(task, traffic).sha256)
