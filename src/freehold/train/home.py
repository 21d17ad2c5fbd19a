"""The result of a training, looked at before it is stored: it may have been copied here from other machines.

come(work/train-1f3a, plan) → Trained     refused: half a copy, and the result of another plan
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import ArtifactDamaged, BaseUnusable
from freehold.train.job import RESULT
from freehold.train.model import shape_of
from freehold.train.nouns import Plan, Shape, Trained

__all__ = ["come"]


def come(work: Path, plan: Plan) -> Trained:
    """Raises ArtifactDamaged."""
    from safetensors import SafetensorError

    folder = work / RESULT
    hint = f"Remove {folder}, or copy it again, whole: without it the training goes on here."
    try:
        trained = msgspec.json.decode((folder / "training.json").read_bytes(), type=Trained)
        shape = _shape(folder)
    except (OSError, msgspec.DecodeError, SafetensorError, BaseUnusable) as error:
        raise ArtifactDamaged(f"{folder} is not whole: {error}.", hint) from error
    found = (trained.steps, len(trained.losses), trained.tokens, replace(shape, context=plan.shape.context))
    if found != (plan.steps, plan.steps, plan.tokens, plan.shape):
        raise ArtifactDamaged(
            f"{folder} is of another training: {trained.steps:,} steps and {trained.tokens:,} tokens, and this one has "
            f"{plan.steps:,} and {plan.tokens:,}{'' if shape == plan.shape else ', or another shape'}.", hint,
        )  # fmt: skip
    return trained


def _shape(folder: Path) -> Shape:
    """Of the model whose weights lie there whole."""
    from safetensors import safe_open

    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError("there are no weights")
    for path in weights:
        with safe_open(path, framework="np"):  # it compares the header with the size
            pass
    return shape_of(msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any]))
