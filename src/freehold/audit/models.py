"""The closed models in a log: calls, tokens, money, and when each is switched off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from freehold.audit.money import Bill, Costs
from freehold.facts import retirement, vendor_of
from freehold.nouns import Call, ModelUse

__all__ = ["model_uses"]


def model_uses(calls: Sequence[Call], costs: Costs, today: date) -> tuple[ModelUse, ...]:
    """One row a model that answered, the most used first; a row without a model name is not one."""
    by_model: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.model and id(call) in costs:
            by_model[call.model].append(call)
    uses = [_use(model, used, costs, today) for model, used in by_model.items()]
    return tuple(sorted(uses, key=lambda use: (-use.calls, use.model)))


def _use(model: str, calls: list[Call], costs: Costs, today: date) -> ModelUse:
    bill = Bill(calls, costs)
    retires, source = retirement(model) or (None, "")
    return ModelUse(
        model=model,
        vendor=vendor_of(model),
        calls=len(calls),
        tokens=bill.tokens,
        money=bill.money,
        priced=bill.priced_calls,
        retires=retires,
        days_left=(date.fromisoformat(retires) - today).days if retires else None,
        source=source,
    )
