"""What to do: the rule that turns options into one word, and says why each other way was not taken.

    options ── ruled out (law, licence, memory, speed) ──→ possible ── saves with P >= 0.8 ──→ the one that saves most
                                                               │ own machines, besides: payback <= 12 months, proved
                                                               └ within 5 % of the bill: the one with less to run

    a model in use is switched off within a year → MUST MOVE BY its date, and where to
    own machines would win, but nothing is proved yet → NEEDS PROOF, and what to do until then

The rule says how sure is sure enough; it is printed with the advice. What a team declares (privacy, residency, latency,
continuity) rules ways out first; what that costs is shown apart and never counted as a saving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from freehold.nouns import Advice, Constraint, Demand, Measure, Option, Way
from freehold.nouns.plan import Word
from freehold.plan.words import brief, day, odds, span, times, usd

__all__ = ["DECLARED", "HORIZON", "NEAR", "OWNED", "SURE", "allowed", "choose", "deadline", "decision"]

SURE = 0.8  # of the draws must save
PAYBACK = 12.0  # months
NEAR = 0.05  # of the bill: a difference not worth more to run
HORIZON = 365  # days in which a shutdown decides
CENT = 0.005  # USD a month: less is nothing
LEAST_PART = 0.01  # of the tokens: what a shutdown must touch to decide
EFFORT: tuple[Way, ...] = ("closed", "cheaper", "hosted", "here", "rent", "buy")
TO: dict[Way, str] = {
    "closed": "nothing", "cheaper": "another closed model", "hosted": "a hosted open model", "here": "this machine",
    "rent": "rented machines", "buy": "bought machines",
}  # fmt: skip
WORDS: dict[Way, Word] = {"cheaper": "STAY CHEAPER", "hosted": "HOSTED OPEN"}
OWNED: frozenset[Way] = frozenset({"here", "rent", "buy"})
RULE = (
    f"the way that saves most in its first year, the work of getting there paid, among those that save in at least "
    f"{odds(SURE)} of the draws; machines of one's own only if they pay back within {PAYBACK:.0f} months, nothing in "
    "law or licence stands against it, and a proof says that the open model is no worse; within "
    f"{odds(NEAR)} of the bill, the way with less to run"
)
DECLARED: dict[str, dict[str, tuple[Way, ...]]] = {
    "privacy": {"house": ("here", "buy"), "own": ("here", "rent", "buy")},
    "continuity": {"owned": ("here", "rent", "buy"), "open": ("here", "rent", "buy", "hosted")},
    "residency": {"own": ("here", "rent", "buy")},
    "latency": {},
}
"""Which ways keep what a team declares: the data stays in the house, or with machines that the team rules; the weights
can't be taken away, or can be had elsewhere. A latency is checked by the replay, and rules out by itself."""


def allowed(options: Sequence[Option], declared: Mapping[str, str]) -> list[Option]:
    """The options with what is declared among their reasons."""
    found = list(options)
    for name, value in declared.items():
        ways = DECLARED[name].get(value)
        if ways is not None:
            why = f"{name} = {value!r} is declared, and this way does not keep it"
            found = [o if o.way in ways else replace(o, out=(*o.out, why)) for o in found]
    return found


def choose(
    demand: Demand, options: Sequence[Option], *, proved: bool = False, declared: Mapping[str, str] | None = None,
    wanted: str = "",
) -> Advice:  # fmt: skip
    """The advice for these options, of which one is `closed`: staying as it is. `wanted` names the open model that was
    asked for, if any: where law or licence rules it out, that is the answer."""
    free = _advice(demand, options, proved)
    if not declared:
        return _blocked(free, options, wanted) or free
    kept = allowed(options, declared)
    advice = _advice(demand, kept, proved)
    return replace(_blocked(advice, kept, wanted) or advice, constraints=_prices(declared, options, demand, proved))


def decision(advice: Advice) -> str:
    """The word, and of a move that must be made also where to: what a changed assumption may turn."""
    return f"move to {TO[advice.way]}" if advice.word == "MUST MOVE BY" else advice.word


def _advice(demand: Demand, options: Sequence[Option], proved: bool) -> Advice:
    stay = next(o for o in options if o.way == "closed")
    moves = deadline(demand)
    reasons = {o.name: _why_not(o, stay, proved, bool(moves)) for o in options}
    able = [o for o in options if not reasons[o.name]]
    best = _best(able, stay) if able else stay
    unproved = _unproved(options, best, stay, bool(moves)) if not proved else None
    rejected = {o.name: reasons[o.name] or _less(o, best) for o in options if o is not best}
    figure = best.saves if best is not stay else stay.month
    ends, date = moves if moves else ("", "")
    word: Word
    if not able and unproved is None:
        return _stuck(stay, rejected, moves)
    if moves and not able and unproved is not None:  # staying ends, and all that is left asks for a proof
        word, figure = "NEEDS PROOF", unproved.saves
        left = f"{unproved.name} is what is left: no proof says yet that it answers as well."
        sentence = f"{_big(ends)} on {day(date)}, and {left}"
    elif moves:
        word, sentence = "MUST MOVE BY", f"{_big(ends)} on {day(date)}: move to {best.name}{_forced(best, stay)}."
    elif unproved is not None:
        word = "NEEDS PROOF"
        sentence = f"{_big(unproved.name)} would pay{_saving(unproved)}; no proof says yet that it answers as well."
        figure = unproved.saves
    elif best is stay:
        word, sentence = "STAY", f"Stay: {_stay(options, stay)}."
    else:
        part = best.way == "here" and best.parts.get("closed", 0.0) > 0
        word = WORDS.get(best.way, "HYBRID" if part else "OWN")
        sentence = f"Take {best.name}{_saving(best)}, after a check on your own calls."
    instead = () if unproved is None else (_meanwhile(unproved, best, stay, bool(moves)),)
    meant = unproved if word == "NEEDS PROOF" and unproved is not None else best
    return Advice(
        word, sentence, figure, meant.way, date=date, rule=RULE, instead=instead, rejected=rejected, name=meant.name
    )  # fmt: skip


