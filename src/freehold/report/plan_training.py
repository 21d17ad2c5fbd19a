"""Where to train, for the engineer's page: the students of this machine in one sentence, a table for each other one.

Plan.training ─┬─ label students, taggers, adapters on the default base → here, minutes together
               └─ an adapter on the open model, a whole model           → tables
"""

from __future__ import annotations

from dataclasses import dataclass

from freehold.fit.memory import GIB, RESERVE
from freehold.fit.told import clock, dollars
from freehold.nouns import Measure, Plan, Site, Training

__all__ = ["TRAINING_FILTERS", "Trainings", "trainings"]


@dataclass(frozen=True, slots=True)
class Trainings:
    here: tuple[Training, ...]
    minutes: float
    tables: tuple[Training, ...]


def trainings(plan: Plan) -> Trainings | None:
    """None where nothing is trained."""
    if not plan.training:
        return None
    here = tuple(one for one in plan.training if one.site is not None and one.site.here and len(one.sites) == 1)
    minutes = sum(60 * (one.site.hours.value or 0.0) for one in here if one.site is not None)
    return Trainings(here, minutes, tuple(one for one in plan.training if one not in here))


def _place(site: Site) -> str:
    return "this machine" if site.here else f"{site.devices} × {site.hardware}"


def _value(text: str) -> str:
    return text.partition(" (")[0]


def _range(text: str) -> str:
    return text.partition(" (")[2].rstrip(")")


def _took(hours: Measure) -> str:
    return _value(clock(hours))


def _took_range(hours: Measure) -> str:
    return _range(clock(hours))


def _paid(costs: Measure) -> str:
    return _value(dollars(costs))


def _paid_range(costs: Measure) -> str:
    return _range(dollars(costs))


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def _room(size: float) -> str:
    return _gib(RESERVE * size)


TRAINING_FILTERS = {
    "place": _place, "gib": _gib, "room": _room,
    "took": _took, "took_range": _took_range, "paid": _paid, "paid_range": _paid_range,
}  # fmt: skip
