"""plan: per task, try or not, why, and how many calls a proof asks for.

Audit → for each task: go (try, too_few, not_yet), the reason, calls needed at each bar, student, minutes
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from freehold.facts import machine_cost as default_cost
from freehold.nouns import Audit, Measure, Plan
from freehold.plan.task import ASSUMED, plan_task

__all__ = ["plan"]


def plan(
    audit: Audit,
    *,
    machine_cost: float | None = None,
    bars: Sequence[float] = (0.9, 0.95, 0.98, 0.99),
    confidence: float = 0.95,
) -> Plan:
    """Say for each task of an audit whether a student is worth a try.

    `machine_cost` is what the machine that serves costs in $/h (None: a dated default, marked as assumed).
    Money is shown and never decides here.
    """
    cost = default_cost() if machine_cost is None else Measure(machine_cost, unit="USD/h", method="given")
    tasks = tuple(plan_task(task, bars, confidence) for task in audit.tasks)
    priced = f"machine: {cost.method}"
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Plan(tasks, machine_cost=cost, bill=audit.per_month, assumptions=(*ASSUMED, priced), made=made)
