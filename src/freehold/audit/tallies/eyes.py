"""What is known of a call before it is counted: its task, its text, its tokens and price, and the request's own name.

Call ─Eyes.see→ Seen(task 3, "where is my card", tokens, cost, key)
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold import wire
from freehold.audit.tallies.money import Pricer
from freehold.audit.tallies.same import number
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Task
from freehold.traffic.describe import PERSONAL
from freehold.traffic.templates import Index

__all__ = ["Eyes", "names_of"]


class Eyes:
    """Looks at calls under the tasks that were found. The same call is seen alike by every worker."""

    def __init__(self, tasks: Sequence[Task], pricer: Pricer) -> None:
        self._tasks = list(tasks)
        self._index = Index([task.template for task in tasks], [task.endpoint for task in tasks])
        self._pricer = pricer

    def see(self, calls: Sequence[Call], part: int) -> list[Seen]:
        return [self._one(call, part) for call in calls]

    def _one(self, call: Call, part: int) -> Seen:
        place, own = self._index.match(call.messages, call.endpoint)
        text = self._tasks[place].with_fields("\n".join(own), call) if place >= 0 else None
        tokens, estimated, cost = self._pricer(call)
        return Seen(call, (part, call.line), place, text, tokens, estimated, cost, *names_of(call))


def names_of(call: Call) -> tuple[int, int]:
    """Of a call's messages, and of its whole request by what may change its answer: not by who asks."""
    asked = number(wire.dumps(call.messages))
    settings = {name: value for name, value in call.params.items() if name not in PERSONAL}
    return asked, number(wire.dumps([asked, call.model, settings]))
