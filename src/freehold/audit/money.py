"""The bill: what the closed model's calls cost, each at the price of its day.

call ─price(model, tokens, at)→ USD or None      sum over the priced ones, with how many they are
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from math import fsum

from freehold.facts import price
from freehold.nouns import Call, Measure, Task, Tokens
from freehold.totals import HOURS

__all__ = ["Bill", "Costs", "cost_calls", "per_month"]

Costs = dict[int, float | None]
DAY = 86400.0


def cost_calls(calls: Sequence[Call]) -> Costs:
    """USD of each call that the closed model answered, by id(call); None where model, tokens or time don't say."""
    return {
        id(call): None if call.tokens is None else price(call.model, call.tokens, call.at)
        for call in calls
        if call.answered_by == "upstream"
    }


class Bill:
    """Some calls, their tokens and what they cost."""

    def __init__(self, calls: Sequence[Call], costs: Costs) -> None:
        billed = [call for call in calls if id(call) in costs]
        known = [cost for call in billed if (cost := costs[id(call)]) is not None]
        self.calls, self.priced_calls = len(billed), len(known)
        self.tokens = sum_tokens(billed)
        method = f"price of each call's day (genai-prices {version('genai-prices')})"
        if len(known) < len(billed):
            method += f"; {len(known):,} of {len(billed):,} calls have a price"
        self.money = Measure(fsum(known) if known else None, n=len(known), unit="USD", method=method)

    def priced(self, task: Task) -> Task:
        return replace(task, money=self.money, tokens=self.tokens)


def sum_tokens(calls: Sequence[Call]) -> Tokens:
    logged = [call.tokens for call in calls if call.tokens]
    prompt, completion = sum(t.prompt for t in logged), sum(t.completion for t in logged)
    return Tokens(prompt, completion, sum(t.cached for t in logged), sum(t.reasoning for t in logged))


def per_month(money: Measure, first: float | None, last: float | None) -> Measure:
    """The bill at this pace: scaled from the span between first and last call to an average month."""
    span = None if first is None or last is None else last - first
    if money.value is None or span is None or span < DAY:
        why = "no call has a price" if money.value is None else "the log's calls have no times, or span under a day"
        return Measure(None, n=money.n, unit="USD/month", method=why)
    method = f"{money.method}; {span / DAY:.1f} days of log scaled to {HOURS / 24:.2f}"
    return Measure(money.value * HOURS * 3600 / span, n=money.n, unit="USD/month", method=method)
