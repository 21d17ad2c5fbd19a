"""The open model that a team would run itself: which, on what, how fast, and how many of them its load asks for.

candidates ── placed on each device ── a full replica's rate ──→ the best within 5 % of the bill of the cheapest
              └ too small: why        its load replayed ──→ replicas
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from freehold.errors import BadSetting
from freehold.facts import Facts
from freehold.facts.open_models import architecture, has_architecture
from freehold.facts.values import number
from freehold.fit import Architecture
from freehold.nouns import Candidate, Demand, Fact, Measure, Replay
from freehold.plan.candidates import ARENA
from freehold.plan.choose import NEAR
from freehold.plan.load.arrivals import Arrivals
from freehold.plan.load.batching import Engine, Steps
from freehold.plan.load.capacity import capacity
from freehold.plan.load.replay import Goal, cold_start, least_replicas
from freehold.plan.money.own import HERE, own_setups
from freehold.plan.speed import step
from freehold.plan.speed.calibrate import calibration
from freehold.plan.speed.place import Place, fit_on, places
from freehold.plan.speed.speculate import asked
from freehold.project import Settings
from freehold.totals import HOURS

__all__ = ["Own", "Wish", "run_own", "unfit"]

TRIED = 6  # candidates that are placed: so many of the best by published quality, and of the smallest
GPUS = ("datacentre",)
GOAL = Goal(first_token=2.0, between=0.1)
"""Seconds that 95 % of calls keep to where none are declared: a chat that feels alive."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for beside the demand: an open model, its hardware and format by name ("": the plan picks),
    whether a proof is taken for granted, and this machine where it was measured. `train`: ids that every weight of the
    open model is to learn from (0: nothing is)."""

    model: str = ""
    hardware: str = ""
    format: str = ""
    proved: bool = False
    machine: Fact | None = None
    train: float = 0.0


@dataclass(frozen=True, slots=True)
class Own:
    """The open model that would be run at home, and what it takes; without a place where none fits."""

    place: Place | None = None
    rate: Measure | None = None
    replay: Replay | None = None
    fits: tuple[Any, ...] = ()
    speeds: tuple[Any, ...] = ()
    out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def unfit(own: Own, wish: Wish) -> dict[str, str]:
    """Why there is no way with machines of one's own, under a name of what was looked for."""
    if own.place is not None or not own.out:
        return {}
    where = f" on {wish.hardware}" if wish.hardware else ""
    return {f"{wish.model or 'a model of your own'}{where}": own.out[0]}


def run_own(
    found: Sequence[Candidate],
    demand: Demand,
    calls: Arrivals,
    facts: Facts,
    wish: Wish,
    settings: Settings,
    bill: float,
) -> Own:
    """The cheapest place over the candidates that nothing rules out, and the load played against it."""
    able = _tried([one for one in found if wish.model or not one.out])
    hardware = _hardware(facts, wish)
    longest, mean, prompt = _sizes(demand, calls)
    priced: list[tuple[float, float, Place, Measure]] = []
    fits: list[Any] = []
    speeds: list[Any] = []
    for one in able:
        row = facts.get("models", one.model)
        if not has_architecture(row):
            continue
        a = architecture(row)
        forms = (wish.format,) if wish.format else ()
        placed, missed = places(row, a, hardware, facts, longest=longest, mean=mean, prompt=prompt, forms=forms)
        for place in placed:
            if place.speed.prefill.value is None:  # nobody published how fast it reads
                continue
            rate = _rate(a, place, calls, facts)
            priced.append((_monthly(place, rate, demand, facts), one.quality.get(ARENA, 0.0), place, rate))
        if len(able) == 1:
            fits += missed
        fits += [place.fit for place in placed]
        speeds += [place.speed for place in placed]
    if not priced:
        return Own(fits=tuple(fits), out=_nowhere(able, fits, wish))
    _, _, place, rate = _best(priced, bill)
    played = _played(place, calls, facts, settings)
    mine = [place.fit, *(fit for fit in fits if fit.model == place.fit.model and fit is not place.fit)]
    guessing = _guessing(place, mean, facts)
    fast = tuple(replace(s, guessing=guessing) if s == place.speed else s for s in speeds if s.model == place.fit.model)
    notes = _alone(place, longest, facts) if wish.model and wish.hardware else ()
    return Own(place, rate, played, tuple(mine), fast, notes=notes)


def _guessing(place: Place, mean: int, facts: Facts) -> str:
    by = calibration(place.hardware, place.fit.format, facts=facts)
    a = architecture(facts.get("models", place.fit.model))
    return asked(a, place.hardware, place.fit.format, gpus=place.gpus, streams=place.speed.streams, context=mean, by=by)


def _alone(place: Place, longest: int, facts: Facts) -> tuple[str, ...]:
    """What a single device would hold, where more of them are planned than were named."""
    if place.gpus == 1:
        return ()
    row = facts.get("models", place.fit.model)
    one = fit_on(row, architecture(row), place.hardware, 1, place.fit.format, context=longest)
    if one.most_context:
        said = f"one {place.hardware.id} holds a single call of up to {one.most_context:,} tokens"
    else:
        said = f"one {place.hardware.id} is too small: {one.why}"
    return (f"{said}; {place.gpus} are planned",)


