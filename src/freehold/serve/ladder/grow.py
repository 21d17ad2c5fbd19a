"""New verdicts while the server runs: SIGUSR1 reads the project again.

    verdict as before, rung open  → the rung stays as it is: its student, its monitor, its calls under way
    new or changed                → opened as at a start, its student checked first; then the ladder changes in one step
    gone                          → its calls go up; its engine ends once nobody can be waiting for it

Where the project can't be read, everything stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from freehold.errors import FreeholdError
from freehold.serve.chat import PATIENCE
from freehold.serve.ladder.rungs import Step
from freehold.serve.parts import Parts
from freehold.serve.seats.students import Students
from freehold.serve.seats.thread import StudentThread
from freehold.tell import Tell

__all__ = ["Grow"]


@dataclass
class Grow:
    """`opened` makes the new steps, given those there are; it runs in `thread`, where it may take its time."""

    parts: Parts
    opened: Callable[[Sequence[Step]], list[Step]]
    students: Students
    thread: StudentThread
    tell: Tell

    async def run(self, again: asyncio.Event) -> None:
        """Each time that `again` is set, for ever."""
        while True:
            await again.wait()
            again.clear()
            try:
                await self._once()
            except FreeholdError as error:
                self.tell(f"the rungs stay as they are: {error}")

    async def _once(self) -> None:
        before = self.parts.steps
        steps = await asyncio.wrap_future(self.thread.submit(self.opened, before))
        self.parts.steps = steps
        self.parts.know()
        self._leave([step for step in before if all(step is not other for other in steps)])
        for step in steps:
            if all(step is not other for other in before) and step.rung.student:
                state = "home" if step.rung.open else "closed"
                why = f": {step.rung.why}" if step.rung.why else ""
                self.tell(f"{state} {step.rung.task.name}{why}")
        self.tell(f"read again: {sum(step.rung.open for step in steps)} of {len(steps)} tasks are answered at home")

    def _leave(self, gone: Sequence[Step]) -> None:
        loop = asyncio.get_running_loop()
        for seat in (step.seat for step in gone if step.seat is not None):
            loop.call_later(seat.patience(PATIENCE), self.thread.submit, self.students.drop, seat)
