"""From what is asked for to a decision: the ways there are, what each costs, what the law asks, what to do.

Demand ─ candidates ─ places ─→ the open model that costs least ─ replay ─→ replicas ┐
       ├ closed models, hosts                                                        ├→ Setup ─ draws ─→ Option
       └ students for what the log shows can move                                    ┘     choose, flips → Advice
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

from freehold.facts import Facts, PriceBook, answer_terms, machine_cost, price_book
from freehold.nouns import Advice, Audit, Candidate, Demand, Fact, Law, Measure, Option, TermsNotice
from freehold.plan.besides import besides
from freehold.plan.brought import brought
from freehold.plan.candidates import ARENA, candidates
from freehold.plan.choose import HORIZON, NEAR, choose, deadline, decision
from freehold.plan.demand import unpriced
from freehold.plan.law import law
from freehold.plan.law.company import Company, company_of
from freehold.plan.law.licence import licence_card
from freehold.plan.load.arrivals import Arrivals, like
from freehold.plan.money.cost import FEW, Money
from freehold.plan.money.flips import flips
from freehold.plan.money.own import own_setups
from freehold.plan.money.ranges import ranges
from freehold.plan.money.setups import Setup, closed_setups, hosted_setups, student_setup
from freehold.plan.own import Own, Wish, run_own, unfit
from freehold.project import Settings

__all__ = ["Wish", "calls_of", "decide"]

ALWAYS = ("assumptions", "laws", "loads", "calibration")  # tables whose rows are read only where they count
HOSTS = 4  # rows of hosted open models


def decide(
    demand: Demand,
    settings: Settings,
    facts: Facts,
    *,
    audit: Audit | None = None,
    arrivals: Arrivals | None = None,
    wish: Wish | None = None,
    today: date,
    seed: int = 0,
) -> dict[str, Any]:
    """The fields of a Plan that are about the whole demand. Raises BadSetting for what can't be planned."""
    wish = wish or Wish()
    wish = replace(wish, model=brought(wish.model, facts)) if wish.model else wish
    company = _company(settings, facts)
    calls = calls_of(demand, arrivals, facts, seed)
    demand = replace(demand, longest=_longest(calls, demand))
    found = candidates(demand, facts, company, longest=demand.longest.value, only=wish.model)
    book = price_book(settings)
    closed = closed_setups(demand, book, today, facts)
    _priced(closed, demand, facts)
    own = run_own(found, demand, calls, facts, wish, settings, _present(closed) or 0.0)
    notices = _gate(audit, settings)
    setups = _setups(closed, demand, found, own, audit, settings, facts, book, today, wish)
    chosen = own.place.fit.model if own.place is not None else ""
    found = [replace(one, chosen=one.model == chosen) for one in found]
    rested = ranges(
        demand, facts, setups=setups, country=settings.company.country, present=_per_million(demand, setups)
    )
    ask = partial(Money, demand, setups, rested, book=book, facts=facts, today=today, seed=seed)
    say = partial(choose, demand, proved=wish.proved, declared=_declared(settings), wanted=wish.model)
    options = ask().options()
    advice = say(options=options)
    few = ask(draws=FEW)
    turned = flips(
        lambda fixed: decision(say(options=few.options(fixed, quick=True))), rested, now=decision(advice), facts=facts
    )
    left = besides(advice, demand, options, turned, audit=audit, book=book, today=today)
    advice = replace(
        advice, instead=(*advice.instead, *own.notes, *left), rejected={**advice.rejected, **unfit(own, wish)}
    )
    fields = {
        "advice": advice, "demand": demand, "options": options, "flips": turned, "rests_on": rested,
        "candidates": tuple(found), "fits": own.fits, "speeds": own.speeds, "replay": own.replay,
        "law": _law(advice, options, found, notices, company, audit, facts, today),
    }  # fmt: skip
    return {**fields, "used": _used(facts, fields)}


def calls_of(demand: Demand, arrivals: Arrivals | None, facts: Facts, seed: int) -> Arrivals:
    """The log's busiest hour, with the share that its prompt cache saved from reading; else one that is made up."""
    if arrivals is None or not len(arrivals):
        return like(demand, facts, seed=seed)
    read = demand.input.value or 0.0
    return replace(arrivals, cached=(demand.cached.value or 0.0) / read if read else 0.0)


def _priced(closed: Sequence[Setup], demand: Demand, facts: Facts) -> None:
    """Raises Unsaid where a model in use has no price. A model that must be left anyway needs none."""
    missing = [name for name, bill in closed[0].bills.items() if bill is None]
    if (missing or not closed[0].bills) and deadline(demand) is None:
        raise unpriced(missing[0] if missing else "", facts)


def _setups(
    closed: Sequence[Setup], demand: Demand, found: Sequence[Candidate], own: Own, audit: Audit | None,
    settings: Settings, facts: Facts, book: PriceBook, today: date, wish: Wish,
) -> tuple[Setup, ...]:  # fmt: skip
    setups = list(closed)
    names = [one.model for one in found if wish.model or not one.out]
    reasons = {one.model: one.out for one in found if one.out}
    hosted = _hosted(list(hosted_setups(names, demand, book, facts, today)), found, _present(setups))
    setups += [replace(one, out=(*one.out, *reasons.get(one.model, ()))) for one in hosted]
    if own.place is not None:
        slow = () if own.replay is None or own.replay.met else (own.replay.why,)
        setups += own_setups(
            own.place.fit.model, own.place.hardware, facts=facts, gpus=own.place.gpus,
            replicas=own.replay.replicas if own.replay else 1, rate=own.rate, format=own.place.fit.format,
            engine=own.place.engine, out=(*reasons.get(own.place.fit.model, ()), *slow),
            uses=(*own.place.fit.uses, *own.place.speed.uses),
        )  # fmt: skip
    home = _home(audit)
    if home is not None:
        ends = any(part.days_left is not None and part.days_left <= HORIZON for part in demand.models)
        rest = next((one for one in setups if one.way == "cheaper"), None) if ends else None
        setups.append(student_setup(home, machine_cost(settings.machine_cost), rest=rest))
    return tuple(setups)


