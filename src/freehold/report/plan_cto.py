"""The CTO's page: what to do, what each way costs, what would change it, what to watch.

    Advice ──→ the word, the sentence, one figure        Option ──→ Bar (its month, P10 to P90) and a row of the table
    Option.months ──→ the money of 12 months              Flip ──→ Turn (you, the value that changes it, how far)
    everything ──→ Risk: what may go wrong, what it would mean, what to do about it

Nothing here decides: the rule is in the plan, and each figure is the plan's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from freehold.nouns import Advice, Demand, Flip, Option, Plan
from freehold.nouns.shown import shown
from freehold.report.plan_risks import SOON, Risk, risks
from freehold.report.plan_words import OWNED, amount, becomes, big, digits, factor, plain
from freehold.report.words import day, listing, percent, plural

__all__ = ["Bar", "Cto", "Turn", "cto", "headword"]

FEW = 7  # ways that are shown without a fold
FLAT = 8  # times the dearer of what is advised and what there is: what is dearer would flatten both
MOST = 4  # lines of the plot that can be told apart


@dataclass(frozen=True, slots=True)
class Bar:
    """One way's month against the dearest one's, in per cent of it; `taken` is what is advised, `out` what the team's
    own declarations rule out."""

    option: Option
    low: float
    value: float
    high: float
    taken: bool
    out: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A flip, with its place on a line from `least` to `most` in per cent; `words` says how far it is."""

    flip: Flip
    now: float
    at: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Cto:
    advice: Advice | None
    demand: Demand | None
    taken: Option | None
    stay: Option | None
    bars: tuple[Bar, ...]
    options: tuple[Option, ...]
    others: tuple[Option, ...]
    reasons: dict[str, str]
    money: dict[str, Any] | None
    turns: tuple[Turn, ...]
    robust: tuple[Flip, ...]
    risks: tuple[Risk, ...]
    again: str
    figure: str
    leaving: str
    method: str
    drawn: tuple[Option, ...]
    own: tuple[Option, str] | None
    whats: dict[str, str]
    quality: str


def headword(plan: Plan) -> str:
    """The advice's word as it heads the page: Stay. / Must move by 14 Jan 2027. / Must move now."""
    advice = plan.advice
    if advice is None:
        return "A plan."
    word = advice.word.capitalize()
    if advice.word.endswith(" BY") and advice.date and advice.date <= (plan.today or plan.made)[:10]:
        return f"{word.removesuffix(' by')} now."
    return f"{word} {day(advice.date)}." if advice.word.endswith(" BY") and advice.date else f"{word}."


def cto(plan: Plan) -> Cto | None:
    """None where the plan says nothing about money."""
    if plan.advice is None and not plan.options and plan.demand is None:
        return None
    taken, stay = plan.advised, next((o for o in plan.options if o.way == "closed"), None)
    ordered = tuple(sorted(plan.options, key=lambda o: (o is not taken, bool(o.out), _month(o))))
    turns = sorted((_turn(f) for f in plan.flips if f.at is not None), key=_distance)
    first = _first(ordered, taken, stay)
    others = tuple(o for o in ordered if o not in first)
    drawn = _drawn(ordered, taken, stay)
    reasons = _reasons(plan, taken)
    return Cto(
        plan.advice, plan.demand, taken, stay, _bars(first, taken, reasons), first, others, reasons,
        _money(plan, drawn, taken, stay), tuple(turns),
        tuple(f for f in plan.flips if f.at is None), tuple(risks(plan, taken, stay, _nearest(turns))),
        _again(plan, taken),
        _figure(plan, taken, stay), _leaves(plan.demand), _method(plan.options), drawn,
        _own(plan, taken, stay), {a.name: a.what for a in plan.rests_on}, _quality(plan, taken),
    )  # fmt: skip


def _quality(plan: Plan, taken: Option | None) -> str:
    """What is published of how good it is, where another model is advised and nothing proves it; "" otherwise. What a
    plan takes for proved (`--proved`, or verdicts) is proved for machines of one's own alone."""
    if taken is None or taken.way == "closed":
        return ""
    if taken.way in OWNED and plan.advice is not None and plan.advice.word != "NEEDS PROOF":
        return ""
    return next((note for note in taken.notes if "proof" in note), "")


