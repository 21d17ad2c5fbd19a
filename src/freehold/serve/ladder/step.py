"""A rung and what stands behind it: its student, its watch, how far it has got."""

from __future__ import annotations

from dataclasses import dataclass, replace

from freehold import measure
from freehold.agree import Judge
from freehold.errors import FreeholdError
from freehold.nouns import Measure, Verdict
from freehold.serve.ladder.route import Rung
from freehold.serve.ladder.stage import Stage
from freehold.serve.pairing.monitor import Monitor
from freehold.serve.seats.students import Seat

__all__ = ["Beside", "Step", "after"]


@dataclass(slots=True)
class Beside:
    """Pairs with a successor's answers, counted apart: they say how far `model` has another taste, and nothing about
    the promise. They close no rung, and take none a step up."""

    model: str
    seen: int = 0
    differed: int = 0

    def pair(self, agrees: bool) -> None:
        self.seen += 1
        self.differed += not agrees

    @property
    def agreement(self) -> Measure:
        found = measure.share(self.seen - self.differed, self.seen)
        return replace(found, method=f"agreement with {self.model}, {found.method}")


@dataclass(slots=True)
class Step:
    """A rung and what runs behind it. `title` says what the student is; `judge` compares its answers with the
    upstream's; `bill` is what a call of the task cost on average, in USD (None: not known); `damage` is the error that
    kept it from opening at start. `stage` says which users it answers. `asks` is the share of the calls that go up
    because of the stage which the student is asked about too. `frozen` is the day from which on a successor answers in
    the place of the model that the promise is about; pairs count in `beside` from then on."""

    rung: Rung
    seat: Seat | None = None
    title: str = ""
    judge: Judge | None = None
    verdict: Verdict | None = None
    monitor: Monitor | None = None
    bill: float | None = None
    damage: FreeholdError | None = None
    stage: Stage | None = None
    asks: float = 1.0
    frozen: str = ""
    beside: Beside | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The task, and the student's sha256."""
        return self.rung.task.name, self.rung.student

    def shut(self, why: str) -> None:
        """Answer nothing from here on."""
        self.rung = replace(self.rung, open=False, why=why)
        if self.stage is not None:
            self.stage.close()


def after(verdict: Verdict | None) -> str:
    """The sha256 of the student whose deferred calls the verdict was proved on; "" where those were all calls."""
    return verdict.after if verdict is not None else ""
