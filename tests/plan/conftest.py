"""Plans that several tests read: made once, a second each, and never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache

import pytest

from freehold.nouns import Plan
from freehold.plan import plan
from freehold.plan.demand import by_hand
from freehold.plan.own import Wish
from freehold.project import Settings

Make = Callable[..., Plan]


@cache
def _made(tokens: float, model: str, day: str, wish: Wish, country: str, continuity: str) -> Plan:
    from freehold.project.settings import CompanySettings, Declared

    today = date.fromisoformat(day)
    settings = Settings(company=CompanySettings(country=country), declared=Declared(continuity=continuity))
    demand = by_hand(tokens, model, share=0.75, calls=None, today=today)
    return plan(demand=demand, settings=settings, wish=wish, today=today)


@pytest.fixture(scope="session")
def typed() -> Make:
    """A plan from amounts typed by hand: typed(1e9, "gpt-4o"), the wish by name."""

    def make(
        tokens: float, model: str, day: str = "2026-11-25", *, country: str = "", continuity: str = "",
        open_model: str = "", hardware: str = "", format: str = "", proved: bool = False,
    ) -> Plan:  # fmt: skip
        return _made(tokens, model, day, Wish(open_model, hardware, format, proved), country, continuity)

    return make
