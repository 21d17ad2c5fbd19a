"""Half a training on disk: killed at any step, it goes on as if it had not been, to the last bit.

    checkpoint.safetensors   adapter.<name>, m.<name>, v.<name> (Adam's), rng, rng.cuda (torch's); in its header
                             the plan, the step, the losses so far, the key of what was asked (base, rows, prompt, ...)

The rate and the rows of a step follow from its number. Never a pickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import ArtifactDamaged
from freehold.project import write_atomic
from freehold.tune.decoder.plan import Plan

__all__ = ["NAME", "Checkpoint", "read", "write"]

NAME = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """After `step` steps. `seconds` are those that they took, of CPU or on the clock (Device.seconds)."""

    key: str
    plan: Plan
    step: int
    losses: list[float]
    seconds: float
    tensors: dict[str, Any]


def write(folder: Path, state: Checkpoint) -> None:
    from safetensors.torch import save

    about = {"key": state.key, "plan": state.plan, "step": state.step, "losses": state.losses, "seconds": state.seconds}
    write_atomic(folder / NAME, save(state.tensors, {"freehold": msgspec.json.encode(about).decode()}))


def read(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of this very run; None where there is none, or it is of another run.

    Raises ArtifactDamaged where it can't be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = msgspec.json.decode((file.metadata() or {}).get("freehold", "{}"), type=dict[str, Any])
            if about.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        plan = msgspec.convert(about["plan"], Plan)
        return Checkpoint(key, plan, about["step"], about["losses"], about["seconds"], tensors)
    except (SafetensorError, msgspec.DecodeError, msgspec.ValidationError, KeyError, OSError) as error:
        raise ArtifactDamaged(f"{path} can't be read: {error}.", "Remove it; the training starts again.") from error
