"""Is there room: memory for the float32 model beside the rest, disk for the files on the way; told before the start.

needed(weights, ["Q4_K_M", "Q8_0"], tokens=180) -> Need(memory=1.2e9, disk=1.6e9)
check(need, folder)                               TooLittleMemory, in one sentence
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freehold.engines.gguf_write import bytes_of
from freehold.engines.weights import Weights
from freehold.errors import TooLittleMemory
from freehold.shrink.budgets import POSITIONS

__all__ = ["Need", "available", "check", "needed"]

TORCH = 0.7e9  # torch, transformers and the interpreter
WORK = 1.3  # of the weights: activations, and what the allocator keeps


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes."""

    memory: float
    disk: float


def needed(weights: Weights, formats: Sequence[str], tokens: int, *, fold: bool) -> Need:
    """`tokens`: of the longest row. `fold`: the base is a GGUF, and is first unfolded into a folder for torch."""
    whole = 4.0 * sum(float(np.prod(sides)) for sides in weights.sides.values())
    logits = 4.0 * weights.shape.vocabulary
    files = bytes_of(weights, "F32") + sum(bytes_of(weights, form) for form in formats)
    largest = max((bytes_of(weights, form) for form in formats), default=0)  # written again as the artefact
    return Need(
        memory=WORK * whole + 6 * logits * tokens + TORCH,
        disk=files + largest + (whole if fold else 0.0) + logits * (POSITIONS + tokens),
    )


def available() -> float | None:
    """Bytes of memory that can be had without swapping; None where the system does not say."""
    path = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", path.read_text()) if path.is_file() else None
    return None if found is None else 1024.0 * int(found[1])


def check(need: Need, folder: Path, memory: float | None = None) -> None:
    """Raises TooLittleMemory; `memory` is what there is, where it is known already."""
    there = available() if memory is None else memory
    if there is not None and need.memory > there:
        raise TooLittleMemory(
            f"Measuring against the float32 model takes about {need.memory / 1e9:.1f} GB of memory, and "
            f"{there / 1e9:.1f} GB are free.",
            "Close other programs, use a machine with more memory, or a smaller base.",
        )
    free = float(shutil.disk_usage(folder).free)
    if need.disk > free:
        raise TooLittleMemory(
            f"The files on the way take about {need.disk / 1e9:.1f} GB of disk, and {folder} has {free / 1e9:.1f} GB.",
            "Make room, or give fewer --formats.",
        )
