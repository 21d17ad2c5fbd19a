"""How large a model: the largest whose 20 tokens a parameter the budget pays for, climbing the ladder.

    width  active   learns in 8.4 minutes   worth      asks for
      96    0.6M        14.2M tokens         12.9M       12.3M
     128    0.9M        10.9M                10.2M       19.0M      too much: the one before is taken

climb(shapes, Budget(once=3_700_000, seconds=504), measured) -> Size(shape, parameters, active, tokens, ..., why)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from freehold.errors import TooLittleMemory
from freehold.fit import Architecture, active, parameters
from freehold.launch.job import Parallel
from freehold.train.dial.batch import ids_a_step
from freehold.train.dial.enough import A_PARAMETER, EPOCHS, worth
from freehold.train.dial.memory import architecture, fits, need
from freehold.train.dial.speed import Speed
from freehold.train.nouns import Shape

__all__ = ["FORWARD", "LOOKING", "MEASURED", "Budget", "Size", "SpeedOf", "climb", "millions", "sized"]

MEASURED = 1024  # ids of a step that is measured
LOOKING = 0.05  # of the time, for looks at held-out text on the way
FORWARD = 1 / 3  # of what an id costs when it is learned from
WHOLE = 1 << 20  # ids that the last look takes at most


class SpeedOf(Protocol):
    def __call__(self, shape: Shape, rows: int, /) -> Speed: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds or tokens, one of them. `once` and `held_out`: the text's tokens. `processes` share a step's rows;
    `card`: bytes that each has elsewhere, 0 here."""

    once: int
    held_out: int
    seconds: float | None = None
    tokens: int | None = None
    processes: int = 1
    parallel: Parallel = "none"
    card: float = 0.0

    def fits(self, a: Architecture, shape: Shape, rows: int) -> None:
        """Raises TooLittleMemory, BadSetting."""
        needed = need(
            a, shape, rows, parallel=self.parallel, processes=self.processes, held_out=self.held_out,
            cards=self.card > 0,
        )  # fmt: skip
        fits(shape, needed, self.processes, self.card)

    def learned(self, speed: Speed, ids: float) -> float:
        """Tokens, in what the seconds leave beside looks at held-out text; the last look is at all of it."""
        assert self.seconds is not None
        last = min(self.held_out, WHOLE) * FORWARD * speed.an_id
        left = max(self.seconds / 2, self.seconds - last) / (1 + LOOKING)
        return self.processes * speed.tokens(left, max(1, ids / self.processes))


@dataclass(frozen=True, slots=True)
class Size:
    """`tokens` are learned from, `rows` a step; `worth` is what they teach, in tokens never read before. `why`: what
    ended the ladder."""

    shape: Shape
    parameters: int
    active: int
    tokens: float
    worth: float
    rows: int
    speed: Speed | None = None
    why: str = ""

    @property
    def asks(self) -> float:
        """Tokens."""
        return A_PARAMETER * self.active


def climb(shapes: Iterable[Shape], budget: Budget, speed_of: SpeedOf) -> Size:
    """The last shape that has enough to learn; the first where not even that one has. Raises TooLittleMemory where the
    first doesn't fit."""
    taken: Size | None = None
    for shape in shapes:
        try:
            this = sized(shape, architecture(shape), budget, speed_of)
        except TooLittleMemory as error:
            if taken is None:
                raise
            return replace(taken, why=f"The next does not fit: {error.message}")
        short = f"asks for {millions(this.asks)} and would get what {millions(this.worth)} are worth"
        if taken is None and this.worth < this.asks:
            return replace(this, why=f"The smallest there is: it {short}.")
        if taken is not None and this.worth < this.asks:
            return replace(taken, why=f"The next, {shape.layers} of {shape.width}, {short}.")
        taken = this
    assert taken is not None
    return taken


def sized(shape: Shape, a: Architecture, budget: Budget, speed_of: SpeedOf) -> Size:
    """One shape under the budget. Minutes that would read the text more than EPOCHS times are not used up. Raises
    TooLittleMemory: before it is measured, where not even a row of each process fits."""
    budget.fits(a, shape, budget.processes)
    speed = None
    tokens = float(budget.tokens or 0)
    if budget.tokens is None:
        speed = speed_of(shape, max(1, MEASURED // shape.context))
        tokens = min(budget.learned(speed, ids_a_step(budget.learned(speed, MEASURED))), EPOCHS * budget.once)
    rows = budget.processes * max(1, round(ids_a_step(tokens) / shape.context / budget.processes))
    budget.fits(a, shape, rows)
    return Size(shape, parameters(a), active(a), tokens, worth(tokens, budget.once), rows, speed)


def millions(number: float) -> str:
    return f"{number / 1e6:,.1f}M" if number >= 1e5 else f"{number:,.0f}"
