"""A student for a task, from its log.

    evidence ─split→ fit side ─label.fit→ Fitted ─project→ artifacts/<sha256>/  kind label
                         ├ --student: the team's ONNX classifier, prior scored on the fit side   kind classifier
                         └ text.py: the terms' gate, then a tagger or a decoder                  kind extract, adapter

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
from freehold.tune.synthetic.made import Given, check

__all__ = ["tune"]


def tune(
    task: Task,
    traffic: Traffic,
    project: Project,
    *,
    encoder: str | Sequence[str] | None = None,
    finetune: Path | None = None,
    student: Path | None = None,
    kind: str = "auto",
    base: str | None = None,
    minutes: float | None = None,
    bits: int = 16,
    device: str = "auto",
    permission: Path | None = None,
    private: str = "leave-out",
    synthetic: Given | None = None,
    pairs: str | None = None,
    tell: Tell = quiet,
) -> Artifact:
    """Fit a student on the task's fit side, or take the team's classifier in the folder `student`, and store it.

    For a label task, `encoder`: a bundled name, a folder, or a name on the Hugging Face hub, in place of the default;
    or several, each with members of its own. `finetune`: a folder with a BERT that is trained on the task as a further
    member. The same rows and recipe fit nothing twice: the artefact made before is returned. `synthetic`: rows that an
    open model writes besides, kept where they help (docs/synthetic.md); then also TermsBlocked, BaseUnusable.
    For the others (text.py), `kind` is auto, extract or decoder, `base` the open model of a decoder, `minutes` the
    minutes that are spent, `bits` 16 or 4 (QLoRA), `device` auto, cpu or cuda for a decoder, `permission` a file with
    the vendor's consent, `private` what becomes of rows with private data: leave-out, redact or keep.
    `pairs`: the task's tuned adapter learns a preference from this file, or from the log ("log"); nothing else is
    fitted (preference/).
    Raises StudentUnusable, NothingToLearn, MissingExtra, StorageFailed, ArtifactDamaged; for the others also
    TermsBlocked, BaseUnusable, TooLittleMemory, TrainingFailed, EngineFailed.
    """
    from freehold.tune.make import classifier, label
    from freehold.tune.rows import held_texts, rows_of
    from freehold.tune.synthetic.label import label as label_with
    from freehold.tune.text import How, text

    if pairs is not None:
        from freehold.tune.preference import prefer

        chosen = How(base=base, minutes=minutes, bits=bits, device=device, permission=permission, private=private)
        return prefer(task, traffic, project, pairs, chosen, tell=tell)
    if synthetic is not None:
        check(synthetic, task, kind, finetune=finetune, student=student)
    if task.kind != "labels" or kind != "auto":  # a decoder may be asked for by name, to see what it does beside
        if student is not None or finetune is not None:
            other = "--student" if student is not None else "--finetune"
            if task.kind == "labels":
                raise StudentUnusable(f"Both --kind {kind} and {other} are given.", "Give one of them.")
            raise StudentUnusable(
                f"{other} is for label tasks, and {task.name} is a {task.kind} task.", "Leave it out."
            )
        named = [encoder] if isinstance(encoder, str) else list(encoder or ())
        if len(named) > 1:
            raise StudentUnusable(f"Two encoders are given, and a tagger for {task.name} takes one.", "Give one.")
        certify = () if synthetic is None else held_texts(task, traffic)
        how = How(kind, next(iter(named), None), base, minutes, bits, device, permission, private, synthetic, certify)
        return text(task, traffic, project, how, tell)
    named = [encoder] if isinstance(encoder, str) else list(encoder or ())
    rows = rows_of(task, traffic)
    if student is not None:
        if named or finetune is not None:
            other = "--encoder" if named else "--finetune"
            raise StudentUnusable(f"Both --student and {other} are given.", "Give one of them.")
        artifact = classifier(task, rows, project, student, tell)
    else:
        try:
            if synthetic is None:
                artifact = label(task, rows, project, named, finetune, tell)
            else:
                held = held_texts(task, traffic)
                artifact = label_with(task, rows, held, project, named, synthetic, minutes, tell)
        except NothingToLearn:
            project.choose(task.name, "")
            raise
    project.choose(task.name, artifact.sha256)
    return artifact
