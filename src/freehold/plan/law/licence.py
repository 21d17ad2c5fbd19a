"""What a licence asks of this company: a card an artefact, what rules a model out, what several licences ask together.

    licence (facts/licences.json) + Company ─→ duties, each with the clause and the words to show ─→ Card
        limits, the EU, commercial use          hold for everybody
        copies, notices, names                  once the model, or a product on it, goes to third parties (`sold`)
    cards ─→ combined: whose output taught whom, and names that begin in two ways

Not legal advice. A duty from a row whose text nobody read is marked as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.facts.tables import Facts
from freehold.facts.values import number, one_of, words
from freehold.nouns import Card, Duty, Fact, Outcome
from freehold.plan.law.company import Company

__all__ = ["ORDER", "Combined", "combined", "licence_card", "ruled_out", "strictest"]

ORDER: tuple[Outcome, ...] = ("ALLOW", "ALLOW_WITH_NOTE", "WARN_COUNSEL", "BLOCK", "QUARANTINE")
LIMITS = {"mau": "users a month", "revenue_month": "USD revenue a month", "revenue_year": "USD revenue a year"}
NEEDS = {"licence": "a licence from the licensor", "agreement": "an agreement with the licensor"}
CARRIED = {
    "agreement": "Give everybody who gets a copy a copy of the licence.",
    "notice": "Keep this text in a file named Notice beside the weights.",
    "notices": "Keep the copyright, patent, trademark and attribution notices.",
    "changes": "Say in each file that you changed that you changed it.",
    "restrictions": "Put the use restrictions into your own terms as an enforceable provision, and tell recipients.",
    "alike": "Pass on what you adapt under the same licence.",
    "source": "Offer the source, in the form in which it is changed, to everybody who gets a copy.",
}
"""What a copy or a derivative carries. Policy and registration hold without any copy: see `_always`; `private` forbids
that there is one: see `_kept`."""
RISKS = {
    "suit": "Your rights end when you sue over infringement by the model.",
    "remote": "The licensor may restrict the use, remotely too, where it sees a breach.",
    "end": "When the licence ends, delete all copies and derivatives.",
    "guardrail": "Your rights end by themselves when a guardrail in the model is bypassed or weakened.",
}
COMMERCIAL = ("yes", "limited", "no", "unread")
OUT = ("free", "name", "inherit", "block", "research", "unread")
THEN = ("licence", "agreement", "display")
WEIGHTS = ("base", "adapter", "draft", "encoder")


@dataclass(frozen=True, slots=True)
class Combined:
    """What several artefacts ask together. `conflicts` are those that can't both be kept, or forbid the whole."""

    duties: tuple[Duty, ...]
    conflicts: tuple[Duty, ...]
    prefix: str = ""


def strictest(outcomes: Sequence[str]) -> Outcome:
    """The strictest of some outcomes; ALLOW where there are none."""
    return ORDER[max((ORDER.index(o) for o in outcomes if o in ORDER), default=0)]


def licence_card(artefact: str, part: str, licence: Fact, company: Company, *, multimodal: bool = False) -> Card:
    """One artefact's licence as duties for this company. `part`: base, adapter, draft, encoder, dataset or teacher.

    `family` is the licence's id, so that cards can be combined. `multimodal`: the model takes more than text.
    """
    duties = (*_forbids(licence, company, multimodal), *_limits(licence, company), *_always(licence))
    if part != "teacher":
        duties = (*duties, *_carried(licence, company, part))
    return Card(
        artefact, part, _name(licence), licence.id, _commercial(licence), _said_limits(licence),
        strictest([duty.outcome for duty in duties]), duties, str(licence.values.get("sha256", "")), licence.source,
        licence.as_of, _verified(licence),
    )  # fmt: skip


def ruled_out(model: Fact, licence: Fact, company: Company) -> tuple[str, ...]:
    """Why this company can't take this model, a sentence each; empty where it can."""
    several = bool(model.values.get("multimodal", False))
    card = licence_card(model.id, "base", licence, company, multimodal=several)
    found = [_sentence(duty) for duty in card.duties if duty.outcome == "BLOCK"]
    origin = str(model.values.get("origin") or licence.values.get("origin", ""))
    if origin in company.deny_origin:
        found.append(f"Its weights come from {origin}, which the team does not take (deny-origin).")
    return tuple(found)


