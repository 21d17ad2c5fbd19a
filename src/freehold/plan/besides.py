"""What to do besides, whatever the advice is: what costs less on the present model, what to keep, when to plan again.

audit  ── repeats, prefix, moves ──→ a cache, the vendor's prompt cache, the task that moves first
prices ── batch ──→ half the price for what can wait         days left ──→ keep golden answers before the day
flips  ── volume ──→ plan again at that many tokens a month
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from freehold.facts import PriceBook
from freehold.nouns import Advice, Audit, Demand, Flip, Measure, Option
from freehold.nouns.shown import shown
from freehold.plan.choose import OWNED, SURE
from freehold.plan.demand import scale_of
from freehold.plan.money.bills import Bill, bill, mix_of, present
from freehold.plan.words import day, digits, odds, usd

__all__ = ["AGAIN", "besides"]

LEAST = 0.005  # USD a month, and share of the prompts: less is not worth a sentence
AGAIN = "plan again when "
Price = Callable[[Demand], Mapping[str, Bill | None]]
STUDENT = {"labels": "a classifier", "json": "a tagger", "tools": "a tagger"}


def besides(
    advice: Advice, demand: Demand, options: Sequence[Option], flips: Sequence[Flip], *, audit: Audit | None,
    book: PriceBook, today: date,
) -> tuple[str, ...]:  # fmt: skip
    """A phrase each, that which saves most on the present model first; none that says nothing."""
    price = _prices(advice, options, book, today)
    return (
        *_cheaper(advice, options), *_repeats(audit), *_prefix(audit, demand, price),
        *_batch(demand, price), *_first(audit), *_golden(demand), *_again(flips, options, advice),
    )  # fmt: skip


def _cheaper(advice: Advice, options: Sequence[Option]) -> Iterator[str]:
    """Where one stays: what another closed model would save, and why that is not yet enough."""
    able = [o for o in options if o.way == "cheaper" and not o.out and (o.saves.value or 0.0) > LEAST]
    if advice.word != "STAY" or not able:
        return
    best = max(able, key=lambda o: o.saves.value or 0.0)
    work = f"the work of moving, about {usd(best.once.value)}," if best.once.value else "the work of moving"
    yield (
        f"{best.name} would save {usd(best.saves.value)} a month; {work} is paid within a year in "
        f"{odds(best.chance.value or 0.0)} of the draws, and {odds(SURE)} are asked for"
    )


def _repeats(audit: Audit | None) -> Iterator[str]:
    """A cache in front of the API for what was asked before to the letter."""
    if audit is None or not audit.repeats.saved.value:
        return
    scale = scale_of(audit)
    if scale is None or audit.repeats.saved.value * scale < LEAST:
        return
    part = odds(audit.repeats.exact.value) if audit.repeats.exact.value else "some"
    safe = audit.repeats.safe.value
    steady = f", {usd(safe * scale)} of it at temperature 0" if safe is not None else ""
    saved = usd(audit.repeats.saved.value * scale)
    yield f"keep answers in a cache: {part} of the calls repeat an earlier one to the letter, {saved} a month{steady}"


def _prefix(audit: Audit | None, demand: Demand, price: Price) -> Iterator[str]:
    """The vendor's prompt cache for the beginning that prompts share."""
    share = audit.repeats.prefix.value if audit is not None else None
    read = demand.input.value or 0.0
    held = (demand.cached.value or 0.0) / read if read else 0.0
    if share is None or share - held < LEAST:
        return
    models = tuple(replace(part, cached=max(part.cached, share * part.input)) for part in demand.models)
    more = replace(demand, models=models, cached=replace(demand.cached, value=share * read))
    now, then = (_sum(price(one)) for one in (demand, more))
    saved = now - then if now is not None and then is not None else 0.0
    money = f", up to {usd(saved)} a month" if saved >= LEAST else ""
    today = f" ({odds(held)} are today)" if held else ""
    yield f"put what prompts share first: a prompt cache could hold {odds(share)} of what is read{today}{money}"


def _batch(demand: Demand, price: Price) -> Iterator[str]:
    """Half the price, where the vendor has it, for what can wait for a day."""
    if demand.batch.value:
        return
    now, then = price(demand), price(replace(demand, batch=Measure(1.0)))
    less = {name: old - new for name in now if (old := _month(now[name])) and (new := _month(then[name])) is not None}
    able = [name for name, saved in less.items() if saved > LEAST]
    if able:
        off = max(less[name] / (_month(now[name]) or 1.0) for name in able)
        saved = sum(less[name] for name in able)
        of = f" of {' and '.join(able)}" if len(able) < 3 else ""
        yield f"calls{of} that can wait for a day: -{odds(off)} at the batch price, up to {usd(saved)} a month"


def _prices(advice: Advice, options: Sequence[Option], book: PriceBook, today: date) -> Price:
    """What a demand costs at the closed model that is advised, else at the present ones."""
    taken = next((o for o in options if o.name == advice.name and o.way == "cheaper"), None)
    if taken is not None:
        model = taken.model
        return lambda demand: {model: bill(mix_of(demand), model, book, today)}
    return lambda demand: present(demand, book, today)


def _first(audit: Audit | None) -> Iterator[str]:
    """The task that can move first."""
    for move in audit.moves[:1] if audit is not None else ():
        if not move.portability.value:
            return
        student = STUDENT.get(move.kind, "a small language model")
        money = f", {usd(move.money.value)} a month" if move.money.value else ""
        yield f"{student} of your own for the task {shown(move.task, 60)}{money}: freehold tune, then freehold prove"


def _golden(demand: Demand) -> Iterator[str]:
    """Answers to compare with, while there is somebody to ask."""
    ending = sorted((part.retires, part.model, part.days_left) for part in demand.models if part.days_left is not None)
    coming = [(when, model) for when, model, left in ending if left > 0]
    for when in dict.fromkeys(when for when, _ in coming):
        names = " and ".join(model for day_, model in coming if day_ == when)
        yield f"record golden answers of {names} before {day(when)}: from then on nothing can be compared with them"
    gone = [model for _, model, left in ending if left <= 0]
    if gone:
        yield f"keep the logged answers of {' and '.join(gone)}: nobody can ask again, and a proof compares with them"


def _again(flips: Sequence[Flip], options: Sequence[Option], advice: Advice) -> Iterator[str]:
    """The volume at which the advice changes; else that at which own machines cost what staying costs."""
    turn = next((flip for flip in flips if flip.assumption == "volume" and flip.at is not None), None)
    if turn is not None and turn.at is not None:
        side = "rises to" if turn.at > turn.now else "falls to"
        then = turn.becomes if turn.becomes.startswith("move") else f"the answer is {turn.becomes}"
        yield f"{AGAIN}the volume {side} {digits(turn.at)} tokens a month (now {digits(turn.now)}): then {then}"
        return
    own = [o for o in options if o.way in OWNED and o.way != advice.way and not o.out and o.break_even.value]
    if own:
        least = min(own, key=lambda o: o.break_even.value or 0.0)
        yield (
            f"{AGAIN}the volume nears {digits(least.break_even.value or 0.0)} tokens a month: there {least.name} costs "
            "what the present models cost"
        )


def _sum(bills: Mapping[str, Bill | None]) -> float | None:
    found = [_month(one) for one in bills.values()]
    return None if not found or None in found else sum(value or 0.0 for value in found)


def _month(cost: Bill | None) -> float | None:
    return None if cost is None else float(cost.total[0])
