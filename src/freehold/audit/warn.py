"""What a reader of the audit should know before trusting its figures, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freehold.agree import agree
from freehold.nouns import ModelUse, Task
from freehold.traffic import Traffic, count_calls, evidence

__all__ = ["warnings"]


def warnings(traffic: Traffic, tasks: Sequence[Task], models: Sequence[ModelUse], conflicts: int) -> tuple[str, ...]:
    return (*_switched_off(models), *_rows(traffic), *_money(traffic, models), *_answers(traffic, tasks, conflicts))


def _switched_off(models: Sequence[ModelUse]) -> Iterator[str]:
    for use in models:
        if use.retires is None or use.days_left is None:
            continue
        when = f"in {use.days_left:,} days" if use.days_left > 0 else "and that day has come"
        yield f"{use.model} is switched off on {use.retires}, {when}: its {use.calls:,} calls must move anyway."


def _rows(traffic: Traffic) -> Iterator[str]:
    if traffic.bad_rows:
        first = traffic.bad[0]
        where = f"the first is {first.file}:{first.line}: {first.reason}"
        yield f"{traffic.bad_rows:,} of {traffic.log.rows:,} rows can't be read and are left out; {where}."
    if traffic.untimed:
        yield f"{traffic.untimed:,} calls say no time and are left out: only calls before a time were asked for."
    if traffic.later:
        yield f"{traffic.later:,} calls come at or after the given time and are left out."


def _money(traffic: Traffic, models: Sequence[ModelUse]) -> Iterator[str]:
    for use in models:
        if not use.priced:
            why = "no price on file" if use.tokens.prompt else "no token counts"
            yield f"{use.model} has {why}: its {use.calls:,} calls are not in the bill."
        elif use.priced < use.calls:
            yield f"{use.calls - use.priced:,} calls of {use.model} lack token counts or a time: not in the bill."
    nameless = sum(call.model == "" for call in traffic.calls)
    if nameless:
        yield f"{nameless:,} calls name no model: their money is unknown."


def _answers(traffic: Traffic, tasks: Sequence[Task], conflicts: int) -> Iterator[str]:
    if conflicts:
        texts = "text was" if conflicts == 1 else "texts were"
        yield f"{conflicts:,} {texts} answered in more than one way."
    outside = count_calls(traffic.calls) - sum(task.calls for task in tasks)
    if outside:
        yield f"{outside:,} calls hold more than plain text messages and belong to no task."
    for task in tasks:
        if task.kind == "json" and (broken := _no_json(task, traffic)):
            yield f"{broken:,} answers of {task.name} are no JSON: nothing is learnt from them, and none agrees."
        if task.kind == "labels" and len(task.labels) == 1:
            yield f"Every answer of {task.name} is {task.labels[0]!r}."


def _no_json(task: Task, traffic: Traffic) -> int:
    """Answers of a JSON task that can't be read: such a one doesn't even agree with itself."""
    answers = [call.answer or "" for call in evidence(task, traffic)]
    return sum(not agree(answer, answer, "json") for answer in answers)