def combined(cards: Sequence[Card], facts: Facts, *, sold: bool) -> Combined:
    """Union of what the licences ask, and where they exclude each other. `sold` as in Company.

    A teacher's rule on output binds the students (base, adapter): Llama 3 outputs may not improve a model of another
    family; output of Gemma 1 to 3 or of DeepSeek's own licence makes the student a derivative of theirs.
    """
    licences = [facts.get("licences", card.family) for card in cards]
    students = [row for card, row in zip(cards, licences, strict=True) if card.part in ("base", "adapter")]
    teachers = {row.id: row for card, row in zip(cards, licences, strict=True) if card.part == "teacher"}
    learnt = [duty for teacher in teachers.values() for duty in _learnt(teacher, students, sold)]
    names = {str(row.values["prefix"]): row for row in (*students, *teachers.values()) if row.values.get("prefix")}
    forbidden = [duty for duty in learnt if duty.outcome == "BLOCK"]
    prefixes = _longest(tuple(names))
    if sold and len(prefixes) > 1:
        forbidden.append(_two_names(names, prefixes))
    return Combined(
        tuple(duty for duty in learnt if duty not in forbidden),
        tuple(forbidden),
        prefixes[0] if len(prefixes) == 1 else "",
    )


# one licence


def _forbids(licence: Fact, company: Company, multimodal: bool) -> Iterator[Duty]:
    row = licence.values
    if _commercial(licence) == "unread":
        yield _duty(
            licence, "unread", f"Nobody has read this licence: read it first. {row.get('note', '')}".strip(), "BLOCK"
        )
    if _commercial(licence) == "no":
        yield _duty(licence, "commercial", "The licence does not allow commercial use.", "BLOCK")
    if row.get("eu") == "multimodal":
        barred = company.eu and (multimodal or bool(row.get("multimodal", False)))
        what = "No rights in multimodal models for a company whose principal place of business is in the EU."
        yield _duty(licence, "eu", what, "BLOCK" if barred else "ALLOW")
    if row.get("hosted_then") == "licence" and company.sold:
        yield _duty(licence, "hosted", "Hosting it for others needs a licence of its own.", "WARN_COUNSEL")


def _limits(licence: Fact, company: Company) -> Iterator[Duty]:
    """Users and revenue above which a licence or an agreement is due; where words are due then, see `_shows`."""
    row = licence.values
    if row.get("internal") == "free" and not company.sold:
        return
    for measure, unit in LIMITS.items():
        then = one_of(licence, f"{measure}_then", THEN, "licence")
        if measure not in row or then == "display":
            continue
        limit, amount, need = number(licence, measure), company.amount(measure), NEEDS[then]
        where = f"{row[f'{measure}_when']}, above" if f"{measure}_when" in row else "Above"
        counted = f", counted on {row[f'{measure}_date']}" if f"{measure}_date" in row else ""
        yours = "you have not said how much that is with you" if amount is None else f"you are at {amount:,.0f}"
        over: Outcome = "WARN_COUNSEL" if then == "agreement" else "BLOCK"
        outcome = "ALLOW_WITH_NOTE" if amount is None else over if amount > limit else "ALLOW"
        about = measure if measure in row.get("clauses", {}) else "limit"
        yield _duty(licence, about, f"{where} {limit:,.0f} {unit}{counted}, you need {need}: {yours}.", outcome)


def _always(licence: Fact) -> Iterator[Duty]:
    row = licence.values
    if row.get("policy"):
        yield _duty(licence, "policy", f"Keep to the policy on use: {row['policy']}.")
    if "register" in words(licence, "carry"):
        yield _duty(licence, "register", "Register with the licensor before commercial use.")
    for name, what in RISKS.items():
        if name in row.get("clauses", {}):
            yield _duty(licence, name, what, "ALLOW_WITH_NOTE" if name != "suit" else "ALLOW")


def _carried(licence: Fact, company: Company, part: str) -> Iterator[Duty]:
    row = licence.values
    found = [*_copies(licence)]
    if part in WEIGHTS and found:
        gguf = "A GGUF is a derivative: keep licence and notices in its folder, name the licence in general.license."
        found.append(_duty(licence, "gguf", gguf))
    hosted = bool(row.get("hosted", True))
    yield from _kept(licence, company)
    yield from (_once_sold(duty, company, hosted) for duty in (*found, *_shows(licence, company)))


def _kept(licence: Fact, company: Company) -> Iterator[Duty]:
    """No derivatives: what is made from it may be used in the house, and goes to nobody."""
    if "private" in words(licence, "carry"):
        what = "Pass on nothing that is made from it: what is tuned or merged stays in the house."
        yield _duty(licence, "private", what, "BLOCK" if company.sold else "ALLOW_WITH_NOTE")


