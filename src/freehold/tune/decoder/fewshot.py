"""The rival of tuning: the untuned base, with the nearest logged calls as examples before each question.

    fewshot(rows, task, project, base) -> Artifact(kind="decoder", mode "fewshot")
    measure(student, own, judge, ...)  -> Measured(ok, scores, answers) on rows that neither of them saw
    compare(tuned, rival)              -> {"rows": 60, "tuned": Measure, "fewshot": Measure,
                                           "only_tuned": 21, "only_fewshot": 4, "p": 1.0, "wins": "tuned"}

The tuned one is the cheaper call: its prompts hold no examples. So the rival wins only where more of its answers are
right than chance explains: among the rows that one of them alone got right, a one-sided sign test with p <= 0.2.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from freehold.agree import judge
from freehold.engines.bases import Base
from freehold.engines.decoder import DecoderStudent, Examples, Recipe
from freehold.engines.label import encode_checks, encode_prior
from freehold.engines.llama.completion import Answers
from freehold.engines.llama.engine import Engine
from freehold.errors import NothingToLearn
from freehold.measure import share
from freehold.nouns import Answer, Artifact, Task
from freehold.project import Project
from freehold.tell import Tell, quiet
from freehold.tune.decoder.base import shape_of, stored
from freehold.tune.decoder.data import hold_back
from freehold.tune.decoder.recipe import own_json, recipe_of, room
from freehold.tune.rows import Rows

__all__ = ["K", "Measured", "compare", "fewshot", "measure", "rival", "write"]

K = 8
MOST = 60  # held-back rows that both are asked
SHELF = 5000  # examples to choose from
CHECKS = 8
CHANCE = 0.2  # of at least so many rows to the rival alone, were both as good
ENCODER = "all-minilm-l6-v2"
WIDEST = 4096  # ids of a context with examples


class Judges(Protocol):
    def agree(self, ours: str, theirs: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers to the first rows of those asked: as many as there was time for. `seconds` on the clock."""

    answers: list[Answer]
    ok: list[bool]
    seconds: float


def rival(
    texts: Sequence[str], answers: Sequence[str], engine: Answers, recipe: Recipe, *, k: int = K, seed: int = 0
) -> DecoderStudent:
    """The untuned base with examples out of these rows (SHELF of them at most)."""
    chosen = sorted(np.random.default_rng(seed).permutation(len(texts))[:SHELF].tolist())
    pairs = [(texts[i], answers[i]) for i in chosen]
    shown = msgspec.structs.replace(recipe, mode="fewshot", k=k, encoder=ENCODER)
    return DecoderStudent(shown, engine, examples=Examples.of(pairs, ENCODER))


def measure(
    student: DecoderStudent,
    texts: Sequence[str],
    answers: Sequence[str],
    by: Judges,
    *,
    seconds: float,
    what: str,
    tell: Tell = quiet,
) -> Measured:
    """Ask row after row until all are asked or the time is up; CHECKS rows are asked whatever it takes."""
    start = time.monotonic()
    found: list[Answer] = []
    for text in texts:
        if len(found) >= CHECKS and time.monotonic() - start > seconds:
            break
        found += student.answers([text])
        tell(what, len(found) / len(texts))
    ok = [a.able and by.agree(a.text, said) for a, said in zip(found, answers, strict=False)]
    return Measured(found, ok, time.monotonic() - start)


def compare(tuned: Measured, other: Measured) -> dict[str, Any]:
    """Both on the rows that both were asked, paired."""
    n = min(len(tuned.ok), len(other.ok))
    pairs = list(zip(tuned.ok[:n], other.ok[:n], strict=True))
    said: dict[str, Any] = {"rows": n}
    said |= {
        name: msgspec.to_builtins(share(sum(ok[:n]), n)) for name, ok in (("tuned", tuned.ok), ("fewshot", other.ok))
    }
    mine, theirs = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    p = _by_chance(theirs, mine + theirs)
    said |= {
        "only_tuned": mine,
        "only_fewshot": theirs,
        "p": round(p, 4),
        "wins": "fewshot" if p <= CHANCE else "tuned",
    }
    said["seconds_a_call"] = {
        "tuned": tuned.seconds / max(1, len(tuned.ok)),
        "fewshot": other.seconds / max(1, len(other.ok)),
    }
    return said


def _by_chance(k: int, n: int) -> float:
    """P(at least k of n coins show heads): the sign test's p."""
    return float(sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n)


def write(
    student: DecoderStudent,
    measured: Measured,
    own: Sequence[tuple[str, str]],
    project: Project,
    *,
    task: Task,
    base: Artifact,
    how: dict[str, Any],
    data_sha256: str,
) -> Artifact:
    """The rival as an artefact that can be served; `own` are the rows that it was asked."""
    assert student.examples is not None
    texts = [text for text, _ in own][: len(measured.answers)]
    return project.write_artifact(
        {
            "decoder.json": student.recipe.encode(),
            "own.json": own_json([t for t, _ in own], [a for _, a in own]),
            "prior.safetensors": encode_prior(np.array([a.score for a in measured.answers]), np.array(measured.ok)),
            "checks.json": encode_checks(texts[:CHECKS], measured.answers[:CHECKS]),
            **student.examples.files(),
        },
        kind="decoder",
        task=task.name,
        base=base.base,
        licence=base.licence,
        recipe=how,
        data_sha256=data_sha256,
        parents=(base.sha256,),
    )


def fewshot(
    rows: Rows,
    task: Task,
    project: Project,
    base: Base,
    *,
    use: Sequence[int] | None = None,
    k: int = K,
    seconds: float = 240.0,
    seed: int = 0,
    tell: Tell = quiet,
) -> Artifact:
    """The rival alone, as an artefact of kind decoder: what a team gets without tuning. Arguments as tune_decoder."""
    how = {"student": "fewshot 1", "base": base.sha256, "k": k, "seed": seed, "use": None if use is None else len(use)}
    for made in project.artifacts():
        if (made.kind, made.task, made.recipe, made.data_sha256) == ("decoder", task.name, how, rows.sha256):
            return project.read_artifact(made.sha256)
    allowed = sorted(use) if use is not None else list(range(len(rows.texts)))
    learn, own = hold_back(rows.groups[allowed], seed)
    learn, own = [[allowed[i] for i in part if rows.labels[allowed[i]].strip()] for part in (learn, own)]
    if len(own) < CHECKS or not learn:
        raise NothingToLearn(f"{task.name} has too few rows to measure on ({len(own)} held back).")
    work = project.work(f"fewshot-{task.name}")
    kept = stored(base, project, work, tell)
    work.rmdir()
    context = shape_of(base).context
    with Engine.start(project.artifact_path(kept.sha256) / "model.gguf", context=min(context, WIDEST)) as engine:
        texts, answers = [rows.texts[i] for i in learn], [rows.labels[i] for i in learn]
        size = room(engine, task, texts, answers, k, min(context, WIDEST))
        recipe = recipe_of(task, size, answers=answers, quant=str(kept.recipe["quant"]))
        student = rival(texts, answers, engine, recipe, k=size.shown, seed=seed)
        asked = [(rows.texts[i], rows.labels[i]) for i in np.random.default_rng(seed).permutation(own)[:MOST]]
        found = measure(
            student, [t for t, _ in asked], [a for _, a in asked], judge(task), seconds=seconds,
            what="ask the untuned base, with examples", tell=tell,
        )  # fmt: skip
    return write(student, found, asked, project, task=task, base=kept, how=how, data_sha256=rows.sha256)