def _tried(able: Sequence[Candidate]) -> list[Candidate]:
    """Those that are placed: the best by published quality, and the smallest of those that have one."""
    scored = [one for one in able if ARENA in one.quality] or list(able)
    best = sorted(scored, key=lambda one: -one.quality.get(ARENA, 0.0))[:TRIED]
    return list({one.model: one for one in (*best, *scored[:TRIED])}.values())


def _best(priced: Sequence[tuple[float, float, Place, Measure]], bill: float) -> tuple[float, float, Place, Measure]:
    """The best published quality among those within 5 % of the present bill of the cheapest; of equals the cheapest."""
    least = min(cost for cost, *_ in priced)
    return max((one for one in priced if one[0] <= least + NEAR * bill), key=lambda one: (one[1], -one[0]))


def _hardware(facts: Facts, wish: Wish) -> list[Fact]:
    """What was named, else GPUs that a price is on file for, and this machine. Other accelerators have engines of their
    own, whose speed nobody publishes: they are planned where they are named."""
    if wish.hardware == HERE and wish.machine is None:
        raise BadSetting("This machine was not measured yet.", "Run freehold doctor --measure first.")
    if wish.hardware:
        return (
            [wish.machine]
            if wish.machine and wish.hardware == wish.machine.id
            else [facts.get("hardware", wish.hardware)]
        )
    priced = sorted({str(row.values["hardware"]) for row in facts.rows("rents")})
    rows = [row for name in priced if (row := facts.find("hardware", name)) is not None]
    rows = [row for row in rows if row.values.get("kind") in GPUS]
    return [*rows, *([wish.machine] if wish.machine else [])]


def _sizes(demand: Demand, calls: Arrivals) -> tuple[int, int, int]:
    """(longest, mean context, mean question) in tokens."""
    prompt = float(calls.input.mean())
    mean = prompt + float(calls.output.mean()) / 2
    return int(demand.longest.value or mean), max(16, int(mean)), max(1, int(prompt))


def _steps(a: Architecture, place: Place, facts: Facts) -> Steps:
    by = calibration(place.hardware, place.fit.format, facts=facts)

    def seconds(reading: int, streams: int, context: float) -> float:
        return step(
            a, place.hardware, place.fit.format, gpus=place.gpus, streams=streams, context=int(context),
            prefill_tokens=reading, by=by,
        ).seconds  # fmt: skip

    return Steps(seconds)


def _engine(place: Place) -> Engine:
    per = place.fit.cache / max(1, place.fit.streams * place.fit.context)
    left = place.fit.capacity - place.fit.weights - place.fit.buffers
    return Engine(streams=max(1, place.speed.streams), tokens=left / per if per else float("inf"))


def _rate(a: Architecture, place: Place, calls: Arrivals, facts: Facts) -> Measure:
    """Tokens in and out a second of one full replica, at these calls' lengths, with the speed's interval."""
    value = capacity(calls, _steps(a, place, facts), _engine(place))
    said = place.speed.decode
    low, high = ((end or 0.0) / said.value if said.value else 1.0 for end in (said.low, said.high))
    return Measure(value, value * low, value * high, unit="tokens/s", method=said.method)


def _monthly(place: Place, rate: Measure, demand: Demand, facts: Facts) -> float:
    """USD a month of the devices that the load asks for, one replica at the least, for a first look: the load itself is
    replayed afterwards. What has no price counts as dear."""
    setups = own_setups(place.fit.model, place.hardware, facts=facts, gpus=place.gpus)
    peak, life = (number(facts.get("assumptions", name), "value") for name in ("peak", "life"))
    prices = [s.hourly[0] * HOURS for s in setups if s.hourly is not None]
    prices = prices or [s.capital[0] / life for s in setups if s.capital] or [1e6]
    asked = demand.tokens / (HOURS * 3600) * peak
    return max(1.0, asked / (rate.value or 1e-9)) * place.gpus * min(prices)


def _played(place: Place, calls: Arrivals, facts: Facts, settings: Settings) -> Replay:
    a = architecture(facts.get("models", place.fit.model))
    said = settings.declared
    goal = Goal(said.first_token or GOAL.first_token, said.between or GOAL.between)
    engine = _engine(place)
    played = least_replicas(
        calls, _steps(a, place, facts), goal, most_streams=engine.streams, most_tokens=engine.tokens, chunk=engine.chunk
    )
    return replace(played, cold_start=cold_start(place.fit.weights, place.hardware, facts))


def _nowhere(able: Sequence[Candidate], fits: Sequence[Any], wish: Wish) -> tuple[str, ...]:
    if not able:
        return ("no open model on file is left after licence, context and published quality",)
    if wish.model and fits:
        nearest = max(fits, key=lambda fit: fit.capacity / (fit.weights + fit.cache + fit.buffers))
        return (f"does not fit: {nearest.why}",)
    return ("no open model that may be taken fits the hardware on file",)