def _first(ordered: tuple[Option, ...], taken: Option | None, stay: Option | None) -> tuple[Option, ...]:
    """What is advised, what there is now, and of each other way the cheapest: one that could be taken, if any. All
    where there are few."""
    if len(ordered) <= FEW:
        return ordered
    ways: dict[str, Option] = {}
    for o in ordered:
        ways.setdefault(o.way, o)
    return tuple(o for o in ordered if o is taken or o is stay or ways[o.way] is o)


def _month(option: Option) -> float:
    return option.month.value if option.month.value is not None else float("inf")


def _reasons(plan: Plan, taken: Option | None) -> dict[str, str]:
    """Why each other way is not taken: what rules it out, else what the rule says."""
    rejected = plan.advice.rejected if plan.advice else {}
    found = {o.name: "; ".join(o.out) or rejected.get(o.name, "") for o in plan.options if o is not taken}
    return {name: why for name, why in found.items() if why}


def _bars(options: tuple[Option, ...], taken: Option | None, reasons: dict[str, str]) -> tuple[Bar, ...]:
    """The ways that could be taken, the cheapest first; the dearest fills the line."""
    known = sorted((o for o in options if o.month.value is not None and (not o.out or o.way == "closed")), key=_month)
    most = max((max(o.month.value or 0.0, o.month.high or 0.0) for o in known), default=0.0)
    out = {o.name for o in known if "is declared" in reasons.get(o.name, "")}
    return tuple(_bar(o, most, o is taken, o.name in out) for o in known) if most > 0 else ()


def _bar(option: Option, most: float, taken: bool, out: bool) -> Bar:
    m = option.month
    low, value, high = (round(100 * max(x or 0.0, 0.0) / most, 2) for x in (m.low, m.value, m.high))
    return Bar(option, low if m.low is not None else value, value, high if m.high is not None else value, taken, out)


def _figure(plan: Plan, taken: Option | None, stay: Option | None) -> str:
    """What the advice's one figure is; of a plan that is blocked, what can be had without what blocks it."""
    advice = plan.advice
    if advice is None or advice.figure.value is None:
        return "figure"
    if taken is not None and advice.figure == taken.saves:
        return "saves" if advice.figure.value >= 0 else "costs more by"
    other = next((o for o in plan.options if o is not stay and o.saves == advice.figure), None)
    if other is not None:
        return f"saved by {shown(other.name, 60)}"
    return "costs now" if stay is not None and advice.figure == stay.month else "figure"


def _own(plan: Plan, taken: Option | None, stay: Option | None) -> tuple[Option, str] | None:
    """Where machines of one's own aren't taken: the cheapest, and how that compares with what is paid now."""
    able = [o for o in plan.options if o.way in OWNED and not o.out and o.month.value is not None]
    if not able or taken is None or taken.way in OWNED:
        return None
    least = min(able, key=_month)
    now = stay.month.value if stay is not None else None
    if not now:
        return least, ""
    part = _month(least) / now
    return (
        least,
        f"{digits(part, 2)} times what is paid now" if part >= 1 else f"{percent(part, 0)} of what is paid now",
    )


def _leaves(demand: Demand | None) -> str:
    """How long that is, and which closed models it is about."""
    near = [m for m in (demand.models if demand else ()) if m.days_left is not None and m.days_left <= SOON]
    if not near:
        return ""
    least = min(m.days_left or 0 for m in near)
    left = f"{plural(least, 'day')} left" if least >= 0 else "already switched off"
    return f"{left}: {listing([shown(m.model, 40) for m in near], 3)}"


def _method(options: tuple[Option, ...]) -> str:
    """How the money was drawn, where all say the same."""
    said = {o.month.method for o in options if o.month.method}
    return said.pop().rstrip(".") if len(said) == 1 else ""


def _drawn(ordered: tuple[Option, ...], taken: Option | None, stay: Option | None) -> tuple[Option, ...]:
    """The lines of the plot: what is advised, what there is now, then the first of each other way, as far as it would
    not flatten these two."""
    first = [o for o in (taken, stay if stay is not taken else None) if o is not None]
    ways: dict[str, Option] = {}
    for o in ordered:
        if not o.out and o.way not in {f.way for f in first}:
            ways.setdefault(o.way, o)
    most = FLAT * max((_month(f) for f in first), default=float("inf"))
    ways = {way: o for way, o in ways.items() if _month(o) <= most}
    return tuple(o for o in (*first, *ways.values()) if len(o.months) > 1)[:MOST]


