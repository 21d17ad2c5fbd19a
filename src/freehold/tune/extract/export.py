"""From trained weights to what is served, and what that costs.

weights ─int8 graph→ asked on the held-back rows, beside torch's float32 on the same rows
            ├ loses more than DAMAGE of the answers (those right before, less those right only now) → float graph
            └ else int8: a quarter of the size, twice as fast
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.engines.extract.decode import FEATURES
from freehold.engines.extract.form import Form
from freehold.engines.extract.graph import tagger_onnx
from freehold.engines.extract.read import Read
from freehold.engines.extract.student import VERSION, About, ExtractStudent, Score
from freehold.tune.extract.answers import Parsed
from freehold.tune.extract.start import Start, graph_weights
from freehold.tune.extract.train import Trained, hidden_of
from freehold.tune.extract.understand import same_answer

__all__ = ["DAMAGE", "Exported", "export"]

DAMAGE = 0.01
UNSCORED = Score((0.0,) * len(FEATURES), (1.0,) * len(FEATURES), (1.0, *(0.0,) * (len(FEATURES) - 1)), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """`files` without student.json, whose content is `about` but for the score; what the served form knows of each
    held-back row (`features` [n, k]), whether it can answer (`able` [n]) and is right (`ok` [n])."""

    about: About
    files: dict[str, bytes]
    features: npt.NDArray[np.float64]
    able: npt.NDArray[np.bool_]
    ok: npt.NDArray[np.bool_]
    why: str


def export(
    start: Start, form: Form, trained: Trained, words: tuple[str, ...], reads: Sequence[Read], parsed: Sequence[Parsed]
) -> Exported:
    """`reads`, `parsed`: the held-back rows."""
    from safetensors.numpy import save

    heads = {name: np.ascontiguousarray(head) for name, head in sorted(trained.heads.items())}
    saved = save(heads)
    named, shapes = graph_weights(start, trained.weights), trained.weights["shapes"]
    why, texts = "", [read.text for read in reads]
    for int8 in (True, False):
        about = About(VERSION, start.name, start.most, int8, form, words, UNSCORED)
        shape = start.shape
        model = tagger_onnx(named, shapes, heads=shape.heads, layers=shape.layers, epsilon=shape.epsilon, int8=int8)
        student = ExtractStudent(about, heads, model, start.tokenizer)
        served = [found for found in student.look(texts) if found is not None]
        answers = [student.written(*found) for found in served]
        before = [student.written(read, student.decide(read, h)) for read, h in hidden_of(start, trained, reads)]
        ok, was = _right(student, answers, parsed), _right(student, before, parsed)
        lost, changed = int(was.sum() - ok.sum()), sum(a != b for a, b in zip(answers, before, strict=True))
        fewer = f"{abs(lost)} {'fewer' if lost >= 0 else 'more'} are right"
        said = f"of {len(ok):,} held-back answers {changed} differ from torch's, and {fewer}"
        if not int8:
            why = f"float32, since int8 loses too much ({why}); in float32 {said}"
        elif lost <= DAMAGE * len(ok):
            why = f"int8: {said}"
        else:
            why = said
            continue
        features = np.array([found.features for _, found in served])
        files = {"student.safetensors": saved, "model.onnx": model, "tokenizer.json": start.tokenizer}
        able = np.array([answer is not None for answer in answers])
        return Exported(about, files, features, able, ok, why)
    raise AssertionError("the float graph is always taken")


def _right(student: ExtractStudent, answers: Sequence[str | None], parsed: Sequence[Parsed]) -> npt.NDArray[np.bool_]:
    style = student.form.style
    bodies = [None if a is None else a[len(style.before) : len(a) - len(style.after)] for a in answers]
    return np.array(
        [b is not None and same_answer(json.loads(b), p.answer) for b, p in zip(bodies, parsed, strict=True)]
    )