def _why_not(option: Option, stay: Option, proved: bool, must: bool) -> str:
    """Why an option can't be taken; "" where it can."""
    if option.out:
        return "; ".join(map(brief, option.out))
    if option is stay:
        return "its model is switched off" if must else ""
    if not must and not _saves(option):
        return _costs(option, stay)
    if option.way in OWNED:
        if option.payback.value is None or option.payback.value > PAYBACK:
            return _slow(option)
        if not proved:
            return "nothing proves yet that it answers as well (freehold prove)"
    return ""


def _saves(option: Option) -> bool:
    return (option.chance.value or 0.0) >= SURE and (option.saves.value or 0.0) > 0


def _best(able: Sequence[Option], stay: Option) -> Option:
    """The one that saves most in its first year; of those within NEAR of the bill of it, the one with less to run, and
    of those the first (the same vendor's before others')."""
    most = max(able, key=_value)
    slack = NEAR * abs(stay.month.value or 0.0)
    return min((o for o in able if _value(most) - _value(o) <= slack), key=lambda o: EFFORT.index(o.way))


def _value(option: Option) -> float:
    """USD a month that it saves in its first year, the work of getting there paid; where the present bill is not known,
    what it does not cost."""
    work = (option.once.value or 0.0) / 12
    if option.saves.value is not None:
        return option.saves.value - work
    return -option.month.value - work if option.month.value is not None else float("-inf")


def _unproved(options: Sequence[Option], best: Option, stay: Option, must: bool) -> Option | None:
    """What would be taken, were it proved, where that is a way with machines of one's own."""
    able = [o for o in options if not _why_not(o, stay, True, must)]
    first = _best(able, stay) if able else stay
    return first if first.way in OWNED and first is not best else None


def deadline(demand: Demand) -> tuple[str, str] | None:
    """(the model, the day) of the first shutdown that touches a part of the tokens worth naming."""
    total = sum(m.input + m.output for m in demand.models) or 1.0
    near = [
        m for m in demand.models
        if m.days_left is not None and m.days_left <= HORIZON and (m.input + m.output) / total >= LEAST_PART
    ]  # fmt: skip
    if not near:
        return None
    first = min(near, key=lambda m: m.retires)
    verb = "was switched off" if (first.days_left or 0) < 0 else "is switched off"
    return f"{first.model} {verb}", first.retires


def _stuck(stay: Option, rejected: dict[str, str], moves: tuple[str, str] | None) -> Advice:
    why = f"{moves[0]} on {day(moves[1])}, and no other way is left" if moves else "no way is left"
    return Advice(
        "BLOCKED", f"{_big(why)}: see what rules each out.", stay.month, "closed",
        date=moves[1] if moves else "", rule=RULE, rejected=rejected,
    )  # fmt: skip


def _blocked(advice: Advice, options: Sequence[Option], wanted: str) -> Advice | None:
    """Where every way with the model that was asked for is ruled out by something else than money."""
    asked = [o for o in options if wanted and o.model == wanted]
    if not asked or not all(o.out for o in asked):
        return None
    why = brief(asked[0].out[0])
    instead = (f"without it: {advice.sentence}", *advice.instead)
    return replace(advice, word="BLOCKED", sentence=f"{wanted} can't be taken: {_small(why)}.", instead=instead)


def _prices(
    declared: Mapping[str, str], options: Sequence[Option], demand: Demand, proved: bool
) -> tuple[Constraint, ...]:
    """What each declared thing changes by itself, and what that costs a month."""
    free = _taken(demand, options, proved)
    found = []
    for name, value in declared.items():
        kept = _taken(demand, allowed(options, {name: value}), proved)
        if kept is free:
            found.append(Constraint(name, value, "nothing: the advice keeps it anyway", Measure(0.0, unit="USD/month")))
            continue
        costs = None if kept is None or free is None else _difference(kept, free)
        changes = "no way keeps it" if kept is None else f"{kept.name} in place of {free.name if free else 'nothing'}"
        found.append(Constraint(name, value, changes, costs or Measure(None, unit="USD/month")))
    return tuple(found)


