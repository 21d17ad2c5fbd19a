"""Rows that a teacher wrote beside logged ones: in the same steps, each of their ids at a weight of its own.

    Made(texts, answers, weight=0.5, about={...}, file=b"...")      as they come in (tune/synthetic)
    mixed(learn, made, 0.5) -> Examples of both                     as training sees them
    loss = sum of weight * cross-entropy over all answer ids / sum of weights

Logged rows have the weight 1. What is held back, compared and shown as an example is logged alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from freehold.tune.decoder.data import Example, Examples
from freehold.tune.decoder.model import logits

__all__ = ["Made", "Weighted", "Weights", "mixed", "seen"]


@dataclass(frozen=True, slots=True)
class Made:
    """`about` is for the recipe, `file` is kept as synthetic.jsonl."""

    texts: Sequence[str]
    answers: Sequence[str]
    weight: float
    about: dict[str, Any] = field(default_factory=dict)
    file: bytes = b""

    @property
    def sha256(self) -> str:
        said = [list(self.texts), list(self.answers), self.weight]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


@dataclass(frozen=True, slots=True)
class Weighted(Example):
    weight: float = 1.0


class Weights:
    """The likelihood of the answers, each id at its row's weight."""

    rows = 1

    def weight(self, example: Example, /) -> float:
        return _weight(example) * len(example.answer)

    def loss(self, model: Any, examples: Sequence[Example], prefix: Sequence[int], pad: int, /) -> Any:
        import torch

        found, wanted = logits(model, examples, prefix, pad)
        each = torch.nn.functional.cross_entropy(found, wanted, reduction="none")
        by = torch.tensor([_weight(one) for one in examples for _ in one.answer], device=each.device)
        return (each * by).sum() / by.sum()


def _weight(example: Example) -> float:
    return example.weight if isinstance(example, Weighted) else 1.0


def mixed(learn: Examples, made: Examples, weight: float) -> Examples:
    """Both have the same prefix; the made ones come last."""
    others = tuple(Weighted(row.rest, row.answer, weight) for row in made.rows)
    return Examples(learn.prefix, (*learn.rows, *others), (*learn.kept, *made.kept), learn.left_out)


def seen(logged: int, made: int, rows: int, seed: int) -> int:
    """Of the made rows, how many are among the `rows` that a run draws (data.run)."""
    chosen = np.random.default_rng(seed).permutation(logged + made)[:rows]
    return int((chosen >= logged).sum())
