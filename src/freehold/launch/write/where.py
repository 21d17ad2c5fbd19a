"""The machines that a training is written for, and what is said of all of them.

Where(machines=2, processes=8, parallel="fsdp")    16 processes, of which each has a card
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.launch.job import PARALLEL, Parallel

__all__ = ["Where", "home", "named", "packages"]

HOME = """\
## The model comes home
`job/checkpoint.safetensors` is the one checkpoint: what was begun in {all} processes goes on in any other number, here
too. When `job/result/training.json` is there, the training has ended. Copy `job/result` into the folder of this run in
your project, and say the same `freehold train` again without `--write`: it finds the result and stores the model.

    cp -r job/result {work}/coming && mv {work}/coming {work}/result
"""


@dataclass(frozen=True, slots=True)
class Where:
    """`processes` on each of `machines`, one a card. `memory`: bytes of a card. `work`: the run's folder at home;
    `licence`: of the model that comes of it."""

    machines: int = 1
    processes: int = 8
    parallel: Parallel = "fsdp"
    memory: float = 80e9
    work: str = "PROJECT/work/train-..."
    licence: str = "unknown"

    @property
    def all(self) -> int:
        return self.machines * self.processes

    def checked(self) -> Where:
        """Itself. Raises BadSetting."""
        if self.machines < 1 or self.processes < 1:
            raise BadSetting(f"{self.machines} machines of {self.processes} processes.", "Give 1 or more of each.")
        if self.parallel not in PARALLEL or self.parallel == "none":
            raise BadSetting(f"launch is {self.parallel!r}.", f"Known elsewhere: {', '.join(PARALLEL[1:])}.")
        return self


def home(where: Where) -> str:
    return HOME.format(all=where.all, work=shlex.quote(where.work))


def named(job: dict[str, Any]) -> str:
    """The same training, the same name: where it goes on, nothing of another one lies."""
    said = msgspec.json.encode([job["plan"], job["corpus"]["sha256"], job["start"]], order="deterministic")
    return f"freehold-{hashlib.sha256(said).hexdigest()[:12]}"


def packages(where: Where) -> str:
    """Of the version that wrote the job, which reads it."""
    extras = "tune,launch" if where.parallel.startswith("zero") else "tune"
    return f"freehold[{extras}]=={version('freehold')}"
