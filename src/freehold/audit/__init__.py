"""audit: what a log holds, before anything is built.

Traffic → tasks, tokens, the bill at each call's day, repeats, when each model is switched off, warnings
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from freehold.audit.models import model_uses
from freehold.audit.money import Bill, cost_calls, per_month
from freehold.audit.repeats import count_conflicts, find_repeats
from freehold.audit.rules import ruled, unused
from freehold.audit.warn import warnings
from freehold.nouns import Audit
from freehold.project import Settings
from freehold.tell import Tell, quiet
from freehold.traffic import Traffic, calls_of, count_calls, find_tasks

__all__ = ["audit"]


def audit(
    traffic: Traffic, settings: Settings | None = None, *, today: date | None = None, tell: Tell = quiet
) -> Audit:
    """Count what a log holds, price it at each call's day, find its tasks, and pick how the answers of each compare.

    Money is in USD and counts only what the closed model answered; a model without a price is named and left out.
    `settings` may name a task's rule or database, which goes before what is picked. `today` (default: the clock's,
    UTC) is what `days_left` counts from.
    """
    today = today or datetime.now(UTC).date()
    calls = traffic.calls
    tell("find the tasks", 0.0)
    tasks = find_tasks(traffic)
    tell("price the calls", 0.4)
    costs = cost_calls(calls)
    tasks = tuple(ruled(Bill(calls_of(task, traffic), costs).priced(task), traffic, settings) for task in tasks)
    bill = Bill(calls, costs)
    tell("count repeats", 0.7)
    repeats, conflicts = find_repeats(calls), count_conflicts(calls)
    models = model_uses(calls, costs, today)
    times = [call.at for call in calls if call.at is not None]
    first, last = min(times, default=None), max(times, default=None)
    tell("count repeats", 1.0)
    return Audit(
        log=traffic.log,
        calls=count_calls(calls),
        bad_rows=traffic.bad_rows,
        bad=traffic.bad,
        tasks=tasks,
        tokens=bill.tokens,
        money=bill.money,
        per_month=per_month(bill.money, first, last),
        first=first,
        last=last,
        models=models,
        repeats=repeats,
        conflicts=conflicts,
        warnings=(*warnings(traffic, tasks, models, conflicts), *unused(tasks, settings)),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
