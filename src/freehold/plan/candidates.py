"""Which open model: every one on file, and what rules each out. What is left is ordered by the money it takes.

    123 models ── writes text? ── licence, origin ── context ── published quality, where both have one ──→ a dozen
                  the smallest first ──→ placed on the hardware there is ──→ the cheapest

Published quality is one leaderboard's arena score of the same day for both sides. It rules out what is plainly weaker
than the closed model in use; it never says that a model is good enough. `freehold prove` does, on the team's own calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from freehold.errors import BadSetting
from freehold.facts import Facts
from freehold.facts.models import DATED, plain_name
from freehold.facts.open_models import active_of, has_architecture, parameters_of
from freehold.nouns import Candidate, Demand, Fact
from freehold.plan.law.company import Company
from freehold.plan.law.licence import ruled_out
from freehold.plan.law.openness import grade

__all__ = ["ARENA", "arena", "candidates", "closed_quality", "wanted"]

ARENA = "arena-elo"
GENERATION = "2024-01-01"  # an open model released before has a better one of its own size


def candidates(
    demand: Demand, facts: Facts, company: Company, *, longest: float | None = None, only: str = ""
) -> list[Candidate]:
    """Every open model of the table (or `only` one), those that may be taken first, the smallest first."""
    rows = [wanted(only, facts)] if only else list(facts.rows("models"))
    bar = None if only else closed_quality(demand, facts) or _middle(rows)
    found = [_candidate(row, facts, company, longest, bar) for row in rows]
    return sorted(found, key=lambda c: (bool(c.out), c.active or float("inf"), c.parameters, c.model))


def wanted(name: str, facts: Facts) -> Fact:
    """The open model that somebody named. Raises BadSetting with the near matches, and for one that writes no text."""
    row = facts.get("models", name)
    if row.values.get("kind") != "decoder":
        raise BadSetting(
            f"{name} is {_kind(row)}, which writes no text: it can't stand in for a closed language model.",
            "Name a decoder, or let `freehold tune` fit classifiers for tasks that ask for labels.",
        )
    return row


def closed_quality(demand: Demand, facts: Facts) -> tuple[str, float] | None:
    """(whose, the lower limit of the arena score) of the closed model that most tokens go to; None where nobody
    published one."""
    for part in sorted(demand.models, key=lambda m: -(m.input + m.output)):
        row = arena(part.model, facts)
        return None if row is None else (f"{part.model}'s lower limit", float(row.values["low"]))
    return None


def _middle(rows: Sequence[Fact]) -> tuple[str, float]:
    """Where nobody published a figure of the closed model the better half of the open ones that have one is taken."""
    scores = [quality[ARENA] for row in rows if ARENA in (quality := row.values.get("quality") or {})]
    return "the middle of those on file (none is published of the model in use)", median(scores)


def arena(model: str, facts: Facts) -> Fact | None:
    """A model's row of the leaderboard, by its name as a log writes it."""
    name = plain_name(model)
    return facts.find("quality", name) or facts.find("quality", DATED.sub("", name))


def _candidate(
    row: Fact, facts: Facts, company: Company, longest: float | None, bar: tuple[str, float] | None
) -> Candidate:
    values = row.values
    licence = facts.find("licences", values["licence"])
    writes = values.get("kind") == "decoder"
    out = [] if writes else [f"it is {_kind(row)}, and writes no text"]
    if writes and not has_architecture(row):
        out.append("its configuration is not on file, so its memory and speed are not known")
    out += _licence(row, licence, company)
    out += _short(values.get("context"), longest) + _weaker(values.get("quality") or {}, bar)
    if not out and (values.get("released") or "9") < GENERATION:
        out.append(f"released {values['released']}: there are better ones of its size since")
    graded = grade(row, licence, facts) if licence is not None else None
    return Candidate(
        model=row.id, parameters=parameters_of(row) or 0, active=active_of(row) or 0,
        context=int(values.get("context") or 0),
        licence=values["licence"], released=values.get("released") or "",
        openness=graded.mof if graded else "", osaid=graded.osaid if graded else None,
        why=graded.why if graded else "its licence is not on file",
        quality={name: float(score) for name, score in (values.get("quality") or {}).items()}, out=tuple(out),
        uses=(row.ref, *((licence.ref,) if licence else ())),
    )  # fmt: skip


def _licence(row: Fact, licence: Fact | None, company: Company) -> Sequence[str]:
    if licence is None:
        if row.status == "given":
            return []  # the team's own files: what they may be used for, the team must know
        return [f"its licence {row.values['licence']!r} is not on file: read it first"]
    return ruled_out(row, licence, company)


def _short(context: int | None, longest: float | None) -> list[str]:
    if longest is None or not context or context >= longest:
        return []
    return [f"it reads {context:,} tokens, and the longest calls need {longest:,.0f}"]


def _weaker(quality: dict[str, float], bar: tuple[str, float] | None) -> list[str]:
    if bar is None:
        return []
    score = quality.get(ARENA)
    if score is None:
        return ["no arena score is published of it; --model takes it all the same"]
    if score < bar[1]:
        return [f"arena score {score:,.0f}, below {bar[1]:,.0f}: {bar[0]}"]
    return []


def _kind(row: Fact) -> str:
    return {"encoder": "an encoder", "image": "a model of images"}.get(str(row.values.get("kind")), "no language model")
