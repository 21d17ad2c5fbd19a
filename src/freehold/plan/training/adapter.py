"""An adapter (LoRA, QLoRA) on the plan's open model: where it is tuned, and what that takes.

qwen3-30b-a3b: its kind can't be adapted here ──→ the best of those that can: mistral-small-3.1
the task with most calls that writes, or typed amounts ──→ Rows ──→ a Site for each device
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace

from freehold.engines.gguf.names import SHAPES
from freehold.facts import Facts
from freehold.facts.grounds import ground, reached
from freehold.facts.open_models import architecture, has_architecture
from freehold.facts.values import number
from freehold.fit import Rows, active, adapter, pick
from freehold.nouns import Audit, Candidate, Demand, Fact, Measure, Site, Task, TaskPlan, Training
from freehold.plan.candidates import ARENA
from freehold.plan.load.arrivals import Arrivals
from freehold.plan.training.students import TAIL, rows_of

__all__ = ["adaptable", "adapters"]

SHARE = 0.70  # of tune's minutes trains; the rest loads and compares
TRIED = 5  # models that are looked at in place of one that can't be adapted


def adapters(
    chosen: str, found: Sequence[Candidate], demand: Demand, steps: Sequence[TaskPlan], audit: Audit | None,
    calls: Arrivals | None, rows: Sequence[Fact], facts: Facts,
) -> list[Training]:  # fmt: skip
    """One, or none where the log holds no task that is written or no model that can be adapted."""
    task = _writing(steps, audit)
    learned, told = _learned(task, demand, calls, facts)
    if learned is None or (audit is not None and steps and task is None):
        return []
    tried = _tried(chosen, found, facts)
    for place, row in enumerate(tried):
        sites = _sites(row, learned, task, rows, facts)
        if any(site.taken for site in sites) or place == len(tried) - 1:
            return [_training(row, sites, learned, task, _instead(chosen, row, facts), told, rows, facts)]
    return []


def adaptable(row: Fact) -> str:
    """Why freehold can't adapt this model; "" where it can."""
    if not has_architecture(row):
        return "its configuration is not on file"
    kind = str(row.values["config"].get("model_type"))
    return "" if kind in SHAPES else f"it is of the kind {kind}; freehold adapts {', '.join(SHAPES)}"


def _tried(chosen: str, found: Sequence[Candidate], facts: Facts) -> list[Fact]:
    """The model that was chosen; where that can't be adapted the best by published quality of those that can."""
    mine = facts.find("models", chosen) if chosen else None
    if mine is not None and not adaptable(mine):
        return [facts.get("models", mine.id)]
    able = [one for one in found if not one.out and not adaptable(facts.get("models", one.model))]
    able.sort(key=lambda one: -one.quality.get(ARENA, 0.0))
    return [facts.get("models", one.model) for one in able[:TRIED]]


def _instead(chosen: str, row: Fact, facts: Facts) -> list[str]:
    mine = facts.find("models", chosen) if chosen else None
    if mine is None or mine.id == row.id:
        return []
    why = adaptable(mine)
    return [f"{mine.id} is served as it is: {why}. {row.id} is the best of those by published quality that fits"]


def _writing(steps: Sequence[TaskPlan], audit: Audit | None) -> Task | None:
    """The task with most calls, of those to try whose answers are not labels."""
    tasks = {task.name: task for task in audit.tasks} if audit is not None else {}
    able = [tasks[step.name] for step in steps if step.go == "try" and step.kind != "labels"]
    return max(able, key=lambda task: task.calls, default=None)


def _learned(task: Task | None, demand: Demand, calls: Arrivals | None, facts: Facts) -> tuple[Rows | None, str]:
    """What is learned from, and how that is known."""
    if task is not None:
        said = f"each of {task.name}'s rows once, as long as the log counts them; a quarter of the calls certifies"
        return rows_of(task, demand.longest.value), said
    if calls is None:
        return None, ""
    count = number(facts.get("assumptions", "tuning-rows"), "value")
    read, written = float(calls.input.mean()), float(calls.output.mean())
    longest = int(demand.longest.value or TAIL * (read + written))
    said = f"{count:,.0f} logged calls are assumed, each read once, as long as {_whose(calls)}"
    return Rows(count, read + written, longest, min(longest, int(TAIL * written) or 1)), said


def _whose(calls: Arrivals) -> str:
    return "those of a public trace" if calls.synthetic else "those of the log's busiest hour"


def _sites(row: Fact, learned: Rows, task: Task | None, rows: Sequence[Fact], facts: Facts) -> tuple[Site, ...]:
    a, longest = architecture(row), int(row.values.get("context") or learned.longest)
    learned = replace(learned, longest=max(int(learned.mean), min(learned.longest, longest)))
    found = []
    for device in rows:
        four, _, _ = reached(device, facts, "tuning-qlora", active(a))
        site = adapter(a, ground(device, 1, facts, "tuning-lora", active(a)), learned, share4=four)
        found.append(replace(site, command=_command(site, task)))
    return tuple(found)


def _command(site: Site, task: Task | None) -> str:
    """tune's dial is minutes: enough to see each row once, and to compare."""
    minutes = f" --minutes {max(1, math.ceil(60 * site.hours.value / SHARE))}" if site.hours.value is not None else ""
    said = "freehold tune --kind decoder --base DIR" + (f" --task {shlex.quote(task.name)}" if task else "")
    bits = " --bits 4" if site.taken.startswith("QLoRA") else ""
    return f"{said} --device {'cpu' if site.here else 'cuda'}{bits}{minutes}"


def _training(
    row: Fact, sites: tuple[Site, ...], learned: Rows, task: Task | None, instead: Sequence[str], told: str,
    rows: Sequence[Fact], facts: Facts,
) -> Training:  # fmt: skip
    place, why = pick(sites)
    tokens = Measure(learned.count * learned.mean, unit="ids", method=told)
    uses = [ref for device in rows for ref in ground(device, 1, facts, "tuning-lora").uses]
    uses += ["calibration/tuning-qlora", "assumptions/tuning-rows"]
    notes = (
        *instead, f"DIR is the folder of {row.id}, with a chat template: {row.values.get('weights', 'your own')}",
        "freehold tune runs on one device; --minutes are those that see each row once, 70 % of them training",
    )  # fmt: skip
    return Training("adapter", row.id, f"an adapter on {row.id}", tokens, task=task.name if task else "", sites=sites,
                    taken=place, why=why, notes=notes, uses=tuple(dict.fromkeys((row.ref, *uses))))  # fmt: skip
