"""A student for a task whose answers are extracted or written: the cheapest that fits the shape of the answers.

rows ─gate: the vendor's terms, private data→ rows that may teach
    json, tools ─extract.fit→ a tagger            kind extract: values copied from the text, no torch to serve
           └ not extractable ↓
    all    ─tune_decoder→ LoRA on an open base    kind adapter: shrink makes the form that is served
                        └ or the untuned base with the nearest logged calls as examples    kind decoder
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from freehold.agree import Judge
from freehold.errors import STAYS, NothingToLearn, StudentUnusable
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.tell import Tell
from freehold.traffic import Traffic
from freehold.tune.gate import Gate, gate
from freehold.tune.rows import Rows, rows_of
from freehold.tune.synthetic.made import Given

__all__ = ["MINUTES", "How", "say_terms", "terms_of", "text"]

MINUTES = 12.0
SHUT = ("BLOCK", "QUARANTINE")


@dataclass(frozen=True, slots=True)
class How:
    """What a person may say of a text student: see tune."""

    kind: str = "auto"
    encoder: str | None = None
    base: str | None = None
    minutes: float | None = None
    bits: int = 16
    device: str = "auto"
    permission: Path | None = None
    private: str = "leave-out"
    synthetic: Given | None = None
    certify: Sequence[str] = ()  # the texts of the calls that certify, where rows are made


def text(task: Task, traffic: Traffic, project: Project, how: How, tell: Tell) -> Artifact:
    """Fit the student and choose it for the task. Raises what tune does."""
    rows = rows_of(task, traffic)
    try:
        artifact = _student(task, rows, project, how, tell)
    except STAYS:
        project.choose(task.name, "")
        raise
    project.choose(task.name, artifact.sha256)
    return artifact


def _student(task: Task, rows: Rows, project: Project, how: How, tell: Tell) -> Artifact:
    from freehold.tune.extract import NotExtractable

    if how.kind != "decoder" and task.kind in ("json", "tools"):
        try:
            return _extract(task, rows, project, how, tell)
        except NotExtractable as error:
            if how.kind == "extract":
                raise
            tell(f"{task.name} is a decoder's: {error.message}")
    elif how.kind == "extract":
        raise StudentUnusable(
            f"A tagger extracts JSON and tool calls, and {task.name} is {task.kind}.", "Leave --kind out."
        )
    return _decoder(task, rows, project, how, tell)


def _allowed(task: Task, rows: Rows, project: Project, how: How, student: str, tell: Tell) -> tuple[Rows, Gate]:
    """The rows as a student may see them, all of them, and which of them it may."""
    passed = gate(task, rows.calls, project.settings, student=student, permission=how.permission, private=how.private)
    say_terms(passed, tell)
    if passed.redacts:
        pairs = [passed.row(text, label) for text, label in zip(rows.texts, rows.labels, strict=True)]
        rows = replace(rows, texts=[t for t, _ in pairs], labels=[a for _, a in pairs], whole=rows.sha256)
    return rows, passed


def say_terms(passed: Gate, tell: Tell) -> None:
    """What the gate said of rows that teach and that don't, apart from what it simply lets through."""
    for notice in passed.notices:
        if notice.outcome not in ("ALLOW", *SHUT):
            clause = f' "{notice.clause}"' if notice.clause else ""
            about = f"{notice.outcome}, {notice.rows:,} rows, as of {notice.as_of}"
            tell(f"terms {notice.rule} ({about}): {notice.text}{clause}")
    if passed.blocked:
        tell(f"terms: {passed.blocked}")


def terms_of(passed: Gate) -> list[dict[str, Any]]:
    """The same for a recipe."""
    return cast(list[dict[str, Any]], msgspec.to_builtins(list(passed.notices)))


def _extract(task: Task, rows: Rows, project: Project, how: How, tell: Tell) -> Artifact:
    from freehold.tune.extract import fit, recipe_of
    from freehold.tune.extract.start import start_of

    rows, passed = _allowed(task, rows, project, how, "extract", tell)
    base = start_of(how.encoder)
    asked = recipe_of(base, 0, how.minutes) | {"terms": terms_of(passed)}
    for found in project.artifacts():
        same = found.kind == "extract" and (found.task, found.data_sha256) == (task.name, rows.sha256)
        if same and asked.items() <= found.recipe.items():
            return project.read_artifact(found.sha256)
    used = rows.take(passed.rows)
    fitted = fit(used.texts, used.labels, groups=used.groups, base=how.encoder, minutes=how.minutes, tell=tell)
    return project.write_artifact(
        fitted.files,
        kind="extract",
        task=task.name,
        base=f"{base.name} (fine-tuned)",
        licence=base.licence,
        recipe=fitted.recipe | asked,
        data_sha256=rows.sha256,
    )


def _readable(task: Task, rows: Rows, which: Sequence[int], tell: Tell) -> list[int]:
    """Those whose answer agrees at least with itself: JSON that can't be read is nothing to learn. Raises
    NothingToLearn."""
    ruling = Judge(task.rule)
    good = [i for i in which if task.rule != "json" or ruling.agree(rows.labels[i], rows.labels[i])]
    if not good:
        raise NothingToLearn(f"None of {len(which):,} answers of {task.name} is JSON.", "See: freehold audit")
    if len(good) < len(which):
        tell(f"{len(which) - len(good):,} of {len(which):,} answers of {task.name} are no JSON: they are left out")
    return good


def _decoder(task: Task, rows: Rows, project: Project, how: How, tell: Tell) -> Artifact:
    from freehold.engines import bases
    from freehold.tune.decoder import tune_decoder
    from freehold.tune.decoder.mixed import Made

    rows, passed = _allowed(task, rows, project, how, "decoder", tell)
    use = _readable(task, rows, passed.rows, tell)
    base = bases.find(how.base)
    bits: Literal[16, 4] = 4 if how.bits == 4 else 16
    minutes = how.minutes or MINUTES

    def fit(made: Made | None) -> Artifact:
        return tune_decoder(
            rows, task, project, base, minutes=minutes, bits=bits, use=use,
            terms=terms_of(passed), where=how.device, made=made, tell=tell,
        )  # fmt: skip

    if how.synthetic is None:
        return fit(None)
    from freehold.tune.synthetic.text import text as with_made

    return with_made(task, rows, use, how.certify, project, how.synthetic, minutes, fit, tell)
