"""What to do besides, from a log that repeats itself; and what a log without a pace, tokens or a price gets instead."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from freehold.facts import facts
from freehold.nouns import Audit, LogFile, Measure, ModelUse, Plan, Repeats, Slot, Task, Template, Tokens
from freehold.nouns.audit import FirstMove
from freehold.plan import plan
from freehold.plan.demand import Unsaid, from_audit, unpriced

TODAY = date(2026, 11, 25)
DAY = 86_400.0
MONTH = 730.5 / 24  # days
USED = Tokens(prompt=900_000_000, completion=100_000_000, cached=90_000_000)


def audit_of(
    model: str = "gpt-4o", *, days: float = 10.0, tokens: Tokens = USED, retires: str | None = "2027-01-14"
) -> Audit:
    money = Measure(3_000.0, n=100_000, unit="USD")
    month = Measure(3_000.0 * MONTH / days, n=100_000, unit="USD/month")
    task = Task("route", Template((Slot("user", "", variable=True),)), "labels", 100_000, 1.0, labels=("a", "b"))
    repeats = Repeats(
        10, 12_000, Measure(None), exact=Measure(0.12), saved=Measure(100.0, unit="USD"),
        safe=Measure(40.0, unit="USD"), prefix=Measure(0.6),
    )  # fmt: skip
    return Audit(
        LogFile(("calls.jsonl",), "0" * 64, "0" * 64, 100_000, 1), 100_000, 0, (), (task,), tokens, money, month, 0.0,
        days * DAY, (ModelUse(model, "openai", 100_000, tokens, money, 100_000, retires, 50),), repeats,
        moves=(FirstMove("route", "labels", Measure(2_000.0, unit="USD/month"), Measure(0.6, 0.4, 0.8), "labels"),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made() -> Plan:
    return plan(audit_of(), today=TODAY)


def lines(made: Plan) -> str:
    assert made.advice
    return "\n".join(made.advice.instead)


def test_repeats_are_kept_in_a_cache_and_what_that_saves_is_a_months(made: Plan) -> None:
    saved, safe = 100 * MONTH / 10, 40 * MONTH / 10
    said = f"12 % of the calls repeat an earlier one to the letter, ${saved:,.0f} a month, ${safe:,.0f} of it at"
    assert said in lines(made)


def test_a_shared_beginning_is_for_the_prompt_cache_of_the_model_that_is_advised(made: Plan) -> None:
    assert "a prompt cache could hold 60 % of what is read (10 % are today), up to $" in lines(made)


def test_what_can_wait_costs_half(made: Plan) -> None:
    assert "can wait for a day: -50 % at the batch price, up to $" in lines(made)


def test_the_task_that_moves_first_is_named_with_its_student(made: Plan) -> None:
    assert "a classifier of your own for the task route, $2,000 a month" in lines(made)


def test_golden_answers_are_recorded_before_the_day(made: Plan) -> None:
    assert "record golden answers of gpt-4o before 14 Jan 2027" in lines(made)


def test_a_log_that_repeats_nothing_gets_no_sentence_about_it() -> None:
    quiet = replace(audit_of(), repeats=Repeats(0, 0, Measure(None)), moves=())
    said = lines(plan(quiet, today=TODAY))
    assert "cache" not in said
    assert "classifier" not in said


@pytest.mark.parametrize(
    ("audit", "why"),
    [
        (replace(audit_of(), first=None, last=None), "its calls have no times"),
        (audit_of(days=300 / DAY), "it spans 300 s, and ten minutes are the least"),
        (audit_of(tokens=Tokens()), "counts no tokens"),
        (audit_of("wonder-9", retires=None), "wonder-9 has no price on file"),
    ],
)
def test_a_log_that_does_not_say_enough_gets_its_tasks_planned_and_one_sentence(audit: Audit, why: str) -> None:
    made = plan(audit, today=TODAY)
    assert made.advice is None
    assert made.tasks
    (said,) = [line for line in made.assumptions if line.startswith("no decision about the whole bill: ")]
    assert why in said


def test_a_log_of_hours_says_that_its_pace_may_be_a_busy_hours() -> None:
    asked = from_audit(audit_of(days=6 / 24), TODAY)
    low, value, high = asked.input.low, asked.input.value, asked.input.high
    assert low is not None
    assert value is not None
    assert high is not None
    assert low < 0.6 * value <= value <= high
    assert "6.0 hours of log" in asked.input.method


def test_a_log_of_days_is_scaled_to_730_5_hours() -> None:
    asked = from_audit(audit_of(days=10), TODAY)
    assert asked.input.value == pytest.approx(9e8 * MONTH / 10)
    assert asked.models[0].days_left == 50


def test_a_model_without_a_price_lists_the_near_names() -> None:
    error = unpriced("gpt-4oo", facts())
    assert isinstance(error, Unsaid)
    assert "gpt-4o" in error.hint
    assert '[prices."gpt-4oo"]' in error.hint
    assert "--price-as" in unpriced("", facts()).hint
