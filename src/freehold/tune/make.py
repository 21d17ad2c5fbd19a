"""From rows to an artefact in the project, unless it is there already.

label        a stack fitted on the rows (label.py); a foreign encoder is carried in the artefact
classifier   the team's files as they are; its prior is how it does on the fit side
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from freehold.engines.classifier import FILES, Classifier
from freehold.engines.encoder import Encoder, bundled_names
from freehold.engines.label import encode_checks, encode_prior
from freehold.errors import StudentUnusable
from freehold.nouns import Artifact, Task
from freehold.project import Project, sha256_file
from freehold.tell import Tell
from freehold.tune.label import CHECKS, ENCODERS, bounded, fit, recipe
from freehold.tune.rows import Rows

__all__ = ["classifier", "label"]

BLOCK = 256


def label(task: Task, rows: Rows, project: Project, named: str | None, tell: Tell) -> Artifact:
    encoders = _encoders(named)
    if made := _made(project, "label", task, recipe(encoders), rows):
        return made
    fitted = fit(rows.texts, rows.labels, groups=rows.groups, encoders=encoders, tell=tell)
    carried = {} if named is None or named in bundled_names() else encoders[0].files()
    return project.write_artifact(
        {**fitted.files, **carried},
        kind="label",
        task=task.name,
        base=" + ".join(e.name for e in encoders),
        licence=_licence([e.licence for e in encoders]),
        recipe=fitted.recipe,
        data_sha256=rows.sha256,
    )


def _encoders(named: str | None) -> list[Encoder]:
    """The default ones, or the one named: bundled, a folder, or a name on the Hugging Face hub."""
    from freehold.engines.hf import fetch

    threads = _cores()
    if named is None or named in bundled_names():
        return [Encoder.bundled(name, threads=threads) for name in (ENCODERS if named is None else (named,))]
    folder = Path(named)
    # a hub name is owner/model; anything else was meant as a folder, and Encoder.open says what is wrong with it
    if not folder.exists() and named.count("/") == 1 and not named.startswith((".", "/", "~")):
        folder = fetch(named)
    return [Encoder.open(folder, threads=threads)]


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _licence(licences: Sequence[str]) -> str:
    return " AND ".join(dict.fromkeys(licences))


def _made(project: Project, kind: str, task: Task, how: dict[str, Any], rows: Rows) -> Artifact | None:
    """The artefact of the same recipe and rows, checked, where a run before this one finished it."""
    wanted = (kind, task.name, how, rows.sha256)
    for found in project.artifacts():
        if (found.kind, found.task, found.recipe, found.data_sha256) == wanted:
            return project.read_artifact(found.sha256)
    return None


def classifier(task: Task, rows: Rows, project: Project, folder: Path, tell: Tell) -> Artifact:
    own = Classifier.open(folder)
    _check_labels(own, rows, folder)
    present = [name for name in FILES if (folder / name).is_file()]
    how = {"student": "classifier 1", "files": {name: sha256_file(folder / name) for name in present}, "seed": 0}
    if made := _made(project, "classifier", task, how, rows):
        return made
    used = bounded(rows.groups, 0).tolist()
    texts, labels = [rows.texts[i] for i in used], [rows.labels[i] for i in used]
    answers = []
    for start in range(0, len(texts), BLOCK):
        tell("score the fit side with your student", start / len(texts))
        answers += own.answers(texts[start : start + BLOCK])
    scores = np.array([a.score for a in answers])
    ok = np.array([a.text == said for a, said in zip(answers, labels, strict=True)])
    return project.write_artifact(
        {
            **{name: (folder / name).read_bytes() for name in present},
            "prior.safetensors": encode_prior(scores, ok),
            "checks.json": encode_checks(texts[:CHECKS], answers[:CHECKS]),
        },
        kind="classifier",
        task=task.name,
        base=folder.resolve().name,
        licence="the team's own",
        recipe=how,
        data_sha256=rows.sha256,
    )


def _check_labels(own: Classifier, rows: Rows, folder: Path) -> None:
    if not set(own.labels) & set(rows.labels):
        raise StudentUnusable(
            f"No label of the student in {folder} is an answer of the log: {own.labels[0]!r}, {rows.labels[0]!r}.",
            "Name its outputs as the log names them, in labels.json.",
        )
