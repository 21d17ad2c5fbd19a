"""A training job, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from freehold.tell import Tell

__all__ = ["PARALLEL", "Job", "Parallel"]

Parallel = Literal["none", "ddp", "fsdp", "tp", "zero1", "zero2", "zero3"]
PARALLEL: tuple[Parallel, ...] = get_args(Parallel)


@dataclass(frozen=True, slots=True)
class Job:
    """`module` is run as `python -m MODULE FOLDER --parallel NAME` by each process; `run` does the same in this one.

    All that a process needs to know lies in `folder`, and all that comes of it is left there. `about` names the job in
    messages.
    """

    module: str
    folder: Path
    run: Callable[[Tell], None]
    about: str
