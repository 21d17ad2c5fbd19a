"""From rows to an artefact in the project, unless it is there already.

label        a stack fitted on the rows (label.py); a foreign encoder, and a fine-tuned one, are carried in the artefact
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
from freehold.tune.base import Base
from freehold.tune.label import CHECKS, ENCODERS, bounded, fit, recipe
from freehold.tune.rows import Rows

__all__ = ["classifier", "encoders_of", "label", "store"]

BLOCK = 256


def label(task: Task, rows: Rows, project: Project, named: Sequence[str], tuned: Path | None, tell: Tell) -> Artifact:
    encoders = encoders_of(named)
    base = None if tuned is None else Base.open(tuned)
    if made := _made(project, "label", task, recipe(encoders, 0, base, len(bounded(rows.groups, 0))), rows):
        return made
    fitted = fit(rows.texts, rows.labels, groups=rows.groups, encoders=encoders, base=base, tell=tell)
    return store(task, rows, project, named, encoders, fitted.files, fitted.recipe, base)


def store(
    task: Task, rows: Rows, project: Project, named: Sequence[str], encoders: Sequence[Encoder],
    files: dict[str, bytes], how: dict[str, Any], base: Base | None = None,
) -> Artifact:  # fmt: skip
    """A fitted label student as an artefact; `named` are the encoders as they were asked for."""
    members: list[Encoder | Base] = [*encoders, *([] if base is None else [base])]
    carried = next((e.files() for e, name in zip(encoders, named, strict=False) if name not in bundled_names()), {})
    return project.write_artifact(
        {**files, **carried},
        kind="label",
        task=task.name,
        base=" + ".join(m.name for m in members),
        licence=_licence([m.licence for m in members]),
        recipe=how,
        data_sha256=rows.sha256,
    )


def encoders_of(named: Sequence[str]) -> list[Encoder]:
    """The default ones where none is named; else those named, the first one's vectors being the shelf's."""
    foreign = [name for name in named if name not in bundled_names()]
    if len(foreign) > 1:
        raise StudentUnusable(
            f"Two encoders that don't ship with freehold are given ({foreign[0]}, {foreign[1]}).",
            f"A student carries one at most; the bundled ones are {', '.join(bundled_names())}.",
        )
    encoders = [_encoder(name) for name in named or ENCODERS]
    twice = next((e.name for i, e in enumerate(encoders) if e.sha256 in {o.sha256 for o in encoders[:i]}), None)
    if twice is not None:
        raise StudentUnusable(f"The encoder {twice} is given twice.", "Name each one once.")
    return encoders


def _encoder(named: str) -> Encoder:
    """One that is bundled, in a folder, or named on the Hugging Face hub."""
    from freehold.engines.hf import fetch

    if named in bundled_names():
        return Encoder.bundled(named, threads=_cores())
    folder = Path(named)
    # a hub name is owner/model; anything else was meant as a folder, and Encoder.open says what is wrong with it
    if not folder.exists() and named.count("/") == 1 and not named.startswith((".", "/", "~")):
        folder = fetch(named)
    return Encoder.open(folder, threads=_cores())


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
