"""What may go wrong with a plan, read from the plan itself: each risk with a figure, and with what to do about it.

retirement · money · quality · what changes it first · hold · load · one machine · law · facts
"""

from __future__ import annotations

from dataclasses import dataclass

from freehold.nouns import Demand, Fact, Option, Plan, Replay
from freehold.nouns.shown import shown
from freehold.report.plan_words import OWNED, chance, usd
from freehold.report.words import day, listing, plural

__all__ = ["SOON", "Risk", "risks"]

SOON = 365  # days


@dataclass(frozen=True, slots=True)
class Risk:
    name: str
    what: str
    do: str


def risks(plan: Plan, taken: Option | None, stay: Option | None, nearest: str) -> list[Risk]:
    """What may go wrong, read from the plan: each with a figure of it and with what to do."""
    found = [*_leaving(plan.demand), *_odds(taken, stay), *_quality(plan, taken)]
    if nearest:
        found.append(Risk("what changes it first", nearest, "Watch this one figure."))
    if taken is not None and taken.way in ("closed", "cheaper", "hosted"):
        who = taken.provider or "the provider"
        found.append(Risk("hold", f"{who} may change price, terms or model; nothing you own answers instead.",
                          "Keep a set of proved answers, so that a move later takes days."))  # fmt: skip
    if plan.replay is not None and taken is not None and taken.way in OWNED:
        found += _load(plan.replay)
    if plan.law is not None and (plan.law.blocked or plan.law.unverified):
        blocked = f"{len(plan.law.blocked)} blocked; " if plan.law.blocked else ""
        unread = f"{plural(plan.law.unverified, 'rule')} of which nobody read the text."
        found.append(Risk("law", f"{blocked}{unread}",
                          "See the lawyer's page before anything is signed."))  # fmt: skip
    return found + _doubtful(plan.used)


def _leaving(demand: Demand | None) -> list[Risk]:
    near = [m for m in (demand.models if demand else ()) if m.days_left is not None and m.days_left <= SOON]
    if not near:
        return []
    first = min(near, key=lambda m: m.retires)
    which = listing([shown(m.model, 40) for m in near], 3)
    if (first.days_left or 0) < 0:
        what = f"{shown(first.model, 40)} was switched off on {day(first.retires)}."
        return [Risk("retirement", what, "What answers now is something else: record its answers before it goes too.")]
    goes = "the first goes" if len(near) > 1 else "switched off"
    what = f"{which}: {goes} on {day(first.retires)}, {first.days_left} days left."
    return [Risk("retirement", what, "Record proved answers of it before that day; afterwards nobody can compare.")]


def _odds(taken: Option | None, stay: Option | None) -> list[Risk]:
    if taken is None or taken is stay or taken.chance.value is None or taken.saves.low is None:
        return []
    if taken.saves.low < 0:
        worst = f"in the worst tenth a month costs {usd(-taken.saves.low)} more than now"
    else:
        worst = f"nine times in ten a month saves {usd(taken.saves.low)} or more"
    return [Risk("money", f"It saves {chance(taken.chance)}; {worst}.",
                 "Compare the first bill with the plan; freehold plan --verify says what changed.")]  # fmt: skip


def _quality(plan: Plan, taken: Option | None) -> list[Risk]:
    if taken is None or taken.way == "closed":
        return []
    said = next((note for note in taken.notes if "proof" in note), "published scores say little about your own calls")
    if plan.advice is not None and plan.advice.word == "NEEDS PROOF":
        said = f"no proof yet that it answers as well; {said}"
    return [Risk("quality", f"{shown(taken.model, 60)}: {said}.", "freehold prove compares on your own calls.")]


def _load(replay: Replay) -> list[Risk]:
    found = []
    if not replay.met:
        found.append(Risk("load", f"The latency goals are not met: {replay.why}.", "More replicas, or looser goals."))
    if replay.replicas == 1:
        found.append(Risk("one machine", "One replica answers; while it is down, nothing does.",
                          "Keep the closed API as the fallback, or run two."))  # fmt: skip
    return found


def _doubtful(used: tuple[Fact, ...]) -> list[Risk]:
    unsure = [f for f in used if f.status == "unverified" and f.table != "assumptions"]
    if not unsure:
        return []
    what = f"{len(unsure)} of {len(used)} facts are unverified: {listing([f.ref for f in unsure], 3)}."
    return [Risk("facts", what, "Check them, or give your own in freehold.toml.")]
