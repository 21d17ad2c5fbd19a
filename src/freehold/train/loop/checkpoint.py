"""Half a training on disk, in one form wherever it runs: killed at any step, it goes on as if it had not been.

    checkpoint.safetensors
        model.<name>  m.<name>  v.<name>     the model and Adam's two means, whole tensors by transformers' own names,
                                             however many processes hold them
        rng.torch rng.numpy rng.python       random numbers (rng.cuda with a GPU)
        sha256                               of all that stands before it in the file: a flipped bit is found
    its header: {"key", "step", "losses", "evals", "seconds", "cpu_seconds", "threads"}

The rate and the rows of a step follow from its number. The file before stays until this one is whole. Never a pickle.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from freehold.errors import ArtifactDamaged
from freehold.project.storage import writing
from freehold.train.nouns import Eval

__all__ = ["CHECKPOINT", "About", "Checkpoint", "clean", "read", "write"]

CHECKPOINT = "checkpoint.safetensors"
DIGEST = "sha256"
BLOCK = 1 << 22


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After `step` steps. `losses`: one a step, nats a token. `seconds` on the clock, `cpu_seconds` of rank 0."""

    key: str
    step: int = 0
    losses: tuple[float, ...] = ()
    evals: tuple[Eval, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    threads: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """`tensors` may be read from the disk only as they are asked for."""

    about: About
    tensors: Mapping[str, Any] = field(default_factory=dict)


def write(folder: Path, state: Checkpoint) -> None:
    """Tensor by tensor, so that nothing is held twice. Raises StorageFailed, with the file before as it was."""
    from safetensors.torch import _TYPES as types

    named = {torch_type: name for name, torch_type in types.items()}
    head: dict[str, Any] = {"__metadata__": {"freehold": msgspec.json.encode(state.about).decode()}}
    at = 0
    for name, tensor in state.tensors.items():
        end = at + tensor.numel() * tensor.element_size()
        head[name] = {"dtype": named[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    head[DIGEST] = {"dtype": "U8", "shape": [32], "data_offsets": [at, at + 32]}
    with writing(folder / CHECKPOINT, 0o600) as file:
        digest = hashlib.sha256()
        for data in _parts(head, state.tensors):
            digest.update(data)
            file.write(data)
        file.write(digest.digest())


def _parts(head: dict[str, Any], tensors: Mapping[str, Any]) -> Iterator[Any]:
    import torch

    said = msgspec.json.encode(head)
    said += b" " * (-len(said) % 8)
    yield struct.pack("<Q", len(said)) + said
    for tensor in tensors.values():
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def read(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of this very training; None where there is none, or it is of another one.

    Raises ArtifactDamaged where the file is not what was written.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            _compare(file, path.stat().st_size)
        with safe_open(path, framework="pt") as file:
            about = msgspec.json.decode((file.metadata() or {}).get("freehold", "{}"), type=About)
            names = {name for name in file.keys() if name != DIGEST}  # noqa: SIM118
    except (SafetensorError, msgspec.DecodeError, msgspec.ValidationError, ValueError, OSError) as error:
        raise ArtifactDamaged(
            f"{path} is damaged: {error}.", "Remove it; the training starts again, and nothing else is lost."
        ) from error
    return Checkpoint(about, _Stored(path, names)) if about.key == key else None


def clean(folder: Path) -> None:
    """Take away what a killed process left half written."""
    for path in folder.glob(f".{CHECKPOINT}.*.tmp"):
        path.unlink(missing_ok=True)


def _compare(file: BinaryIO, size: int) -> None:
    digest, left = hashlib.sha256(), size - 32
    while left > 0:
        if not (data := file.read(min(BLOCK, left))):
            break
        digest.update(data)
        left -= len(data)
    if left or file.read() != digest.digest():
        raise ValueError("its bytes are not the ones that were written")


class _Stored(Mapping[str, Any]):
    """The tensors of a file, each read when it is asked for."""

    def __init__(self, path: Path, names: set[str]) -> None:
        from safetensors import safe_open

        self._file, self._names = safe_open(path, framework="pt"), names

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)  # type: ignore[no-untyped-call]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)
