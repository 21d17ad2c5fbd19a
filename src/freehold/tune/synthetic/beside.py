"""Two tuned students of one base, asked the same held-back rows: what the made rows are worth to a decoder.

    beside(with_, without, own, judge, minutes) -> Value    paired, on as many rows as there is time for

An adapter is asked as it was compared in its tuning: float32 LoRA on the project's base. Where both tunings ended with
the untuned base and logged examples, the made rows taught nobody, and the difference is 0.
"""

from __future__ import annotations

from pathlib import Path

from freehold.agree import Judge
from freehold.engines.decoder import DecoderStudent, Examples, Recipe
from freehold.engines.gguf.weights import Lora, open_weights
from freehold.engines.gguf.write import write_adapter
from freehold.engines.llama.engine import Engine
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.tell import Tell
from freehold.tune.decoder.fewshot import measure
from freehold.tune.decoder.plan import shares
from freehold.tune.rows import Rows
from freehold.tune.synthetic.made import Value
from freehold.tune.synthetic.value import paired

__all__ = ["beside"]


def beside(
    with_: Artifact, without: Artifact, own: Rows, by: Judge, minutes: float, project: Project, work: Path, tell: Tell
) -> Value:  # fmt: skip
    model = project.artifact_path(without.parents[0]) / "model.gguf"
    recipes = [Recipe.read(project.artifact_path(one.sha256)) for one in (with_, without)]
    adapters = [
        _adapter(one, project, model, work / f"{one.sha256[:12]}.gguf")
        for one, recipe in zip((with_, without), recipes, strict=True)
        if recipe.mode == "adapter"
    ]
    seconds, ok = shares(minutes)[1], list[list[bool]]()
    order = _order(len(own.texts))
    texts, answers = [own.texts[i] for i in order], [own.labels[i] for i in order]
    with Engine.start(model, adapters=adapters, context=max(recipe.context for recipe in recipes)) as engine:
        at = 0
        for one, recipe, what in zip((with_, without), recipes, ("with", "without"), strict=True):
            tuned = recipe.mode == "adapter"
            shown = None if tuned else Examples.read(project.artifact_path(one.sha256), recipe.encoder)
            student = DecoderStudent(recipe, engine, adapter=at if tuned else None, examples=shown)
            at += tuned
            n = len(ok[0]) if ok else len(texts)
            limit = float("inf") if ok else seconds  # as many rows as the first had time for
            said = measure(
                student, texts[:n], answers[:n], by, seconds=limit, what=f"ask the student {what} them", tell=tell
            )
            ok.append(said.ok)
    return paired(*ok)


def _order(n: int) -> list[int]:
    import numpy as np

    order: list[int] = np.random.default_rng(0).permutation(n).tolist()
    return order


def _adapter(made: Artifact, project: Project, model: Path, to: Path) -> Path:
    weights = open_weights(model)
    how = made.recipe["plan"]
    write_adapter(
        Lora.open(project.artifact_path(made.sha256) / "adapter.safetensors", weights, alpha=how["alpha"]),
        weights.shape, to,
    )  # fmt: skip
    return to
