"""The students that `freehold tune` fits on the machine at hand: in minutes, without a card.

TaskPlan(go="try", kind="labels") → Training("labels", sites=(this machine: 0.4 min, $0.0003, freehold tune))
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.facts import Facts
from freehold.facts.grounds import ground
from freehold.facts.open_models import architecture
from freehold.fit import GIB, Ground, Rows, adapter
from freehold.nouns import Audit, Measure, Site, Task, TaskPlan, Training
from freehold.nouns.training import HERE, What
from freehold.plan.own import Wish

__all__ = ["BASE", "answer_of", "rows_of", "students"]

BASE = "smollm2-135m"  # the row of the base that tune takes where none is named
WRITTEN = ("sql", "text")
SAID = {
    "labels": "a stack of classifiers on a frozen sentence encoder",
    "tagger": "a tagger where the answers stand in the text, else a decoder as for text",
    "adapter": f"an adapter on {BASE}, the default base",
}
WHY = "this machine: minutes, and no card is needed; freehold tune refuses beforehand what would not fit"
LEARNED = 0.75 * 0.9  # of a task's calls: a quarter certifies, a tenth of the rest is held back
TAIL = 2.0  # times the mean row, for the longest one, where the log's own lengths are not known


def students(
    steps: Sequence[TaskPlan], audit: Audit | None, facts: Facts, wish: Wish, machine: Measure
) -> Iterator[Training]:
    """One for each task that is worth a try."""
    tasks = {task.name: task for task in audit.tasks} if audit is not None else {}
    for step in steps:
        if step.go == "try":
            yield _student(step, tasks[step.name], facts, wish, machine)


def _student(step: TaskPlan, task: Task, facts: Facts, wish: Wish, machine: Measure) -> Training:
    what: What = "labels" if step.kind == "labels" else "adapter" if step.kind in WRITTEN else "tagger"
    hours = _hours(step.minutes)
    command = f"freehold tune --task {shlex.quote(step.name)}"
    site = Site(HERE, 1, taken="here", hours=hours, costs=_costs(hours, machine), command=command)
    uses: tuple[str, ...] = ()
    if what == "adapter":
        site, uses = _on_base(site, task, facts, wish)
    return Training(what, BASE if what == "adapter" else "", SAID[what], task=step.name, sites=(site,),
                    taken=0 if site.taken else None, why=site.out or WHY, uses=uses)  # fmt: skip


def _on_base(site: Site, task: Task, facts: Facts, wish: Wish) -> tuple[Site, tuple[str, ...]]:
    """With the memory that tuning the default base takes; of a machine that was not measured no limit is known."""
    rows = rows_of(task, None)
    if rows is None:
        return site, ()
    row = facts.get("models", BASE)
    here = ground(wish.machine, 1, facts) if wish.machine is not None else Ground(HERE, 1, 0, None, card=False)
    found = adapter(architecture(row), here, rows)
    why = f"{found.taken}: {found.spread.bytes / GIB:.1f} GiB" if found.spread is not None else ""
    site = replace(site, memory=found.memory, spreads=found.spreads, taken=found.taken, why=why, out=found.out)
    return site, (row.ref, *here.uses)


def rows_of(task: Task, longest: float | None) -> Rows | None:
    """What an adapter learns from a task's calls, in the log's own tokens; None where it counts none. `longest`: of a
    call, where the log says it."""
    tokens = task.tokens.prompt + task.tokens.completion
    if not tokens or not task.calls:
        return None
    mean = tokens / task.calls
    return Rows(task.calls * LEARNED, mean, int(max(mean * TAIL, longest or 0.0)), answer_of(task, mean))


def answer_of(task: Task, mean: float) -> int:
    """The longest answer in tokens, as far as the log says."""
    return int(task.answer_tokens or min(mean, TAIL * max(1.0, task.tokens.completion / task.calls)))


def _hours(minutes: Measure) -> Measure:
    ends = [None if end is None else end / 60 for end in (minutes.value, minutes.low, minutes.high)]
    return Measure(ends[0], ends[1], ends[2], minutes.n, "hours", minutes.method)


def _costs(hours: Measure, machine: Measure) -> Measure:
    if hours.value is None or machine.value is None:
        return Measure(None, unit="USD")
    return Measure(hours.value * machine.value, unit="USD", method=f"hours x ${machine.value:g}; {machine.method}")
