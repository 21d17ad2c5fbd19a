"""What a reader of the audit should know before trusting its figures, a sentence each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from freehold.agree import agree
from freehold.audit.models import unpriced
from freehold.audit.twice import said
from freehold.nouns import ModelUse, Task
from freehold.traffic import Traffic, evidence

if TYPE_CHECKING:
    from freehold.audit import Whole

__all__ = ["warnings"]

DAY = 86_400.0


def warnings(whole: Whole, tasks: Sequence[Task], models: Sequence[ModelUse], conflicts: int) -> tuple[str, ...]:
    return (
        *_switched_off(models),
        *_rows(whole),
        *_times(whole),
        *unpriced(whole.bill),
        *_answers(whole, tasks, conflicts),
    )


def _switched_off(models: Sequence[ModelUse]) -> Iterator[str]:
    for use in models:
        if use.retires is None or use.days_left is None:
            continue
        when = f"in {use.days_left:,} days" if use.days_left > 0 else "and that day has come"
        yield f"{use.model} is switched off on {use.retires}, {when}: its {use.calls:,} calls must move anyway."


def _rows(whole: Whole) -> Iterator[str]:
    if whole.read.bad_rows:
        first = whole.read.bad[0]
        where = f"the first is {first.file}:{first.line}: {first.reason}"
        yield f"{whole.read.bad_rows:,} of {whole.read.log.rows:,} rows can't be read and are left out; {where}."
    if whole.read.untimed:
        yield f"{whole.read.untimed:,} calls say no time and are left out: only calls before a time were asked for."
    if whole.read.later:
        yield f"{whole.read.later:,} calls come at or after the given time and are left out."
    if whole.changed:
        yield "The log changed while it was read: what came late may be counted under another line. Audit it again."
    twice = whole.tallies.twice
    if told := said(twice.again(), whole.tallies.money.total.calls):
        yield told


def _times(whole: Whole) -> Iterator[str]:
    last = whole.tallies.load.span()[1]
    ahead = 0.0 if last is None else last - time.time()
    if last is not None and ahead > DAY:
        day = datetime.fromtimestamp(last, UTC).date().isoformat()
        yield f"The last call is dated {day}, {ahead / DAY:,.0f} days ahead: check the clock of what wrote the log."


def _answers(whole: Whole, tasks: Sequence[Task], conflicts: int) -> Iterator[str]:
    if conflicts:
        texts = "text was" if conflicts == 1 else "texts were"
        yield f"{conflicts:,} {texts} answered in more than one way."
    calls, sample = whole.tallies.money.total.calls, whole.sample
    outside = calls - sum(task.calls for task in tasks)
    sampled = len(sample.calls) < calls
    if outside:
        why = "hold more than plain text messages, or no text"
        why += f", or fit no task found in the {len(sample.calls):,} calls looked at" if sampled else ""
        yield f"{outside:,} calls {why}: they belong to no task."
    for task in tasks:
        if task.kind == "json" and (broken := _no_json(task, sample)):
            of = f" of {len(evidence(task, sample)):,} looked at" if sampled else ""
            yield f"{broken:,} answers of {task.name}{of} are no JSON: nothing is learnt from them, and none agrees."
        if task.kind == "labels" and len(task.labels) == 1:
            yield f"Every answer of {task.name} is {task.labels[0]!r}."


def _no_json(task: Task, traffic: Traffic) -> int:
    """Answers of a JSON task that can't be read: such a one doesn't even agree with itself."""
    answers = [call.answer or "" for call in evidence(task, traffic)]
    return sum(not agree(answer, answer, "json") for answer in answers)