def _copies(licence: Fact) -> Iterator[Duty]:
    for name in words(licence, "carry"):
        if name in CARRIED:
            text = str(licence.values.get("notice", "")) if name == "notice" else ""
            yield _duty(licence, name, CARRIED[name], text=text)


def _shows(licence: Fact, company: Company) -> Iterator[Duty]:
    """The words to show, and what the name of a distributed model begins with."""
    row = licence.values
    measures = [m for m in LIMITS if row.get(f"{m}_then") == "display"]
    if row.get("display"):
        where = "on a website, user interface, about page or in the documentation"
        when = str(row.get("display_when", ""))
        what = f"{when}: show these words." if when else f"Show these words {where}."
        over = [(a := company.amount(m)) is None or a > number(licence, m) for m in measures]
        yield _duty(
            licence, "display", what, "ALLOW_WITH_NOTE" if any(over) or not measures else "ALLOW", row["display"]
        )
    if row.get("prefix"):
        yield _duty(licence, "prefix", "The name of a model made from it begins with this word.", text=row["prefix"])


def _once_sold(duty: Duty, company: Company, hosted: bool) -> Duty:
    """What is due on a copy that goes to others is nothing to do today where none goes."""
    if company.sold or duty.outcome == "ALLOW":
        return duty
    first = "Once you distribute it, or host it for others" if hosted else "Once you distribute it"
    return replace(duty, outcome="ALLOW", what=f"{first}: {duty.what[0].lower()}{duty.what[1:]}")


# several licences


def _learnt(teacher: Fact, students: Sequence[Fact], sold: bool) -> Iterator[Duty]:
    """What the rule on a teacher's output means for the students."""
    rule, said, name = (
        one_of(teacher, "out", OUT, "unread"),
        str(teacher.values.get("text", "")),
        _name(teacher),
    )
    others = [student for student in students if student.id != teacher.id]
    if rule == "block" and others:
        taught = " and ".join(_name(row) for row in others)
        yield _duty(
            teacher,
            "outputs",
            f"Output under the {name} may not teach another model (here one under {taught}). {said}",
            "BLOCK",
        )
    elif rule == "research":
        yield _duty(teacher, "outputs", f"Output under the {name} is for research only. {said}", "BLOCK")
    elif rule == "unread":
        yield _duty(
            teacher,
            "outputs",
            f"Nobody has read what {name} says of its output: nothing may be learnt from it yet.",
            "BLOCK",
        )
    elif rule == "inherit":
        yield _duty(teacher, "inherit", f"The student becomes a derivative under {name} too. {said}")
        if sold:
            yield from _copies(teacher)
    elif rule == "name" and sold:
        if teacher.values.get("display"):
            yield _duty(teacher, "display", "Show these words for the student.", text=teacher.values["display"])
        if teacher.values.get("prefix"):
            yield _duty(teacher, "prefix", "The student's name begins with this word.", text=teacher.values["prefix"])


def _two_names(names: dict[str, Fact], prefixes: Sequence[str]) -> Duty:
    what = f"Two licences want the model's name to begin in different ways: {' and '.join(prefixes)}. Ask counsel."
    return replace(_duty(names[prefixes[0]], "prefix", what, "WARN_COUNSEL"), text=" / ".join(prefixes))


def _longest(prefixes: Sequence[str]) -> list[str]:
    """Prefixes of which none begins another: "Llama 3" keeps "Llama" too."""
    return [p for p in prefixes if not any(q != p and q.startswith(p) for q in prefixes)]


def _duty(licence: Fact, about: str, what: str, outcome: Outcome = "ALLOW_WITH_NOTE", text: str = "") -> Duty:
    clauses = licence.values.get("clauses", {})
    clause = str(clauses.get(about) or (licence.values.get("clause", "") if about in ("outputs", "inherit") else ""))
    return Duty(
        f"{licence.id}/{about}", what, outcome, text, clause, "", licence.source, licence.as_of, _verified(licence)
    )


def _name(licence: Fact) -> str:
    return str(licence.values.get("licence", licence.id))


def _commercial(licence: Fact) -> str:
    return one_of(licence, "commercial", COMMERCIAL, "unread")


def _verified(licence: Fact) -> bool:
    return licence.status not in ("unverified",)


def _said_limits(licence: Fact) -> str:
    found = [f"{number(licence, m):,.0f} {unit}" for m, unit in LIMITS.items() if m in licence.values]
    if licence.values.get("eu") == "multimodal":
        found.append("no multimodal models in the EU")
    return "; ".join(found)


def _sentence(duty: Duty) -> str:
    what = duty.what.rstrip(".")
    return f"{what} (“{duty.clause}”)." if duty.clause else f"{what}."
