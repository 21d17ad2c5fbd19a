"""The engineer's page: what runs on what, whether it fits, how fast, under which load, what must still be measured.

Option (the machine's one) ─┬─ Fit ──→ Memory: weights | cache | buffers | free, in per cent of what there is
                            ├─ Speed ─→ tokens a second, with the interval of the calibration
                            └─ Replay → the load's course against what can be served
Training ──→ where students are trained (plan_training.py)
Candidate ──→ what rules each out          everything None or unverified ──→ what isn't known
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freehold.nouns import Assumption, Candidate, Fact, Fit, Measure, Option, Plan, Replay, Speed, TaskPlan
from freehold.nouns.shown import shown
from freehold.report.plan_training import Trainings, trainings
from freehold.report.plan_words import OWNED, beside, measured, plain, seconds, stale
from freehold.report.words import count, listing, plural

__all__ = ["Engineer", "Memory", "engineer"]

BARS = ("0.95", "0.98", "0.99", "0.9")


@dataclass(frozen=True, slots=True)
class Memory:
    """A fit as a bar: each part in per cent of what is asked or what there is, whichever is more; `mark` is what there
    is."""

    fit: Fit
    weights: float
    cache: float
    buffers: float
    mark: float
    free: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Engineer:
    option: Option | None
    taken: bool
    memory: tuple[Memory, ...]
    speeds: tuple[Speed, ...]
    replay: Replay | None
    load: dict[str, Any] | None
    candidates: tuple[Candidate, ...]
    scores: tuple[str, ...]
    prove: tuple[str, ...]
    unknown: tuple[str, ...]
    rests_on: tuple[Assumption, ...]
    used: tuple[tuple[Fact, bool], ...]
    training: Trainings | None


def engineer(plan: Plan) -> Engineer | None:
    """None where the plan holds nothing that an engineer would build."""
    there = (plan.fits, plan.speeds, plan.candidates, plan.rests_on)
    if plan.replay is None and not any(there):
        return None
    taken = plan.advised
    option = taken if taken is not None and taken.way in OWNED else _nearest(plan)
    memory = sorted(
        (_memory(f, option) for f in plan.fits), key=lambda m: (not m.chosen, not m.fit.fits, m.fit.capacity)
    )
    speeds = sorted(plan.speeds, key=lambda s: not _about(s.model, s.hardware, option))
    scores = tuple(dict.fromkeys(name for c in plan.candidates for name in c.quality))
    by = scores[0] if scores else ""  # what the plan itself compares by comes first
    candidates = sorted(plan.candidates, key=lambda c: (not c.chosen, bool(c.out), -c.quality.get(by, 0.0)))
    return Engineer(
        option, option is not None and option is taken, tuple(memory), tuple(speeds), plan.replay, _load(plan.replay),
        tuple(candidates), scores, tuple(_prove(plan, option)), tuple(_unknown(plan, option)), plan.rests_on,
        tuple((f, stale(f, plan.today or plan.made)) for f in plan.used), trainings(plan),
    )  # fmt: skip


def _nearest(plan: Plan) -> Option | None:
    """Of the ways with machines of one's own the cheapest, of those that fit and speed were worked out for; one ruled
    out only if all are."""
    known = {f.model for f in plan.fits} | {s.model for s in plan.speeds}
    own = [o for o in plan.options if o.way in OWNED]
    return min(own, key=lambda o: (bool(o.out), o.model not in known, _month(o)), default=None)


def _month(option: Option) -> float:
    return option.month.value if option.month.value is not None else float("inf")


def _about(model: str, hardware: str, option: Option | None) -> bool:
    return option is not None and model == option.model and hardware == option.hardware


def _memory(fit: Fit, option: Option | None) -> Memory:
    asked = fit.weights + fit.cache + fit.buffers
    whole = max(asked, fit.capacity, 1)
    weights, cache, buffers, mark = (
        round(100 * part / whole, 2) for part in (fit.weights, fit.cache, fit.buffers, fit.capacity)
    )
    return Memory(fit, weights, cache, buffers, mark, fit.capacity - asked, _planned(fit, option))


def _planned(fit: Fit, option: Option | None) -> bool:
    return option is not None and (fit.model, fit.hardware, fit.gpus, fit.format) == (
        option.model,
        option.hardware,
        option.gpus,
        option.format,
    )


def _load(replay: Replay | None) -> dict[str, Any] | None:
    """What plan.js draws: tokens asked and tokens that can be served, by the second."""
    if replay is None or len(replay.series) < 2:
        return None
    asked, served = ([round(row[i], 3) for row in replay.series] for i in (1, 2))
    lines = [
        {"name": "asked", "style": "area", "mid": asked},
        {"name": "can be served", "style": "stay", "mid": served},
    ]
    return {"kind": "load", "x": [round(row[0], 3) for row in replay.series], "lines": lines}


def _prove(plan: Plan, option: Option | None) -> list[str]:
    """What a proof and a first hour on the machine must measure before anybody relies on this."""
    found = [_of_task(task) for task in plan.tasks if task.go == "try"]
    if option is not None:
        found.append(f"Agreement of {shown(option.model, 60)} as {option.format or 'served'} with what answers now.")
    speed = next((s for s in plan.speeds if _about(s.model, s.hardware, option)), None)
    if speed is not None:
        found.append(f"Writing: {_said(speed.decode)} are predicted at {plural(speed.streams, 'call')} at once.")
        found.append(f"Reading: {_said(speed.prefill)} are predicted.")
        found += [speed.guessing] if speed.guessing else []
    if plan.replay is not None:
        first, between = plan.replay.first_token, plan.replay.between
        found.append(f"Under the busiest hour: first token within {seconds(first.high)} and then a token every "
                     f"{seconds(between.high)}, 95 times in 100.")  # fmt: skip
        found.append(f"Start from nothing to the first answer: {measured(plan.replay.cold_start)} are assumed.")
    return found


def _of_task(task: TaskPlan) -> str:
    bar = next((bar for bar in BARS if bar in task.needed), None)
    calls = f", {count(task.needed[bar])} calls for a proof at {bar}" if bar else ""
    return f"{shown(task.name, 60)}: {plural(task.calls, 'call')} in the log{calls}."


def _said(measure: Measure) -> str:
    more = beside(measure)
    return measured(measure) + (f" ({more})" if more else "")


def _unknown(plan: Plan, option: Option | None) -> list[str]:
    """Each figure that is None, and each fact that nobody checked."""
    figures: list[tuple[str, Measure]] = []
    if plan.demand is not None:
        d = plan.demand
        figures += [("tokens read from the cache", d.cached), ("reasoning tokens", d.reasoning), ("the bill", d.bill),
                    ("the longest context", d.longest), ("calls that could wait for a batch", d.batch)]  # fmt: skip
    if option is not None:
        figures += [("its energy", option.energy), ("its CO2", option.carbon), ("its one-off cost", option.once)]
    if plan.replay is not None:
        figures += [("the cold start", plan.replay.cold_start)]
    found = [f"{name}{': ' + m.method if m.method else ''}." for name, m in figures if m.value is None]
    if plan.demand is not None and not plan.demand.peaks:
        found.append("how the load comes in bursts: no log was read.")
    vague = [c.model for c in plan.candidates if c.osaid is None]
    if vague:
        found.append(f"which of these meet the Open Source AI Definition: {listing(vague, 12)}.")
    unsure = [f.ref for f in plan.used if f.status == "unverified" and f.table != "assumptions"]
    if unsure:
        found.append(f"unverified facts: {listing(unsure, 12)}.")
    assumed = [plain(a.name) for a in plan.rests_on if a.status == "assumed"]
    if assumed:
        found.append(f"assumed, not measured: {listing(assumed, 12)}.")
    return [text[:1].upper() + text[1:] for text in found]
