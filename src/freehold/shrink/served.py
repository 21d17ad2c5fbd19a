"""The last hop: the student as it is served answers every held-back row.

stage/student/ decoder.json model.gguf (or adapter.gguf)    stage/<base>/ model.gguf
    ─DecoderStudent→ answers, scores ─→ prior.safetensors (score, ok)  checks.json (8 rows, asked again at each start)
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freehold.engines.decoder import DecoderStudent, Recipe
from freehold.engines.label import encode_checks, encode_prior
from freehold.engines.llama.engine import Engine
from freehold.measure import share
from freehold.nouns import Answer, Artifact, Measure
from freehold.project.storage import guarded
from freehold.shrink.budgets import PAIRED_LEVEL
from freehold.shrink.damage import worse
from freehold.shrink.parity import same_ids
from freehold.shrink.reference import Reference
from freehold.shrink.rows import Own, Row
from freehold.tell import Tell

__all__ = ["CHECKS", "Served", "serve"]

CHECKS = 8
Agree = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Served:
    """`why`: "" where the hop passed. `equal`: answers that are the format's own, to the letter. `answers`: to every
    held-back row."""

    why: str
    ids: int
    equal: Measure
    agreement: Measure
    gained: Measure
    prior: bytes
    checks: bytes
    answers: tuple[Answer, ...]


def serve(
    folder: Path,
    recipe: Recipe,
    artifact: Artifact,
    model: Path,
    adapter: Path | None,
    *,
    reference: Reference,
    rows: Sequence[Row],
    wanted: Sequence[str],
    theirs: Sequence[bool],
    own: Own,
    agree: Agree,
    threads: int | None,
    speculation: Mapping[str, Any] | None = None,
    tell: Tell,
) -> Served:
    """`wanted`: the format's answers to `rows` as the gate found them; `theirs`: whether the reference's agree with the
    log. Raises HopRefused where the server reads other ids."""
    student_folder = _stage(folder, recipe, artifact, model, adapter)
    adapters = () if adapter is None else (student_folder / "adapter.gguf",)
    with Engine.start(
        model, adapters=adapters, context=recipe.context, threads=threads, speculate=speculation
    ) as engine:
        ids = same_ids(
            reference,
            rows,
            lambda text: engine.tokenize(text),
            lambda row: _prompt(engine, recipe, row.text),
            "The server",
        )
        student = DecoderStudent(recipe, engine, adapter=None if adapter is None else 0)
        answers: list[Answer] = []
        for i, text in enumerate(own.texts):
            tell("answer the held-back rows as served", i / len(own.texts))
            answers += student.answers([text])
        tell("answer the held-back rows as served", 1.0)
    ok = [a.able and agree(a.text, logged) for a, logged in zip(answers, own.answers, strict=True)]
    by_text = {text: (answer.text, good) for text, answer, good in zip(own.texts, answers, ok, strict=True)}
    given = [by_text[row.text] for row in rows]
    gained, p = worse([good for _, good in given], theirs)
    why = (
        f"served, agreement with the log falls by {-(gained.value or 0):.1%} (p = {p:.3f})" if p <= PAIRED_LEVEL else ""
    )
    equal = sum(text == expected for (text, _), expected in zip(given, wanted, strict=True))
    able = [i for i, answer in enumerate(answers) if answer.able][:CHECKS]
    return Served(
        why, ids, share(equal, len(rows)), share(sum(ok), len(ok)), gained,
        prior=encode_prior(np.array([a.score for a in answers]), np.array(ok, bool)),
        checks=encode_checks([own.texts[i] for i in able], [answers[i] for i in able]), answers=tuple(answers),
    )  # fmt: skip


def _prompt(engine: Engine, recipe: Recipe, text: str) -> str:
    return engine.template(recipe.prompt.messages(text))


def _stage(folder: Path, recipe: Recipe, artifact: Artifact, model: Path, adapter: Path | None) -> Path:
    """The student's folder as the artefact will have it, its large files linked."""
    shutil.rmtree(folder, ignore_errors=True)
    student = folder / "student"
    student.mkdir(parents=True)
    (student / "decoder.json").write_bytes(recipe.encode())
    if adapter is None:
        _link(model, student / "model.gguf")
    else:
        base = folder / artifact.parents[0]
        base.mkdir()
        _link(model, base / "model.gguf")
        _link(adapter, student / "adapter.gguf")
    return student


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # a file system without links: copy
        os.link(source, target)
        return
    with guarded(target):
        shutil.copyfile(source, target)
