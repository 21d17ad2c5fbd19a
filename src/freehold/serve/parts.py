"""What a server is put together from: one object, so that each handler says which of it it needs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from freehold.engines.hosts.fleet import Fleet
from freehold.errors import StorageFailed
from freehold.http.request import Response
from freehold.keys import Keys
from freehold.ledger import Entry, Ledger
from freehold.project import Project, Settings
from freehold.serve.entry.admit import Admission
from freehold.serve.entry.cache import Cache
from freehold.serve.entry.door import Refusal
from freehold.serve.entry.repeat import Repeats
from freehold.serve.entry.spend import Spend
from freehold.serve.ladder.step import Step
from freehold.serve.numbers.metrics import Metrics
from freehold.serve.pairing.pairs import Pairs

__all__ = ["Parts", "unwritten"]


@dataclass
class Parts:
    """`fleet` is None without an upstream, `pairs` where nothing is watched, `cache` where nobody wants one. `home` is
    USD a second of this machine. `closing` is told of a student whose engine keeps dying. `steps` are the rungs, the
    heaviest template first; they are replaced as a whole. `draw` is uniform in [0, 1). `leaving`: the server is about
    to stop, and answers what still comes; `stopping`: it refuses new calls. `broken`: what runs beside has ended."""

    project: Project
    settings: Settings
    ledger: Ledger
    fleet: Fleet | None
    pairs: Pairs | None
    keys: Keys
    admission: Admission
    spend: Spend
    metrics: Metrics
    closing: Callable[[Step, str, str], None]
    steps: Sequence[Step] = ()
    cache: Cache | None = None
    home: float = 0.0
    repeats: Repeats[Response] = field(default_factory=Repeats)
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    leaving: bool = False
    stopping: bool = False
    broken: str = ""
    started: int = field(default_factory=lambda: int(time.time()))

    def know(self) -> None:
        """The names of tasks and models that may be labels of metrics."""
        logged = [model for step in self.steps for model in step.rung.task.models]
        self.metrics.know(
            [step.rung.task.name for step in self.steps], [*logged, *(step.rung.model for step in self.steps)]
        )

    async def close(self) -> None:
        """Let go of the upstreams, the ledger and the files that are shared."""
        if self.fleet is not None:
            await self.fleet.close()
        self.ledger.close()
        self.metrics.close()
        self.spend.close()

    async def acked(self, entry: Entry) -> None:
        """Before the last of an answer goes out: its row is as safe as freehold.toml asks. Raises Refusal where it is
        not, and calls are to be refused then."""
        try:
            await self.ledger.durable(entry)
        except StorageFailed:
            if self.ledger.settings.failure == "refuse":
                raise unwritten() from None
        if not entry.written and self.ledger.refuses:
            raise unwritten()


def unwritten() -> Refusal:
    return Refusal(503, "The row of this call can't be written now.", "ledger_unwritable", Retry_After="5")
