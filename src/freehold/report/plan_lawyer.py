"""The lawyer's page: a card an artefact with its duties, the gate for learning from answers, the role, what is unread.

    Card.duties ──→ due now: a checklist │ only once it is distributed, or not due: folded
    Law.gate ───→ a row a rule and vendor, how many logged answers it counts
    Law.flop against Law.third ──→ "1 part in 500,000 of the third"

Outcomes stand in words and never in colour alone. What nobody read in its own text is said first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freehold.nouns import Card, Duty, Law, Plan, TermsNotice
from freehold.report.plan_words import OUTCOMES
from freehold.report.words import listing

__all__ = ["Lawyer", "Sheet", "lawyer"]

ORDER = ("BLOCK", "QUARANTINE", "WARN_COUNSEL", "ALLOW_WITH_NOTE", "ALLOW")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A card with its duties parted: `due` to be ticked off, the strictest first, and the `rest`, which ask nothing
    now."""

    card: Card
    due: tuple[Duty, ...]
    rest: tuple[Duty, ...]


@dataclass(frozen=True, slots=True)
class Lawyer:
    law: Law
    sheets: tuple[Sheet, ...]
    gate: tuple[TermsNotice, ...]
    rows: dict[str, int]
    due: tuple[Duty, ...]
    rest: tuple[Duty, ...]
    against: str
    unread: tuple[str, ...]
    verdict: str
    about: str


def lawyer(plan: Plan) -> Lawyer | None:
    """None where the plan holds no law."""
    law = plan.law
    if law is None:
        return None
    sheets = tuple(Sheet(card, *_parted(card.duties)) for card in law.cards)
    gate = tuple(sorted(law.gate, key=lambda n: (_place(n.outcome), -n.rows)))
    due, rest = _parted(law.duties)
    return Lawyer(
        law, sheets, gate, _rows(gate), due, rest, _against(law), _unread(law), _verdict(law), _about(plan, law)
    )


def _about(plan: Plan, law: Law) -> str:
    """Where another open model is advised than the one whose licence stands here: so, in words; "" where it is the
    same, or where a closed one is."""
    taken = plan.advised
    read = [card.artefact for card in law.cards if card.part == "base"]
    if taken is None or not read or taken.model in read:
        return ""
    if taken.way in ("closed", "cheaper"):
        return f"The advice takes no open model. {listing(read, 3)} is the nearest that would be run at home."
    if taken.way == "hosted":
        return (
            f"The advice takes {taken.name}, whose licence isn't in this plan and is to be read before anybody signs. "
            f"{listing(read, 3)} is the nearest that would be run at home."
        )
    return ""


def _place(outcome: str) -> int:
    """Strictest first; an outcome that is told in other words stands last."""
    name = outcome.upper().replace(" ", "_")
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _parted(duties: Sequence[Duty]) -> tuple[tuple[Duty, ...], tuple[Duty, ...]]:
    ordered = sorted(duties, key=lambda d: _place(d.outcome))
    return tuple(d for d in ordered if d.outcome != "ALLOW"), tuple(d for d in ordered if d.outcome == "ALLOW")


def _rows(gate: Sequence[TermsNotice]) -> dict[str, int]:
    """Logged answers by outcome; only where they were counted."""
    found: dict[str, int] = {}
    for notice in gate:
        found[notice.outcome] = found.get(notice.outcome, 0) + notice.rows
    return {OUTCOMES.get(name, name): n for name, n in found.items() if n}


def _against(law: Law) -> str:
    """The training compute as a part of the third that makes a provider."""
    flop, third = law.flop.value, law.third.value
    if flop is None or not third:
        return ""
    if flop == 0:
        return "no training"
    part = flop / third
    if part >= 0.01:
        return f"{100 * part:,.0f} % of the third"
    return f"1 part in {float(f'{1 / part:.2g}'):,.0f} of the third"


def _unread(law: Law) -> tuple[str, ...]:
    """What was not read in its own text, by name."""
    cards = [f"{card.artefact}: {card.licence}" for card in law.cards if not card.verified]
    duties = [d for card in law.cards if card.verified for d in card.duties if not d.verified]
    duties += [d for d in law.duties if not d.verified]
    return tuple(dict.fromkeys([*cards, *(f"{d.rule}: {d.what}" for d in duties)]))


def _verdict(law: Law) -> str:
    """In a sentence: what a lawyer has to know before reading on."""
    outcomes = [d.outcome for card in law.cards for d in card.duties if card.part != "teacher"]
    outcomes += [d.outcome for d in law.duties]
    asks = outcomes.count("WARN_COUNSEL") + sum(n.outcome.upper().replace(" ", "_") == "WARN_COUNSEL" for n in law.gate)
    if law.blocked:
        return "Blocked: what stands below forbids it."
    teachers = [c.artefact for c in law.cards if c.part == "teacher" and c.outcome in ("BLOCK", "QUARANTINE")]
    shut = f" Nothing may be learnt from the answers of {listing(teachers, 3)}." if teachers else ""
    if asks:
        return (
            f"Nothing forbids it outright; {asks} {'point needs' if asks == 1 else 'points need'} counsel first.{shut}"
        )
    return f"Nothing that was read forbids it; the duties below come with it.{shut}"
