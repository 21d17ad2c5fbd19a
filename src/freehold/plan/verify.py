"""Does a saved plan still hold: computed again as of its own day, to the cent, and as of today.

plan.json ── its demand, its flags, its day ──→ the same sha256, or what is other than it says
          └─ today ──→ Change(what, then, now): facts, prices, days left, money, the word
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from freehold.nouns import Audit, Fact, Plan
from freehold.plan import fingerprint, plan
from freehold.plan.decide import Wish
from freehold.plan.load.arrivals import Arrivals
from freehold.project import Settings

__all__ = ["Change", "Verified", "verify"]

SMALL = 0.005  # USD: half a cent


@dataclass(frozen=True, slots=True)
class Change:
    """What is other than in the saved plan: `what` (facts/..., options/..., advice), then and now, in words."""

    what: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class Verified:
    """`intact`: the file is what its sha256 says. `same`: computed again as of its own day it comes out the same;
    `then` is what doesn't. `since`: what has changed until today."""

    intact: bool
    same: bool
    then: tuple[Change, ...]
    since: tuple[Change, ...]
    today: str


def verify(
    saved: Plan,
    *,
    settings: Settings,
    audit: Audit | None,
    arrivals: Arrivals | None,
    wish: Wish,
    today: date,
    machine_cost: float | None = None,
    confidence: float | None = None,
) -> Verified:
    """Compute a saved plan again. Raises BadSetting where it holds no decision (a log without a pace)."""
    from freehold.errors import BadSetting

    if saved.demand is None or saved.advice is None:
        raise BadSetting("This plan holds no decision to verify.", "Make one: freehold plan --tokens 10M/month.")

    def again(day: date) -> Plan:
        given = saved.demand if saved.demand is not None and saved.demand.given else None
        return plan(
            audit, demand=given, settings=settings, machine_cost=machine_cost, arrivals=arrivals, wish=wish,
            given=saved.given, today=day, confidence=confidence or settings.confidence, seed=saved.seed,
        )  # fmt: skip

    old = again(date.fromisoformat(saved.today))
    then = tuple(changes(saved, old))
    if not then and fingerprint(old) != fingerprint(saved):
        then = (Change("words, sizes or speeds", fingerprint(saved)[:16], fingerprint(old)[:16]),)
    since = tuple(changes(saved, again(today)))
    return Verified(fingerprint(saved) == saved.sha256, not then, then, since, today.isoformat())


def changes(old: Plan, new: Plan) -> Iterator[Change]:
    """What differs, the advice first."""
    if old.advice is not None and new.advice is not None and old.advice.word != new.advice.word:
        yield Change("advice", old.advice.word, new.advice.word)
    if old.demand is not None and new.demand is not None and old.demand.source != new.demand.source:
        yield Change("demand", old.demand.source, new.demand.source)
    yield from _money(old, new)
    yield from _rows({fact.ref: fact for fact in old.used}, {fact.ref: fact for fact in new.used})
    if old.law is not None and new.law is not None:
        told = {duty.rule: duty for duty in old.law.duties}
        for duty in new.law.duties:
            before = told.get(duty.rule)
            if before is None or before.outcome != duty.outcome:
                yield Change(f"law/{duty.rule}", before.outcome if before else "not asked", duty.outcome)


def _money(old: Plan, new: Plan) -> Iterator[Change]:
    after = {option.name: option for option in new.options}
    for option in old.options:
        now = after.get(option.name)
        if now is None:
            yield Change(f"options/{option.name}", str(option.month), "no longer among the ways")
        elif _other(option.month.value, now.month.value):
            yield Change(f"options/{option.name}", str(option.month), str(now.month))


def _rows(old: Mapping[str, Fact], new: Mapping[str, Fact]) -> Iterator[Change]:
    for ref in sorted({*old, *new}):
        a, b = old.get(ref), new.get(ref)
        if a is None or b is None:
            yield Change(f"facts/{ref}", "used" if a else "not used", "used" if b else "not used")
            continue
        for name in sorted({*a.values, *b.values}):
            if _plain(a.values.get(name)) != _plain(b.values.get(name)):
                yield Change(f"facts/{ref}.{name}", str(a.values.get(name))[:80], str(b.values.get(name))[:80])


def _plain(value: Any) -> Any:
    """As it is once it went through JSON: a list for a tuple."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _other(a: float | None, b: float | None) -> bool:
    return (a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > SMALL)
