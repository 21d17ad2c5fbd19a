"""What a folder of safetensors holds, by its headers alone: each tensor is read where it lies, in float32.

stored(model.safetensors) -> {"model.norm.weight": Stored(path, "BF16", (576,), at, bytes)}
Stack((expert 0, expert 1, ...))       tensors of one shape, read as one of a dimension more
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.gguf.read import refuse_pickle
from freehold.errors import BaseUnusable

__all__ = ["Stack", "Stored", "files", "read_json", "stored"]

Floats = npt.NDArray[np.float32]
KINDS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True)
class Stored:
    """Where a safetensors file keeps a tensor."""

    path: Path
    kind: str
    sides: tuple[int, ...]
    at: int
    bytes: int

    def read(self) -> Floats:
        raw = np.fromfile(self.path, np.uint8, count=self.bytes, offset=self.at)
        if raw.nbytes != self.bytes:
            raise BaseUnusable(f"{self.path} is cut.", "Fetch the file again.")
        found = raw.view(KINDS[self.kind])
        if self.kind == "BF16":  # the upper half of a float32
            return (found.astype(np.uint32) << 16).view(np.float32).reshape(self.sides)
        return found.astype(np.float32).reshape(self.sides)


@dataclass(frozen=True)
class Stack:
    """Tensors of one shape, each where a file keeps it."""

    parts: tuple[Stored, ...]

    @property
    def sides(self) -> tuple[int, ...]:
        return (len(self.parts), *self.parts[0].sides)

    def read(self) -> Floats:
        whole = np.empty(self.sides, np.float32)
        for i, part in enumerate(self.parts):
            whole[i] = part.read()
        return whole


def read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BaseUnusable(f"{path} can't be read: {error}.", "Fetch it again.") from error
    return found


def files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    return sorted(folder / Path(name).name for name in set(read_json(index)["weight_map"].values()))


def stored(path: Path) -> dict[str, Stored]:
    """The header of a safetensors file: u64 length, JSON, then the bytes."""
    try:
        size = path.stat().st_size
        refuse_pickle(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            said = json.loads(file.read(min(length, size)))
        said.pop("__metadata__", None)
        found = {
            name: Stored(path, row["dtype"], tuple(row["shape"]), 8 + length + row["data_offsets"][0],
                         row["data_offsets"][1] - row["data_offsets"][0])
            for name, row in said.items()
        }  # fmt: skip
    except OSError as error:
        raise BaseUnusable(f"{path} can't be read: {error.strerror}.", "Give a folder with safetensors.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseUnusable(f"{path} is no safetensors file.", "Fetch the file again.") from error
    for name, place in found.items():
        if place.kind not in KINDS:
            raise BaseUnusable(f"{path} holds {name!r} in {place.kind}; {', '.join(KINDS)} are read.")
        if place.at + place.bytes > size:
            raise BaseUnusable(f"{path} is cut: {name!r} lies behind its end.", "Fetch the file again.")
    return found
