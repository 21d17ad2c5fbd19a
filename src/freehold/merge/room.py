"""Is there room: memory and disk that a merge takes, told before it starts. No tensor is read.

    whole models   the program, the largest tensor of each model in float32 with what is made of them, and the piece of
                   the result that is being written (SHARD; experts are put together again whole)
    adapters       all of them in float32 twice, and of one layer what each adds to it

Weights are mapped from their files: the system takes their pages back, so they don't count.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold import fit
from freehold.engines.bases import Base
from freehold.errors import StorageFailed
from freehold.merge.alike import shapes
from freehold.merge.nouns import How

__all__ = ["SHARD", "check_disk", "memory_of_adapters", "memory_of_models"]

SHARD = 1_000_000_000  # bytes of the result that are held before they are written
BESIDE = 2  # tensors beside those of the models: what is summed, and what is made of it
MORE = 6  # of a layer: the sum, its mask, and what its singular values take
WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
Tensors = Mapping[str, Any]


def memory_of_models(models: Sequence[Base], how: How, dtype: str) -> fit.Need:
    """Bytes of the process that merges them, by part."""
    sizes = {name: math.prod(sides) for name, sides in shapes(models[0].path).items()}
    whole, largest = sum(sizes.values()) * WIDTH[dtype], 4 * max(sizes.values())
    several = len(models) + (how.base is not None) + BESIDE
    need = {"program": fit.PROGRAM, "largest tensor": several * largest, "result": min(whole, SHARD)}
    if any(".experts." in name for name in sizes):
        need["result"] = 2 * whole
    return need


def memory_of_adapters(adapters: Sequence[Tensors], how: How) -> fit.Need:
    whole = sum(4 * tensor.numel() for tensors in adapters for tensor in tensors.values())
    layer = max(4 * _dense(tensors) for tensors in adapters)
    dense = 0 if how.method in ("linear", "task_arithmetic") else (len(adapters) + MORE) * layer
    return {"program": fit.PROGRAM, "adapters": 3 * whole, "largest layer": dense}


def _dense(tensors: Tensors) -> int:
    """Numbers that the adapter adds to its largest layer."""
    named = {name: tensor for name, tensor in tensors.items() if name.endswith("lora_A.weight")}
    return max(
        (len(tensors[name.replace("lora_A", "lora_B")]) * a.shape[1] for name, a in named.items()
         if name.replace("lora_A", "lora_B") in tensors), default=0,
    )  # fmt: skip


def check_disk(work: Path, models: Sequence[Base], copies: int) -> None:
    """The result lies there twice for a while, and each part that is made whole once. Raises StorageFailed."""
    one = max(_bytes(model) for model in models)
    need, free = (2 + copies) * one, shutil.disk_usage(work).free
    if free < need:
        raise StorageFailed(
            f"The merge needs {need / 1e9:.1f} GB in {work}, and {free / 1e9:.1f} GB are free.", "Make room there."
        )


def _bytes(model: Base) -> int:
    """As safetensors; a GGUF takes its weights in float32, at most 8 times as much."""
    if model.form == "gguf":
        return 8 * model.path.stat().st_size
    return sum(path.stat().st_size for path in model.path.glob("*.safetensors"))
