"""Where students are trained: each task's on the machine at hand, an adapter on the open model, a whole model.

tasks to try ──→ this machine, in minutes (what must be written: on the default base)                students.py
the plan's open model, or the best that can be adapted ──→ this machine, its devices, rented ones    adapter.py
--train 2B ── every weight of it ──→ one device, a machine full, several: each launch target         whole.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freehold.facts import Facts
from freehold.facts.grounds import market
from freehold.nouns import Audit, Demand, Fact, Measure, Option, TaskPlan, Training
from freehold.nouns.training import HERE
from freehold.plan.load.arrivals import Arrivals
from freehold.plan.own import Wish
from freehold.plan.training.adapter import adapters
from freehold.plan.training.students import students
from freehold.plan.training.whole import whole

__all__ = ["trainings", "used"]

OWNED = ("here", "rent", "buy")


def trainings(
    found: Mapping[str, Any],
    steps: Sequence[TaskPlan],
    audit: Audit | None,
    calls: Arrivals | None,
    facts: Facts,
    wish: Wish,
    machine: Measure,
) -> tuple[Training, ...]:
    """`found`: what was decided about the whole demand (none: {}); `machine`: USD an hour of the one at hand. Raises
    BadSetting for a whole model that was asked for and is not known."""
    own = _own(found.get("options", ()))
    demand: Demand | None = found.get("demand")
    rows = _devices(own, facts, wish)
    chosen = own.model if own is not None else wish.model
    made = list(students(steps, audit, facts, wish, machine))
    if demand is not None:
        made += adapters(chosen, found["candidates"], demand, steps, audit, calls, rows, facts)
    if wish.train:
        made.append(whole(wish.model or chosen, wish.train, rows, own, facts))
    return tuple(made)


def used(made: Sequence[Training], facts: Facts, before: Sequence[Fact], machine: Fact | None) -> tuple[Fact, ...]:
    """The facts of a plan with those that its trainings rest on."""
    named = {ref for one in made for ref in one.uses}
    read = (*facts.used, *([machine] if machine is not None else []))
    rows = {row.ref: row for row in (*before, *(row for row in read if row.ref in named))}
    return tuple(rows[ref] for ref in sorted(rows))


def _own(options: Sequence[Option]) -> Option | None:
    """The way with machines of one's own: of the open model that was placed."""
    return next((one for one in options if one.way in OWNED and one.hardware), None)


def _devices(own: Option | None, facts: Facts, wish: Wish) -> list[Fact]:
    """This machine where it was measured, the plan's own hardware, and what a market price is on file for unless some
    hardware was named."""
    rows = [wish.machine] if wish.machine is not None else []
    name = wish.hardware or (own.hardware if own is not None else "")
    if name and name != HERE:
        rows.append(facts.get("hardware", name))
    if not wish.hardware:
        rows += market(facts)
    return list({row.id: row for row in rows}.values())
