"""Is there room: memory for the float32 model that is measured against, disk for the files on the way.

check(weights, ["Q4_K_M", "Q8_0"], tokens=512, folder=..., fold=True)     TooLittleMemory, before anything is written
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from freehold import fit
from freehold.engines.gguf.weights import Weights
from freehold.engines.gguf.write import bytes_of
from freehold.errors import TooLittleMemory
from freehold.shrink.budgets import POSITIONS

__all__ = ["check", "disk", "memory"]

SLACK = 1.3  # of the weights: activations, and what the allocator keeps
COPIES = 6  # of a row's logits: both models', their logarithms, what is summed


def check(weights: Weights, formats: Sequence[str], tokens: int, folder: Path, *, fold: bool) -> None:
    """`tokens`: of the longest row. `fold`: the base is a GGUF, and is first unfolded into a folder for torch."""
    fit.refuse(memory(weights, tokens), "Measuring against the float32 model")
    wanted, free = disk(weights, formats, tokens, fold=fold), shutil.disk_usage(folder).free
    if wanted > free:
        raise TooLittleMemory(
            f"The files on the way take about {wanted / 1e9:.1f} GB of disk, and {folder} has {free / 1e9:.1f} GB.",
            "Make room, or give fewer --formats.",
        )


def memory(weights: Weights, tokens: int) -> dict[str, int]:
    return {
        "weights": int(SLACK * _whole(weights)),
        "logits": COPIES * 4 * weights.shape.vocabulary * tokens,
        "program": fit.PROGRAM,
    }


def disk(weights: Weights, formats: Sequence[str], tokens: int, *, fold: bool) -> int:
    files = bytes_of(weights, "F32") + sum(bytes_of(weights, form) for form in formats)
    largest = max(bytes_of(weights, form) for form in formats)  # it is copied into the artefact
    return files + largest + (_whole(weights) if fold else 0) + 4 * weights.shape.vocabulary * (POSITIONS + tokens)


def _whole(weights: Weights) -> int:
    return 4 * sum(int(np.prod(sides)) for sides in weights.sides.values())
