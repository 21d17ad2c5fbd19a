"""The rungs of one project while it is served: opened, closed, gone up, each written down, and heard of by others.

opened(audit)     a step for each verdict that says move          closing(step)   and what rests on it
follow(soon)      what other processes did, each second           rising(step)    a step up that the evidence took
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from freehold.engines.hosted_gate import Gate
from freehold.nouns import Audit
from freehold.project import Project, Settings
from freehold.serve.check import check_declared
from freehold.serve.ladder.follow import Follow
from freehold.serve.ladder.runglog import RungLog
from freehold.serve.ladder.rungs import AFTER, Opener, close, open_rungs, rest_on, went_up
from freehold.serve.ladder.step import Step
from freehold.serve.pairing.pairlog import PairLog
from freehold.serve.seats.students import Students
from freehold.tell import Tell

__all__ = ["Kept"]


@dataclass
class Kept:
    """`steps` gives the rungs as they are now. `share` of home answers is asked upstream too (0: nothing is watched),
    `gates` stand before the hosts of open models."""

    project: Project
    settings: Settings
    opener: Opener
    steps: Callable[[], Sequence[Step]]
    tell: Tell
    share: float = 0.0
    gates: dict[str, Gate] = field(default_factory=dict)
    students: Students = field(default_factory=Students)

    def __post_init__(self) -> None:
        self.log = RungLog(self.project, self.tell)
        self.pairs = PairLog(self.project, self.tell)

    def opened(self, audit: Audit, kept: Sequence[Step] = ()) -> list[Step]:
        """The steps of `audit`; of `kept`, which run, those whose verdict is the same. Raises what open_rungs does."""
        check_declared(self.project, audit)
        return open_rungs(
            self.project, audit, self.log, opener=self.opener, students=self.students, pairs=self.share, kept=kept,
            gates=self.gates, rollout=self.settings.rollout, successor=self.settings.successor, pair_log=self.pairs,
            tell=self.tell,
        )  # fmt: skip

    def again(self, kept: Sequence[Step]) -> list[Step]:
        """The same of the project as it is now."""
        return self.opened(self.project.load(Audit), kept)

    def closing(self, step: Step, why: str, by: str = "monitor") -> None:
        self.tell(f"closed {step.rung.task.name}: {why}")
        close(self.log, step, why, by)
        for further in rest_on(self.steps(), step):
            self.closing(further, AFTER, "ladder")

    def rising(self, step: Step, why: str) -> None:
        self.tell(f"{step.rung.task.name} goes up to {step.stage}: {why}")
        went_up(self.log, step, why)

    def follow(self, soon: Callable[..., object]) -> Follow:
        """What other processes on this project do; `soon` runs a call in the event loop."""
        return Follow(self.steps, self.log, self.pairs, self.closing, self.rising, soon, self.tell)

    def close(self) -> None:
        """Write what is still to be written."""
        self.log.retry()
        self.pairs.close()