def _home(audit: Audit | None) -> tuple[float, float, float] | None:
    """The share of the bill that students may take over: each task's money times its portability."""
    moves = [m for m in audit.moves if m.money.value and m.portability.value] if audit is not None else []
    bill = audit.per_month.value or sum(m.money.value or 0.0 for m in audit.moves) if audit is not None else 0.0
    if not moves or not bill:
        return None
    shares = [
        min(1.0, sum((m.money.value or 0.0) * (getattr(m.portability, end) or 0.0) for m in moves) / bill)
        for end in ("value", "low", "high")
    ]
    return shares[0], min(shares), max(shares)


def _hosted(setups: Sequence[Setup], found: Sequence[Candidate], present: float | None) -> list[Setup]:
    """Of the hosts within 5 % of the present bill of the cheapest those with the best published quality, and the
    cheapest itself."""

    def cost(one: Setup) -> float:
        return float(one.bill.total[0]) if one.bill is not None else float("inf")

    quality = {one.model: one.quality.get(ARENA, 0.0) for one in found}
    if not setups:
        return []
    least = min(setups, key=cost)
    near = [one for one in setups if cost(one) <= cost(least) + NEAR * (present or 0.0)]
    near.sort(key=lambda one: (-quality.get(one.model, 0.0), cost(one)))
    return list({one.name: one for one in (*near[: HOSTS - 1], least)}.values())


def _present(setups: Sequence[Setup]) -> float | None:
    """USD a month of the present models, as of the first month, where all of them have a price."""
    bills = list(setups[0].bills.values())
    if not bills or any(bill is None for bill in bills):
        return None
    return sum(float(bill.total[0]) for bill in bills if bill is not None)


def _per_million(demand: Demand, setups: Sequence[Setup]) -> float | None:
    present = _present(setups)
    return present / demand.tokens * 1e6 if present is not None and demand.tokens else None


def _longest(calls: Arrivals, demand: Demand) -> Measure:
    import numpy as np

    sizes = calls.input + calls.output
    value = float(np.quantile(sizes, 0.999)) if len(sizes) else None
    how = "made up after a public trace" if calls.synthetic else "of the log's busiest hour"
    return Measure(value, n=len(calls), unit="tokens", method=f"all but 1 in 1,000 calls, {how}")


def _company(settings: Settings, facts: Facts) -> Company:
    said = settings.company
    return company_of(
        facts, users_month=said.users_month, revenue_year=said.revenue_year, sold=settings.use == "sold",
        sector=said.sector, country=said.country, deny_origin=said.deny_origin,
    )  # fmt: skip


def _declared(settings: Settings) -> Mapping[str, str]:
    from freehold.project.settings import KEEPS

    return {name: value for name in KEEPS if (value := getattr(settings.declared, name))}


def _gate(audit: Audit | None, settings: Settings) -> tuple[TermsNotice, ...]:
    """What the vendors' terms say of learning from the logged answers: a notice for each rule, with the calls of the
    tasks that fall under it alone (of a task with several models nobody counts whose calls are whose)."""
    counted: dict[TermsNotice, int] = {}
    for task in audit.tasks if audit is not None else ():
        if task.kind == "embeddings":
            continue
        notices = {answer_terms(model, settings.vendor, task.kind, settings.use) for model in task.models or ("",)}
        for notice in notices:
            counted[notice] = counted.get(notice, 0) + (task.calls if len(notices) == 1 else 0)
    return tuple(replace(notice, rows=rows) for notice, rows in counted.items())


def _law(
    advice: Advice, options: Sequence[Option], found: Sequence[Candidate], notices: Sequence[TermsNotice],
    company: Company, audit: Audit | None, facts: Facts, today: date,
) -> Law:  # fmt: skip
    """The card of the open model that is advised; where a closed one is, of the one that would be taken at home."""
    known = {one.model: one for one in found}
    first = sorted(options, key=lambda one: (one.name != advice.name, one.way in ("cheaper", "hosted")))
    names = [one.model for one in first if one.model in known][:1] or [one.model for one in found[:1]]
    rows = [facts.get("models", name) for name in names]
    cards = [
        licence_card(row.id, "base", facts.get("licences", str(row.values["licence"])), company,
                     multimodal=bool(row.values.get("multimodal")))
        for row in rows
        if facts.find("licences", str(row.values["licence"])) is not None
    ]  # fmt: skip
    return law(
        cards, notices, company, parameters=float(known[names[0]].parameters) if names else None,
        tokens=float(audit.tokens.prompt + audit.tokens.completion) if audit is not None else 0.0,  # all of the log
        original_flop=None, private=bool(audit and audit.private),
        today=today.isoformat(), facts=facts,
    )  # fmt: skip


def _used(facts: Facts, fields: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Of the rows that were read those that a figure names, what was assumed, and what the law asks."""
    parts = [*fields["options"], *fields["fits"], *fields["speeds"], fields["replay"]]
    parts += [one for one in fields["candidates"] if one.chosen]
    named = {ref for part in parts if part is not None for ref in part.uses}
    licences = {card.family for card in fields["law"].cards}
    return tuple(
        row for row in facts.used
        if row.ref in named or row.table in ALWAYS or (row.table == "licences" and row.id in licences)
    )  # fmt: skip
