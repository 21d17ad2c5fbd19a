"""A student for a task, from its log.

    evidence ─split→ fit side ─label.fit→ Fitted ─project→ artifacts/<sha256>/  kind label
                         └ --student: the team's ONNX classifier, prior scored on the fit side   kind classifier

The other side of the split is never looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freehold.errors import NothingToLearn, StudentUnusable
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.tell import Tell, quiet
from freehold.traffic import Traffic

__all__ = ["tune"]


def tune(
    task: Task,
    traffic: Traffic,
    project: Project,
    *,
    encoder: str | Sequence[str] | None = None,
    finetune: Path | None = None,
    student: Path | None = None,
    tell: Tell = quiet,
) -> Artifact:
    """Fit a student on the task's fit side, or take the team's classifier in the folder `student`, and store it.

    `encoder`: a bundled name, a folder, or a name on the Hugging Face hub, instead of the default one; or several, each
    with members of its own. `finetune`: a folder with a BERT that is trained on the task as a further member. The same
    rows and recipe fit nothing twice: the artefact made before is returned. Raises StudentUnusable, NothingToLearn,
    MissingExtra, StorageFailed, ArtifactDamaged.
    """
    from freehold.tune.make import classifier, label
    from freehold.tune.rows import rows_of

    if task.kind != "labels":
        raise StudentUnusable(f"{task.name} is a {task.kind} task.", "This version has students for label tasks only.")
    named = [encoder] if isinstance(encoder, str) else list(encoder or ())
    rows = rows_of(task, traffic)
    if student is not None:
        if named or finetune is not None:
            other = "--encoder" if named else "--finetune"
            raise StudentUnusable(f"Both --student and {other} are given.", "Give one of them.")
        artifact = classifier(task, rows, project, student, tell)
    else:
        try:
            artifact = label(task, rows, project, named, finetune, tell)
        except NothingToLearn:
            project.choose(task.name, "")
            raise
    project.choose(task.name, artifact.sha256)
    return artifact
