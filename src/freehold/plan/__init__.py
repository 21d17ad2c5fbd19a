"""plan: what to do about the whole bill, and per task what students may be tried on.

Audit, or what was typed → Demand → candidates, options, law, advice       (decide.py)
Audit → for each task: go (try, too_few, not_yet), the reason, calls needed at each bar, student, minutes  (task.py)
both  → where each student is trained, and a whole model where one is asked for               (training/)

Everything that a figure rests on is in the plan, and its sha256 is what people sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from freehold.facts import Facts
from freehold.facts import facts as tables
from freehold.facts import machine_cost as machine_cost_of
from freehold.nouns import Audit, Demand, Measure, Plan, TaskPlan
from freehold.plan.task import ASSUMED, plan_task
from freehold.project import Settings

if TYPE_CHECKING:
    from freehold.plan.decide import Wish
    from freehold.plan.load.arrivals import Arrivals

__all__ = ["plan"]


def plan(
    audit: Audit | None = None,
    *,
    demand: Demand | None = None,
    settings: Settings | None = None,
    machine_cost: float | None = None,
    arrivals: Arrivals | None = None,
    wish: Wish | None = None,
    given: Mapping[str, str] | None = None,
    bars: Sequence[float] = (0.9, 0.95, 0.98, 0.99),
    confidence: float = 0.95,
    today: date | None = None,
    seed: int = 0,
) -> Plan:
    """Plan from an audit, from a `demand` typed by hand, or from both.

    `machine_cost` is what the machine that serves students costs in $/h (None: freehold.toml, else a dated default,
    marked as assumed). `arrivals` are the log's busiest hour, `wish` what was asked for by name, `given` the flags as
    they were typed. An audit whose log says no pace gets a plan for its tasks alone, which says so.
    Raises BadSetting for what can't be planned.
    """
    from dataclasses import replace

    settings = settings or Settings()
    if machine_cost is not None:
        settings = replace(settings, machine_cost=machine_cost)
    cost = machine_cost_of(settings.machine_cost)
    today = today or datetime.now(UTC).date()
    tasks = tuple(plan_task(task, bars, confidence) for task in audit.tasks) if audit is not None else ()
    notes = [*(ASSUMED if audit is not None else ()), f"machine: {cost.method}"]
    bill = audit.per_month if audit is not None else Measure(None, unit="USD/month", method="no log")
    made = datetime.now(UTC).isoformat(timespec="seconds")
    own = tables(settings.facts)
    fields, unsaid = _decided(demand, settings, audit, arrivals, wish, own, today, seed)
    notes += [unsaid] if unsaid else []
    fields |= _trained(fields, tasks, audit, arrivals, wish, own, cost, seed)
    found = Plan(
        tasks, machine_cost=cost, bill=bill, assumptions=tuple(notes), made=made, given=dict(given or {}), seed=seed,
        today=today.isoformat(), **fields,
    )  # fmt: skip
    return replace(found, sha256=fingerprint(found))


def fingerprint(plan: Plan) -> str:
    """sha256 over a plan's canonical JSON: sorted keys, without `made` and without itself."""
    from dataclasses import replace
    from hashlib import sha256

    import msgspec

    return sha256(msgspec.json.encode(replace(plan, made="", sha256=""), order="sorted")).hexdigest()


def _decided(
    demand: Demand | None, settings: Settings, audit: Audit | None, arrivals: Arrivals | None, wish: Wish | None,
    own: Facts, today: date, seed: int,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """What is decided about the whole demand; of a log that doesn't say enough for that, the sentence that says why.
    Raises BadSetting for what was typed and can't be planned."""
    if demand is None and audit is None:
        return {}, ""
    from freehold.plan.decide import decide
    from freehold.plan.demand import Unsaid, from_audit

    try:
        asked = demand if demand is not None or audit is None else from_audit(audit, today)
        assert asked is not None
        return decide(asked, settings, own, audit=audit, arrivals=arrivals, wish=wish, today=today, seed=seed), ""
    except Unsaid as error:
        if demand is not None:
            raise
        return {}, f"no decision about the whole bill: {error.message} {error.hint}"


def _trained(
    fields: dict[str, Any], tasks: Sequence[TaskPlan], audit: Audit | None, arrivals: Arrivals | None,
    wish: Wish | None, own: Facts, cost: Measure, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Where students are trained, and the facts with those that this rests on."""
    from freehold.plan.decide import calls_of
    from freehold.plan.own import Wish
    from freehold.plan.training import trainings, used

    demand = fields.get("demand")
    calls = calls_of(demand, arrivals, own, seed) if demand is not None else None
    wish = wish or Wish()
    made = trainings(fields, tasks, audit, calls, own, wish, cost)
    return {"training": made, "used": used(made, own, fields.get("used", ()), wish.machine)}
