"""What a lawyer signs: licences, the gate for learning from logged answers, the AI Act role, what else the law asks.

    cards ────────────────→ combined: whose output taught whom        ┐
    gate (facts.answer_terms, a row count each) ─ T9 ─→ teacher cards ┼→ Law: duties, and what is blocked
    parameters · tokens ──→ act_role                                  │
    facts/laws.json ──────→ scope? when? ─→ the duty, or why not      ┘

A row of laws.json holds conditions that code evaluates on a `World`: `scope` says whom it concerns at all, `when`
whether its duty is due now ({"eu": true}, {"sector": ["hiring"]}, {"flop": {"over": "threshold"}}); `otherwise` is said
where it is not. Where an answer is not known the duty is listed as one that may apply. Not legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.facts.terms import strictness
from freehold.facts.values import number, one_of
from freehold.nouns import Card, Duty, Fact, Law, Outcome, TermsNotice
from freehold.plan.law.act import Role, act_role
from freehold.plan.law.company import Company, company_of
from freehold.plan.law.licence import ORDER, Combined, combined, licence_card, ruled_out

__all__ = [
    "Combined", "Company", "Role", "act_role", "applies", "combined", "company_of", "law", "licence_card",
    "ruled_out",
]  # fmt: skip

World = Mapping[str, Any]
SHUT = 2  # strictness above this (BLOCK, QUARANTINE) keeps rows out


def law(
    cards: Sequence[Card],
    gate: Sequence[TermsNotice],
    company: Company,
    *,
    parameters: float | None,
    tokens: float | None,
    original_flop: float | None,
    private: bool,
    today: str,
    facts: Facts,
    systemic: bool = False,
) -> Law:
    """Everything the law page shows.

    `parameters` and `tokens` are of the training (tokens 0: none is planned, None: not known), `private` whether
    private data is in what would be trained on, `today` an ISO date. Open models that the gate found among those who
    answered get a card as teachers.
    """
    cards = (*cards, *_teachers(cards, gate, company, facts))
    role = act_role(
        facts, eu=company.eu, parameters=parameters, tokens=tokens, original_flop=original_flop, systemic=systemic
    )
    together = combined(cards, facts, sold=company.sold)
    world = _world(cards, company, role, private, facts)
    asked = [duty for row in facts.rows("laws") if (duty := _asked(row, world, today, facts)) is not None]
    duties = tuple(sorted((*together.conflicts, *together.duties, *asked), key=_strict, reverse=True))
    every = (*duties, *(duty for card in cards for duty in card.duties))
    dates = [duty.as_of for duty in every] + [notice.as_of for notice in gate]
    return Law(
        cards, tuple(gate), role.text, role.flop, role.third, duties, _blocked(cards, duties, gate),
        sum(not duty.verified for duty in every), min((day for day in dates if day), default=today),
    )  # fmt: skip


def applies(condition: Mapping[str, Any], world: World, row: Fact) -> bool | None:
    """Whether a condition holds; None where what it asks for is not known.

    true or false: equal to it; a list: one of it (or shares one with it); {"over": x}: greater, x a number or the name
    of a field of the row.
    """
    answers = [_holds(wanted, world.get(name), row) for name, wanted in condition.items()]
    if False in answers:
        return False
    return None if None in answers else True


def _holds(wanted: Any, found: Any, row: Fact) -> bool | None:
    if found is None:
        return None
    if isinstance(wanted, list):
        return bool(set(wanted) & set(found)) if isinstance(found, tuple) else found in wanted
    if isinstance(wanted, Mapping):
        over = wanted.get("over")
        if over is None or not isinstance(found, int | float):
            raise BadSetting(f"{row.ref} has a condition {dict(wanted)}.", 'A number is compared: {"over": 1e25}.')
        return bool(found > (number(row, over) if isinstance(over, str) else over))
    return bool(found == wanted)


def _asked(row: Fact, world: World, today: str, facts: Facts) -> Duty | None:
    """One law's duty, or why it has none here; None where it does not concern this company, or has nothing to say."""
    values = row.values
    concerns, due = (applies(values.get(name, {}), world, row) for name in ("scope", "when"))
    if concerns is False or (due is False and not values.get("otherwise")):
        return None
    facts.get(row.table, row.id)  # what a plan rests on
    if due is False:
        return _from(row, str(values["otherwise"]), "ALLOW")
    what, since = str(values.get("what", row.id)), str(values.get("since", ""))
    outcome: Outcome = one_of(row, "outcome", ORDER, "WARN_COUNSEL")  # type: ignore[assignment]
    if concerns is None or due is None:
        return _from(row, f"Where it applies, which is not known: {what}", min(outcome, "ALLOW_WITH_NOTE", key=_rank))
    if since > today:
        return _from(row, f"From {since}: {what}", min(outcome, "WARN_COUNSEL", key=_rank))
    return _from(row, what, outcome, str(values.get("show", "")))


def _from(row: Fact, what: str, outcome: Outcome, show: str = "") -> Duty:
    values = row.values
    clause, since = str(values.get("clause", "")), str(values.get("since", ""))
    sure = row.status != "unverified"
    return Duty(str(values.get("rule", row.id)), what, outcome, show, clause, since, row.source, row.as_of, sure)


def _world(cards: Sequence[Card], company: Company, role: Role, private: bool, facts: Facts) -> World:
    """What the conditions of laws.json may ask for. An empty country or sector is not known: no rule of one country
    or sector is shown then."""
    origins = {str(facts.get("licences", card.family).values.get("origin", "")) for card in cards}
    return {
        "eu": company.eu,
        "country": company.country,
        "sector": company.sector,
        "sold": company.sold,
        "private": private,
        "trains": None if role.flop.value is None else role.flop.value > 0,
        "flop": role.flop.value,
        "provider": role.provider,
        "origins": tuple(sorted(origins - {""})),
        "never": False,
    }


def _teachers(cards: Sequence[Card], gate: Sequence[TermsNotice], company: Company, facts: Facts) -> tuple[Card, ...]:
    """A card for each open model whose answers the gate found (rule T9) and nobody gave a card to."""
    given = {card.family for card in cards if card.part == "teacher"}
    found: dict[str, Card] = {}
    for notice in gate:
        licence = _of_family(notice.vendor, facts) if notice.rule == "T9" else None
        if licence is not None and licence.id not in given:
            found[licence.id] = licence_card(notice.vendor, "teacher", licence, company)
    return tuple(found.values())


def _of_family(family: str, facts: Facts) -> Fact | None:
    return next((row for row in facts.rows("licences") if row.values.get("family") == family), None)


def _blocked(cards: Sequence[Card], duties: Sequence[Duty], gate: Sequence[TermsNotice]) -> tuple[str, ...]:
    """A sentence for each thing that forbids the plan."""
    found = [_said(duty, card.artefact) for card in cards for duty in card.duties
             if card.part != "teacher" and duty.outcome == "BLOCK"]  # fmt: skip
    found += [_said(duty, duty.rule) for duty in duties if duty.outcome == "BLOCK"]
    if gate and all(strictness(notice) > SHUT for notice in gate):
        worst = max(gate, key=strictness)
        found.append(f"No logged answer may teach a student ({worst.rule}): {worst.text}")
    return tuple(found)


def _said(duty: Duty, what: str) -> str:
    return f"{what}: {duty.what}" + (f" “{duty.clause}”" if duty.clause else "")


def _strict(duty: Duty) -> tuple[int, bool]:
    return _rank(duty.outcome), duty.verified


def _rank(outcome: Outcome) -> int:
    return ORDER.index(outcome)
