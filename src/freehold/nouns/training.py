"""Where a student is trained or tuned, and what that takes: on which devices, and spread over them how.

    Training("whole", "llama-3.1-8b", tokens=2e9, ...)
      ├ Site("h100-sxm", 1, out="No way to spread this training fits ...")
      └ Site("h100-sxm", 8, taken="fsdp", hours, costs, why, command)
          ├ Spread("ddp", need={...}, out="needs 151.2 of 72.0 GiB")
          └ Spread("fsdp", need={...}, computing=0.71, talking=0.13, hours)

`fit` works them out, `plan` and `train --plan` show them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freehold.nouns.calls import Measure

__all__ = ["HERE", "Site", "Spread", "Training", "What"]

HERE = "this-machine"
What = Literal["labels", "tagger", "adapter", "whole"]
"""A label student; a tagger; an adapter on a decoder (LoRA, QLoRA); a model of which every weight learns."""


@dataclass(frozen=True, slots=True)
class Spread:
    """One launch target on a site's devices (or one form of an adapter): bytes on each by what they are for, and of a
    step the seconds that it computes and those that it talks. `hours` of the run: none of the talk is thought to hide
    behind the work, but for the lower end, where all of it is. `out`: why it can't be taken ("": it can)."""

    launch: str
    need: dict[str, int]
    computing: float
    talking: float
    hours: Measure
    out: str = ""

    @property
    def bytes(self) -> int:
        return sum(self.need.values())


@dataclass(frozen=True, slots=True)
class Site:
    """`devices` alike, of `memory` bytes each (0: not known). `taken` names one of the spreads, "" where nothing can be
    trained there: `why`, or `out`. `costs`: the run's device hours at their price."""

    hardware: str
    devices: int
    memory: int = 0
    spreads: tuple[Spread, ...] = ()
    taken: str = ""
    hours: Measure = field(default_factory=lambda: Measure(None, unit="hours"))
    costs: Measure = field(default_factory=lambda: Measure(None, unit="USD"))
    why: str = ""
    command: str = ""
    out: str = ""

    @property
    def here(self) -> bool:
        return self.hardware == HERE

    @property
    def spread(self) -> Spread | None:
        """The one that is taken."""
        return next((one for one in self.spreads if one.launch == self.taken), None)


@dataclass(frozen=True, slots=True)
class Training:
    """One student to train: what it is, from which model, on how many ids (`tokens`, with repeats), in steps of `ids`.
    `taken` is the place in `sites` that is to be used (None: none can be), and `why`."""

    what: What
    model: str
    said: str
    tokens: Measure = field(default_factory=lambda: Measure(None, unit="ids"))
    ids: int = 0
    task: str = ""
    sites: tuple[Site, ...] = ()
    taken: int | None = None
    why: str = ""
    notes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()

    @property
    def site(self) -> Site | None:
        """The one that is to be used."""
        return None if self.taken is None else self.sites[self.taken]
