"""Where a model lies while it is trained, and how its parts come together: the seam behind which launch targets stand.

    none    one process holds it all                          alone.py
    ddp     each process holds it all, and some of the rows   spread.py
    fsdp    each holds a part of it, and some of the rows     spread.py
    tp      each holds a part of it, and all of the rows      spread.py
    zero1..3   DeepSpeed's                                    zero.py

A place says how the model is loaded, which slice of a step's rows this process takes, how whole tensors (weights,
Adam's means) are gathered for a checkpoint and put back, and it adds up a few numbers over all processes. The loop does
the rest, so a checkpoint that one place wrote goes on in any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from freehold.errors import BadSetting
from freehold.launch.job import PARALLEL, Parallel
from freehold.train.loop.alone import Alone

__all__ = ["Place", "open_place"]


class Place(Protocol):
    """`rank`: of this process, and 0 writes. It takes slice `share` of `shares` of each step's rows."""

    rank: int
    share: int
    shares: int

    def arguments(self) -> dict[str, Any]:
        """More fields of transformers.TrainingArguments; asked before the model is loaded."""
        ...

    def load(self, folder: Path, how: Mapping[str, Any]) -> Any:
        """The model of a Hugging Face folder, laid where it belongs; `how` goes to from_pretrained."""
        ...

    def full(self, trainer: Any) -> Iterator[tuple[str, Any]]:
        """model.<n>, m.<n>, v.<n> as whole tensors, by transformers' parameter names. All processes call it and walk
        through to the end; rank 0 keeps what it is given."""
        ...

    def put(self, trainer: Any, tensors: Mapping[str, Any], step: int) -> None:
        """Lay whole tensors, as `full` gave them, where they belong, after the optimizer is made. `step`: how many
        Adam has done. Every process can read all of `tensors`."""
        ...

    def add_up(self, values: Sequence[float]) -> list[float]:
        """Each value's sum over the shares. All processes call it, and all get the same."""
        ...

    def settle(self, trainer: Any) -> None:
        """After a pass that no backward pass follows."""
        ...

    def close(self) -> None:
        """At the end, also of a training that failed."""
        ...


def open_place(parallel: Parallel) -> Place:
    """Joins the other processes, which torchrun has started, where there are any."""
    if parallel == "none":
        return Alone()
    if parallel in ("ddp", "fsdp", "tp"):
        from freehold.train.loop.spread import Spread

        return Spread(parallel)
    if parallel in ("zero1", "zero2", "zero3"):
        from freehold.train.loop.zero import Zero

        return Zero(parallel)
    raise BadSetting(f"The loop has no place called {parallel!r}.", f"Known: {', '.join(PARALLEL)}.")
