"""What a reader of the audit should know before trusting its figures, a sentence each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from freehold import wire
from freehold.agree import agree
from freehold.audit.models import unpriced
from freehold.audit.tallies.twice import said
from freehold.nouns import ModelUse, Task
from freehold.traffic import Traffic, evidence

if TYPE_CHECKING:
    from freehold.audit import Whole

__all__ = ["warnings"]

DAY = 86_400.0
NAMED = 4  # models of a date


def warnings(whole: Whole, tasks: Sequence[Task], models: Sequence[ModelUse], conflicts: int) -> tuple[str, ...]:
    return (
        *_switched_off(models),
        *_rows(whole),
        *_times(whole),
        *unpriced(whole.bill),
        *_unnamed(whole),
        *_answers(whole, tasks, conflicts),
    )


def _unnamed(whole: Whole) -> Iterator[str]:
    cell = whole.bill.tally.models.cells.get("")
    if cell and cell.billed > cell.priced and not whole.bill.book.price_as:
        yield "--price-as MODEL prices the calls that name no model as if that one had answered them."


def _switched_off(models: Sequence[ModelUse]) -> Iterator[str]:
    """A sentence a date, the next first: many models may go on one day."""
    by_day: dict[tuple[str, int], list[ModelUse]] = {}
    for use in models:
        if use.retires is not None and use.days_left is not None:
            by_day.setdefault((use.retires, use.days_left), []).append(use)
    for (day, left), uses in sorted(by_day.items()):
        names = [use.model for use in uses]
        names[NAMED:] = [f"{len(uses) - NAMED:,} more"] if len(uses) > NAMED else []
        named = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        calls = sum(use.calls for use in uses)
        goes, whose = ("is", "its") if len(uses) == 1 else ("are", "their")
        when = f"in {left:,} day{'' if left == 1 else 's'}" if left > 0 else "and that day has come"
        moving = "1 call must move anyway" if calls == 1 else f"{calls:,} calls must move anyway"
        yield f"{named} {goes} switched off on {day}, {when}: {whose} {moving}."


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
    first, last = whole.tallies.load.span()
    if first is not None and last is not None and first < 365 * DAY:
        if last < 365 * DAY:
            yield (
                "The times begin on 1970-01-01, so they seem to count from the log's own start: its days are none of "
                "the calendar's, and calls have no day's price unless --price-on DATE gives one."
            )
        else:
            yield (
                "The first call is dated 1970, as calls without a true time are: the log seems longer than it is, and "
                "the money a month less."
            )
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
    unseen = sum(map(wire.unseen, sample.calls))
    if unseen and (not sampled or unseen == len(sample.calls)):
        silent = outside if sampled else min(unseen, outside)
        which = f"all {silent:,}" if silent == calls else f"{silent:,}"
        yield f"The log holds no text of {which} calls: they belong to no task, and nobody knows which of them repeat."
        outside -= silent
    if outside:
        why = "hold more than plain text messages, or no text" if sampled else "hold more than plain text messages"
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
