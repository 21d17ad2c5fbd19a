"""The first five seconds: the verdict in a sentence, and the figures under it.

move       92.1 % of calls can stay home.          need_more   Not yet: 1,200 more calls could prove it.
stay       Stay with gpt-4o-mini.                  no verdict  Worth a try. / 23,700 calls, 2 tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freehold.nouns import Audit, Measure, Plan, Verdict
from freehold.nouns.shown import shown
from freehold.report.plan_cto import headword
from freehold.report.words import dollars, listing, partly, percent, plural
from freehold.totals import kept_home, saved

__all__ = ["Headline", "headline"]


@dataclass(frozen=True, slots=True)
class Headline:
    """`kept` and `saved` are None before a verdict; `bars` and `sure` are the bars and confidences asked for."""

    sentence: str
    lede: str
    kept: Measure | None = None
    saved: Measure | None = None
    moved: tuple[Verdict, ...] = ()


def headline(audit: Audit, plan: Plan | None, verdicts: Sequence[Verdict]) -> Headline:
    models = listing([shown(m.model, 40) for m in audit.models if m.model], 2) or "the closed model"
    if not verdicts:
        return _before(audit, plan, models)
    kept = kept_home(verdicts)
    money = saved(verdicts, plan.machine_cost) if plan else None
    moved = tuple(v for v in verdicts if v.decision == "move")
    if moved:
        return Headline(f"{percent(kept.value, 1)} of calls can stay home.", _moved(moved, models), kept, money, moved)
    waiting = [v.needed for v in verdicts if v.decision == "need_more" and v.needed is not None]
    if waiting:
        lede = f"Nothing moves yet. {models} keeps answering until the proof is there; each call it answers adds to it."
        return Headline(f"Not yet: {plural(min(waiting), 'more call')} could prove it.", lede, kept, money)
    if any(v.decision == "need_more" for v in verdicts):
        return Headline("Not yet: the proof needs more calls.", f"Until then {models} keeps answering.", kept, money)
    return Headline(f"Stay with {models}.", "No task reached its bar with proof, so nothing moves.", kept, money)


def _moved(moved: Sequence[Verdict], models: str) -> str:
    bars = listing(sorted({percent(v.bar) for v in moved}))
    sure = listing(sorted({percent(v.confidence) for v in moved}))
    each = ", per task" if len({v.task for v in moved}) > 1 else ""
    return (
        f"Where the owned model answers, it agrees with {models} at least {bars} of the time, with {sure} "
        f"confidence{each}. Every other call still goes to {models}."
    )


def _bill(audit: Audit) -> str:
    """What it costs: the first thing that whoever pays for it wants to know."""
    month, whole, calls = audit.per_month.value, audit.money.value, plural(audit.calls, "call")
    if whole is None:
        return "What it costs is not known."
    least = "At least " if partly(audit.money) else ""
    return least + (f"{dollars(month)} a month." if month is not None else f"{dollars(whole)} for {calls}.")


def _before(audit: Audit, plan: Plan | None, models: str) -> Headline:
    if plan is None:
        tasks = f", {plural(len(audit.tasks), 'task')}" if audit.tasks else ""
        known = any(m.model for m in audit.models)
        whose = f", answered by {models}" if known else ", whose model the log doesn't name"
        return Headline(_bill(audit), f"{plural(audit.calls, 'call')}{tasks}{whose}. No verdict yet.")
    if plan.advice is not None:
        return Headline(headword(plan), plan.advice.sentence)
    tries = sum(step.go == "try" for step in plan.tasks)
    sentence = f"{tries} of {len(plan.tasks)} tasks are worth a try." if tries else "Nothing to try yet."
    if tries == len(plan.tasks) == 1:
        sentence = "Worth a try."
    return Headline(sentence, f"A plan from the log of {models}. No verdict yet: nothing is proved.")
