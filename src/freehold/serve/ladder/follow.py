"""What other processes on the same project folder did: their closings and steps up hold here too, their pairs count.

each second, in a thread   rungs.jsonl, pairs/   ─look→ what is new
in the event loop          ─apply→ a closing of the monitor or the ladder: this rung closes
                                   a step up: this stage goes along
                                   a pair: this monitor counts it, and this stage where it was made at the same step
                                   a line that can't be read: the task closes, as at a start
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.serve.ladder.recall import made
from freehold.serve.ladder.runglog import Events, RungLog
from freehold.serve.ladder.standing import own, share_of
from freehold.serve.ladder.step import Step
from freehold.serve.pairing.pairlog import PairLog, PairRow
from freehold.serve.pairing.pairs import Told, seen
from freehold.tell import Tell, quiet

__all__ = ["Follow"]

SHARED = ("monitor", "ladder")  # a student that died, or scored otherwise, did so in that process alone


@dataclass
class Follow:
    """`steps` gives the rungs as they are now. `closing` and `rising` are those of Pairs: another process's pair may be
    the one that an alarm or a step here was waiting for. `soon` runs a call in the event loop: call_soon_threadsafe."""

    steps: Callable[[], Sequence[Step]]
    log: RungLog
    pairs: PairLog
    closing: Told
    rising: Told
    soon: Callable[..., Any]
    tell: Tell = quiet

    def look(self) -> None:
        """Read what is new, and have it applied. To be called each second, from any thread."""
        rows = self.pairs.news()  # first: a step up is written before the first pair made there
        events = self.log.news()
        if events.rows or events.damaged or rows:
            self.soon(self.apply, events, rows)

    def apply(self, events: Events, rows: Sequence[PairRow]) -> None:
        """In the event loop. What this process did itself comes by again, and changes nothing."""
        for step in self.steps():
            if not step.rung.open:
                continue
            damage = events.damage(step.rung.task.name)
            if damage:
                self._shut(step, damage)
            for event in own(events.of(step.rung.task.name), step):
                self._event(step, event)
        for row in rows:
            for step in self.steps():
                if step.key == (row.task, row.student) and row.time >= made(step.verdict):
                    self._pair(step, row)

    def _event(self, step: Step, event: dict[str, Any]) -> None:
        share = share_of(event)
        if event["event"] == "closed" and event.get("by") in SHARED and step.rung.open:
            self._shut(step, str(event.get("why") or "closed by the monitor"))
        elif share is not None and step.stage is not None and step.rung.open and share > step.stage.share:
            step.stage.move(share, str(event.get("why", "")))
            self.tell(f"{step.rung.task.name} is {step.stage}, as another process found: {step.stage.why}")

    def _pair(self, step: Step, row: PairRow) -> None:
        if step.monitor is None or row.against != (step.beside.model if step.beside else ""):
            return
        # one of an earlier step, which its process made before it heard of this one, was evidence for that step alone
        staged = step.stage is not None and step.stage.made(row.stage, row.share)
        alarm, risen = seen(step, row.agrees, row.probability, staged=staged)
        if alarm and step.rung.open:
            self.closing(step, alarm)
        elif risen:
            self.rising(step, risen)

    def _shut(self, step: Step, why: str) -> None:
        step.shut(why)
        self.tell(f"closed {step.rung.task.name}, as another process did: {why}")
