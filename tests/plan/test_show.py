"""What a plan says on a terminal, and what its hash holds for, from figures typed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from freehold.nouns import Measure, Option, Plan
from freehold.plan import fingerprint, plan
from freehold.plan.demand import by_hand
from freehold.plan.show import show
from freehold.project import Project

TODAY = date(2026, 11, 25)


@pytest.fixture(scope="module")
def made() -> Plan:
    """3 billion tokens a month on a model that nobody switches off."""
    return plan(demand=by_hand(3e9, "gpt-6.1-sol", share=0.75, calls=None, today=TODAY), today=TODAY)


def said(one: Plan, capsys: pytest.CaptureFixture[str]) -> str:
    show(one, "somewhere")
    return " ".join(capsys.readouterr().out.split())


def test_a_plan_that_was_saved_is_what_its_hash_says(made: Plan, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    project.save(made)
    read = project.load(Plan)
    assert read is not None
    assert read.sha256 == made.sha256 == fingerprint(read)


def test_a_cheaper_model_is_not_praised_as_proved(made: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(made, capsys)
    assert made.advice is not None
    assert made.advice.word == "STAY CHEAPER"
    assert "not proved that it answers as well: no published figure of quality on file for gpt-6.1-sol" in text
    assert "once: $1,497 for the work of a move" in text


def test_what_would_change_it_reads_without_powers_of_ten(made: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(made, capsys)
    assert "M tokens/month (now 3B tokens/month): STAY" in text
    assert "e+0" not in text
    assert "(assumed:" not in text


def test_machines_that_are_not_advised_say_so(made: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(made, capsys)
    assert "what is nearest with machines of your own, which is not the advice" in text
    assert "made-up calls (no log)" in text
    assert "an hour" not in text.split("facts ")[1]  # no task, no student, no machine that serves it


def test_without_a_bill_nothing_is_robust(made: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = Measure(None, unit="USD/month")
    options: tuple[Option, ...] = tuple(replace(o, month=unknown, saves=unknown) for o in made.options)
    text = said(replace(made, options=options, flips=()), capsys)
    assert "robust" not in text
    assert "nobody knows what the present way costs" in text


def test_one_reason_for_several_ways_is_said_once(made: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert made.advice is not None
    rejected = {"one": "it is so", "other": "it is so", "third": "else"}
    text = said(replace(made, advice=replace(made.advice, rejected=rejected)), capsys)
    assert "one, other: it is so third: else" in text
