"""Money a month: the bill now, the student's share of a machine, and what is saved.

    bill  = what the log's calls of this task cost, at this pace
    home  = CPU time of the student on all of them, at the machine's price an hour
    saved = kept share x bill - home

A machine that runs for this alone costs its whole month, whatever the calls: the total over all tasks counts it so
(totals.py), and the method says it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from freehold.facts import answer_terms, machine_cost, terms, vendor_of
from freehold.nouns import Artifact, Audit, Call, Measure, Task, TermsNotice
from freehold.project import Settings
from freehold.totals import HOURS

__all__ = ["machine", "monthly", "notices", "priced_at"]

SECONDS = HOURS * 3600
DAY = 86400.0
"""A shorter log shows no pace: an hour of it says nothing of a month."""


def machine(settings: Settings) -> Measure:
    """$ an hour of the machine that serves at home."""
    return machine_cost(settings.machine_cost)


def monthly(
    task: Task, calls: Sequence[Call], kept: Measure, cpu_seconds: float, rate: Measure, audit: Audit | None
) -> dict[str, Measure]:
    """bill, home and saved, in USD a month; None where the log has no times, spans less
    than a day, or has no price for its model."""
    months = _months(calls, audit)
    known = task.money.value is not None and months is not None
    none = Measure(
        None, unit="USD/month", method="the log has no times, spans under a day, or has models without a price"
    )
    if not known or months is None or task.money.value is None:
        return {"bill": none, "home": none, "saved": none}
    n = task.calls
    bill = Measure(task.money.value / months, n=n, unit="USD/month", method=f"{task.money.method}, at this pace")
    price = rate.value or 0.0
    how = f"CPU time of {n / months:,.0f} calls a month at {1000 * cpu_seconds:.2f} ms and {_rate(rate)}"
    how += f"; a machine for this alone costs ${price * HOURS:,.2f} a month"
    home = Measure(cpu_seconds / 3600 * price * n / months, n=n, unit="USD/month", method=how)
    value, low, high = ((share or 0.0) * (bill.value or 0.0) for share in (kept.value, kept.low, kept.high))
    spent = (home.value or 0.0) if kept.value else 0.0
    saved = Measure(value - spent, low - spent, high - spent, kept.n, "USD/month", f"kept share x bill - home; {how}")
    return {"bill": bill, "home": home if kept.value else replace(home, value=0.0), "saved": saved}


def priced_at(money: dict[str, Measure], rate: Measure) -> bool:
    """Do these figures, where any is known, rest on this price of the machine?"""
    home = money.get("home", Measure(None))
    return home.value is None or _rate(rate) in home.method


def _rate(rate: Measure) -> str:
    return f"${rate.value or 0.0:g}/h ({rate.method})"


def _months(calls: Sequence[Call], audit: Audit | None) -> float | None:
    """Months the log spans: as the audit has it, else from the task's own calls. None where the audit says no pace,
    or the calls span less than a day."""
    if audit is not None and audit.per_month.value is None:
        return None
    if audit is not None and audit.money.value and audit.per_month.value:
        return audit.money.value / audit.per_month.value
    times = [call.at for call in calls if call.at is not None]
    span = max(times) - min(times) if times else 0.0
    return span / SECONDS if span >= DAY else None


def notices(task: Task, settings: Settings, artifact: Artifact) -> tuple[TermsNotice, ...]:
    """What each vendor in the log says about a student like this one: as the gate counted it when the student was
    tuned, with the rules that hold by now and did not then (another use, another vendor); else from the log's models.
    """
    sort = artifact.kind if artifact.kind in ("extract", "decoder") else "label"
    counted = artifact.recipe.get("terms")
    if counted is not None:
        then = tuple(msgspec.convert(counted, list[TermsNotice]))
        told = {(notice.vendor, notice.rule) for notice in then}
        today = {answer_terms(model, settings.vendor, task.kind, settings.use, sort) for model in task.models or ("",)}
        later = [notice for notice in today if (notice.vendor, notice.rule) not in told]
        return (*then, *sorted(later, key=lambda notice: (notice.rule, notice.vendor)))
    found = {vendor for model in task.models if (vendor := vendor_of(model))}
    named = sorted(found) or ([settings.vendor] if settings.vendor else [])
    return tuple(terms(vendor, task.kind, settings.use, sort) for vendor in named)
