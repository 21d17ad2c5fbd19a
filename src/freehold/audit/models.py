"""The closed models in a log: calls, tokens, money, when each is switched off, and what of it has no price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from freehold.audit.bill import Bill
from freehold.audit.tallies.spend import Cell, short
from freehold.facts import TIERS, retirement, vendor_of
from freehold.nouns import Measure, ModelUse, Tokens

__all__ = ["models_used", "unpriced"]

SENTENCES = 50


def models_used(bill: Bill, today: date) -> tuple[ModelUse, ...]:
    """One row a model that answered, the most used first. Calls that name no model are the row of the model that they
    are priced as, and none where nobody said which."""
    found: dict[str, Cell] = {}
    for model, cell in bill.tally.models.cells.items():
        name = model or bill.book.price_as
        if name and cell.billed:
            found[name] = _both(found[name], cell) if name in found else cell
    used = list(found.items())
    used.sort(key=lambda item: (-item[1].billed, item[0]))
    return tuple(_use(model, c.billed, c.tokens(), bill.money(c), c.priced, today) for model, c in used)


def _both(one: Cell, other: Cell) -> Cell:
    sum_ = Cell()
    sum_.merge(one)
    sum_.merge(other)
    return sum_


def _use(model: str, calls: int, tokens: Tokens, money: Measure, priced: int, today: date) -> ModelUse:
    retires, source = retirement(model) or (None, "")
    left = (date.fromisoformat(retires) - today).days if retires else None
    return ModelUse(model, vendor_of(model), calls, tokens, money, priced, retires, left, source)


def unpriced(bill: Bill) -> Iterator[str]:
    """What is not in the bill and why, a sentence or two for each model that lacks most."""
    lacking = [(model, cell) for model, cell in bill.tally.models.cells.items() if cell.billed > cell.priced]
    lacking.sort(key=lambda item: (item[1].priced - item[1].billed, item[0]))
    for model, cell in lacking[:SENTENCES]:
        if not model and not bill.book.price_as:
            yield f"{cell.billed:,} calls name no model: their money is unknown."
        else:
            yield from _why(bill, model, cell)
    if len(lacking) > SENTENCES:
        yield f"{len(lacking) - SENTENCES:,} more models have calls that are not in the bill."


def _why(bill: Bill, model: str, cell: Cell) -> Iterator[str]:
    name = model or bill.book.price_as
    whole = {cell.billed: "its"}
    if cell.uncounted:
        which = whole.get(cell.uncounted, f"{cell.uncounted:,} of its")
        yield f"{name} has no token counts: {which} {cell.billed:,} calls are not in the bill."
    if cell.untimed:
        yield f"{cell.untimed:,} calls of {name} say no time, and so no day's price: not in the bill."
    left = cell.billed - cell.priced - cell.uncounted - cell.untimed
    for tier in TIERS:
        tiered = bill.tally.tiers.cells.get(short(f"{model} {tier}")) or Cell()
        gone = tiered.billed - tiered.priced - tiered.uncounted - tiered.untimed
        if gone > 0:
            yield f"{name} has no {tier} price on file: {gone:,} calls are not in the bill."
            left -= gone
    if left > 0:
        which = whole.get(left, f"{left:,} of its")
        yield f"{name} has no price on file: {which} {cell.billed:,} calls are not in the bill."