def _money(plan: Plan, drawn: tuple[Option, ...], taken: Option | None, stay: Option | None) -> dict[str, Any] | None:
    """What plan.js draws: a line an option with its band; None where no option has its months."""
    if not drawn:
        return None
    n = max(len(o.months) for o in drawn)
    lines = [
        {"name": shown(o.name, 60), "style": _style(o, taken, stay, i)}
        | {key: _column(o, which, n) for which, key in enumerate(("low", "mid", "high"))}
        for i, o in enumerate(drawn)
    ]
    return {"kind": "money", "labels": _months(plan.today or plan.made, n), "x": list(range(1, n + 1)), "lines": lines}


def _column(option: Option, which: int, n: int) -> list[float | None]:
    found: list[float | None] = [round(month[which], 4) for month in option.months]
    return found + [None] * (n - len(found))


def _style(option: Option, taken: Option | None, stay: Option | None, i: int) -> str:
    if option is taken:
        return "taken"
    return "stay" if option is stay else ("other", "third")[i % 2]


def _months(start: str, n: int) -> list[str]:
    """The names of the months from a date on; of no date their numbers."""
    from datetime import date

    try:
        first = date.fromisoformat(start[:10])
    except ValueError:
        return [f"month {i}" for i in range(1, n + 1)]
    at = [12 * first.year + first.month - 1 + i for i in range(n)]
    return [f"{date(place // 12, place % 12 + 1, 1):%b %Y}" for place in at]


def _turn(flip: Flip) -> Turn:
    assert flip.at is not None
    return Turn(flip, _place(flip, flip.now), _place(flip, flip.at), _far(flip, flip.at))


def _place(flip: Flip, value: float) -> float:
    """Where a value stands between least and most: by factors where all are above 0, else by differences."""
    least, most = flip.least, flip.most
    if min(least, value) > 0 and most > least:
        part = log10(value / least) / log10(most / least)
    else:
        part = (value - least) / (most - least) if most > least else 0.5
    return round(100 * min(1.0, max(0.0, part)), 2)


def _far(flip: Flip, at: float) -> str:
    side = "at or above" if at > flip.now else "at or below"
    times = f" ({factor(at / flip.now)})" if flip.now > 0 and at > 0 and flip.unit != "share" else ""
    return f"{side} {amount(at, flip.unit)}{times}"


def _distance(turn: Turn) -> float:
    now, at = turn.flip.now, turn.flip.at
    if now > 0 and at is not None and at > 0:
        return abs(log10(at / now))
    return abs((turn.at or 0.0) - turn.now) / 10


def _nearest(turns: Sequence[Turn]) -> str:
    """The one figure that changes the advice first."""
    if not turns:
        return ""
    flip = turns[0].flip
    now = amount(flip.now, flip.unit)
    return f"{plain(flip.assumption)} {turns[0].words}: then {becomes(flip.becomes)}. You are at {now}."


def _again(plan: Plan, taken: Option | None) -> str:
    """When to plan again: the volume at which the advice changes, or at which own machines break even."""
    if plan.advice is not None and any(text.startswith("plan again") for text in plan.advice.instead):
        return ""  # the advice says it already
    volume = next((f for f in plan.flips if f.at is not None and "month" in f.unit and "token" in f.unit), None)
    if volume is not None and volume.at is not None:
        side = "rises to" if volume.at > volume.now else "falls to"
        return (
            f"Plan again when the volume {side} {big(volume.at)} tokens a month (now {big(volume.now)}): "
            f"then {becomes(volume.becomes)}."
        )
    own = [o for o in plan.options if o.way in OWNED and o is not taken and not o.out and o.break_even.value]
    if not own:
        return ""
    least = min(own, key=lambda o: o.break_even.value or 0.0)
    return f"Plan again near {big(least.break_even.value)} tokens a month: there {least.name} costs what staying costs."
