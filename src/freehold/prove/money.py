"""Money a month: the bill now, the student's share of a machine, and what is saved.

    bill  = what the log's calls of this task cost, at this pace
    home  = what the student costs on the calls that it is asked:
              its CPU time, at the machine's price an hour (Machine)
              what its host bills: the tokens of a call at the host's price (Host)
    saved = kept share x bill - home

A machine that runs for this alone costs its whole month, whatever the calls: the total over all tasks counts it so
(totals.py), and the method says it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from freehold.facts import answer_terms, facts, machine_cost, terms, vendor_of
from freehold.nouns import Artifact, Audit, Call, Measure, Student, Task, TermsNotice, Tokens
from freehold.project import Settings
from freehold.totals import HOURS

__all__ = ["Cost", "cost_of", "monthly", "notices", "priced_at"]

SECONDS = HOURS * 3600
CALLS = "{calls}"  # in a method: how many a month are asked
DAY = 86400.0
"""A shorter log shows no pace: an hour of it says nothing of a month."""


@dataclass(frozen=True, slots=True)
class Machine:
    """$ an hour of the machine that serves at home."""

    rate: Measure
    host: str = ""

    def __str__(self) -> str:
        return f"${self.rate.value or 0.0:g}/h ({self.rate.method})"

    def each(self, cpu_seconds: float, student: Student) -> Measure:
        """USD a call."""
        price = self.rate.value or 0.0
        month = f"a machine for this alone costs ${price * HOURS:,.2f} a month"
        method = f"CPU time of {CALLS} calls a month at {1000 * cpu_seconds:.2f} ms and {self}; {month}"
        return Measure(cpu_seconds / 3600 * price, unit="USD", method=method)


@dataclass(frozen=True, slots=True)
class Host:
    """What a host bills: USD per million tokens read and written (None: not known), and who says so."""

    host: str
    model: str
    read: float | None
    written: float | None
    source: str

    def __str__(self) -> str:
        if self.read is None or self.written is None:
            return f'no price of {self.model} at {self.host} is known: give it as [prices."{self.model}"]'
        return f"${self.read:g} read and ${self.written:g} written a million tokens ({self.source})"

    def each(self, cpu_seconds: float, student: Student) -> Measure:
        """USD a call."""
        used, asked = getattr(student, "tokens", Tokens()), getattr(student, "asked", 0)
        if self.read is None or self.written is None or not asked or not used.prompt:
            return Measure(None, unit="USD", method=str(self))
        read, written = used.prompt / asked, used.completion / asked
        method = f"{read:,.0f} tokens read and {written:,.1f} written a call at {self.host}, {self}"
        return Measure((read * self.read + written * self.written) / 1e6, n=asked, unit="USD", method=method)


Cost = Machine | Host


def cost_of(settings: Settings, artifact: Artifact) -> Cost:
    """What a call of this student costs: by freehold.toml, then by the facts."""
    if artifact.kind != "hosted":
        return Machine(machine_cost(settings.machine_cost))
    host, model = str(artifact.recipe["host"]), artifact.base
    said = settings.prices.get(model)
    if said is not None:
        return Host(host, model, float(said.input), float(said.output), "freehold.toml")
    for row in facts(settings.facts).rows("hosted"):
        values = row.values
        names = str(values.get("book", "")).partition("/")[2].lower(), str(values.get("model", "")).lower()
        if str(values.get("provider", "")).lower() == host.lower() and model.lower() in names:
            read, written = values.get("input"), values.get("output")
            return Host(host, model, _number(read), _number(written), f"{row.ref}, {row.source}, as of {row.as_of}")
    return Host(host, model, None, None, "")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def monthly(
    task: Task, calls: Sequence[Call], kept: Measure, each: Measure, asked: float, audit: Audit | None
) -> dict[str, Measure]:
    """bill, home and saved, in USD a month; None where the log has no times, spans less than a day, or has no price for
    its model. `each` is USD a call of the student, `asked` the share of calls that it is asked."""
    months = _months(calls, audit)
    known = task.money.value is not None and months is not None
    none = Measure(
        None, unit="USD/month", method="the log has no times, spans under a day, or has models without a price"
    )
    if not known or months is None or task.money.value is None:
        return {"bill": none, "home": none, "saved": none}
    n = task.calls
    bill = Measure(task.money.value / months, n=n, unit="USD/month", method=f"{task.money.method}, at this pace")
    if each.value is None:
        unknown = Measure(None, unit="USD/month", method=each.method)
        return {"bill": bill, "home": unknown, "saved": unknown}
    how = each.method.replace(CALLS, f"{n * asked / months:,.0f}")
    home = Measure(each.value * n * asked / months, n=n, unit="USD/month", method=how)
    value, low, high = ((share or 0.0) * (bill.value or 0.0) for share in (kept.value, kept.low, kept.high))
    spent = (home.value or 0.0) if kept.value else 0.0
    saved = Measure(value - spent, low - spent, high - spent, kept.n, "USD/month", f"kept share x bill - home; {how}")
    return {"bill": bill, "home": home if kept.value else replace(home, value=0.0), "saved": saved}


def priced_at(money: dict[str, Measure], cost: Cost) -> bool:
    """Do these figures, where any is known, rest on this price?"""
    home = money.get("home", Measure(None))
    known = home.value is not None or isinstance(cost, Host)
    return not known or str(cost) in home.method or money.get("bill", Measure(None)).value is None


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
    if artifact.kind == "hosted":
        return ()  # nothing is trained: the closed model's answers are compared with, and that is all
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