def _taken(demand: Demand, options: Sequence[Option], proved: bool) -> Option | None:
    """The option by the rule, where declared things leave no better one: the cheapest that can be taken at all."""
    stay = next(o for o in options if o.way == "closed")
    must = deadline(demand) is not None
    able = [o for o in options if not _why_not(o, stay, proved, must)]
    if able:
        return next(o for o in options if o.name == _best(able, stay).name)
    possible = [o for o in options if not o.out and o.month.value is not None]
    return min(possible, key=lambda o: o.month.value or 0.0) if possible else None


def _difference(kept: Option, free: Option) -> Measure | None:
    if kept.month.value is None or free.month.value is None:
        return None
    low, high = kept.month.low, kept.month.high
    base = free.month.value
    return Measure(
        kept.month.value - base, None if low is None else low - base, None if high is None else high - base,
        kept.month.n, "USD/month", f"{kept.name} less {free.name}",
    )  # fmt: skip


def _saving(option: Option) -> str:
    """In words: which saves $4,175 a month (P10 to P90 $3,900 to $4,400) in 98 % of the draws."""
    saves = option.saves
    if saves.value is None:
        return ""
    sure = "" if option.chance.value is None else f", and saves in {odds(option.chance.value)} of the draws"
    if option.chance.value == 1:
        sure = ", and saves in every draw"
    return f", which saves {usd(saves.value)} a month{span(saves)}{sure}"


def _forced(option: Option, stay: Option) -> str:
    """What a move that must be made costs, beside the bill that ends. How sure it is to save says nothing: staying is
    no choice."""
    if option.month.value is None:
        return ", whose cost is not known"
    now = f" in place of {usd(stay.month.value)}" if stay.month.value is not None else ""
    once = f", and about {usd(option.once.value)} once for the work" if option.once.value else ""
    return f", which costs {usd(option.month.value)} a month{span(option.month)}{now}{once}"


def _meanwhile(unproved: Option, best: Option, stay: Option, must: bool) -> str:
    """What to do until a proof is there, or what one would open."""
    if must:
        least = f" at {usd(unproved.month.value)} a month" if unproved.month.value is not None else ""
        return f"prove {unproved.name}{least} before that day (freehold prove), and take it in its place"
    if best.out:
        return f"until then nothing keeps what is declared: {best.name} does not"
    return f"until then: stay with {best.name}" if best is stay else f"until then: {best.name}{_saving(best)}"


def _stay(options: Sequence[Option], stay: Option) -> str:
    others = [o for o in options if o is not stay and not o.out and o.month.value is not None]
    bill = f"it costs {usd(stay.month.value)} a month" if stay.month.value is not None else "what it costs is not known"
    if not others:
        return f"nothing else can be taken, and {bill}"
    cheapest = min(others, key=lambda o: o.month.value or 0.0)
    said = f"{bill}, and with the work of moving paid nothing saves in {odds(SURE)} of the draws; "
    said += f"the next is {cheapest.name} at {usd(cheapest.month.value)}"
    own = [o for o in others if o.way in OWNED]
    if not own or cheapest in own:
        return said + _times(cheapest, stay)
    least = min(own, key=lambda o: o.month.value or 0.0)
    return f"{said}, the cheapest of your own {least.name} at {usd(least.month.value)}{_times(least, stay)}"


def _times(option: Option, stay: Option) -> str:
    if not stay.month.value or not option.month.value or option.month.value < 1.05 * stay.month.value:
        return ""
    return f", {times(option.month.value / stay.month.value)} times as much"


def _costs(option: Option, stay: Option) -> str:
    saves = option.saves.value
    if saves is None:
        return "its cost is not known" if option.month.value is None else "whether it saves is not known"
    if abs(saves) < CENT:
        return "it costs as much as staying"
    if saves > 0:
        work = "with the work of moving paid within a year "
        return f"{work}it saves in {odds(option.chance.value or 0.0)} of the draws only, not {odds(SURE)}"
    return f"it costs {usd(-saves)} a month more{_times(option, stay)}"


def _slow(option: Option) -> str:
    if option.payback.value is None:
        return "it never pays back"
    return f"it pays back after {option.payback.value:,.0f} months, not within {PAYBACK:.0f}"


def _less(option: Option, best: Option) -> str:
    if option.saves.value is None or best.saves.value is None:
        return f"{best.name} comes first"
    gap = best.saves.value - option.saves.value
    if abs(gap) < CENT:
        return f"it saves as much as {best.name}, which comes first"
    if gap < 0 and _value(option) < _value(best):
        work = f"the work of getting there is {usd(option.once.value)}, and {best.name}'s {usd(best.once.value)}"
        return f"it saves {usd(-gap)} a month more than {best.name}, but less in the first year: {work}"
    if gap < 0:
        near = "which is less to run" if option.way != best.way else "which comes first"
        return f"it saves {usd(-gap)} a month more than {best.name}, {near}: within {odds(NEAR)} of the bill"
    return f"{best.name} saves {usd(gap)} a month more"


def _big(text: str) -> str:
    """With a capital, unless it begins with a name that has its own writing (gpt-4o)."""
    return text if any(c in text.split(" ")[0] for c in "-.0123456789") else text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text
