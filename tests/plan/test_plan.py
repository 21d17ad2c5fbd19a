"""Try, too few, or not yet: with the reason and the calls that a proof asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.measure import calls_needed
from freehold.nouns import Audit, LogFile, Measure, Plan, Repeats, Slot, Task, Template, Tokens
from freehold.plan import plan
from freehold.project import Project

TEMPLATE = Template((Slot("user", "", variable=True),))


def task(calls: int = 5000, labels: int = 20, kind: str = "labels") -> Task:
    names = tuple(f"label{i}" for i in range(labels)) if kind == "labels" else ()
    return Task("route", TEMPLATE, kind, calls, 1.0, labels=names)  # type: ignore[arg-type]


def audit_of(*tasks: Task) -> Audit:
    log = LogFile(("calls.jsonl",), "0" * 64, "0" * 64, 5000, 1)
    money = Measure(10.0, n=5000, unit="USD")
    month = Measure(7.0, n=5000, unit="USD/month", method="scaled")
    repeats = Repeats(0, 0, Measure(None))
    return Audit(log, 5000, 0, (), tasks, Tokens(), money, month, None, None, (), repeats)


def test_enough_calls_of_labels_are_worth_a_try() -> None:
    (step,) = plan(audit_of(task())).tasks
    assert (step.go, step.name, step.calls) == ("try", "route", 5000)
    assert "bar 0.99" in step.reason
    assert step.student
    assert step.minutes.value == pytest.approx((5000 / 400 + 2.7e-5 * 0.75 * 5000 * 20) / 60)


def test_calls_needed_are_four_times_a_proof_without_errors() -> None:
    (step,) = plan(audit_of(task())).tasks
    assert step.needed == {"0.9": 4 * 29, "0.95": 4 * 59, "0.98": 4 * 149, "0.99": 4 * 299}
    for bar in (0.9, 0.95, 0.98, 0.99):
        assert step.needed[f"{bar:g}"] == 4 * calls_needed(bar)
    (surer,) = plan(audit_of(task()), confidence=0.99, bars=(0.95,)).tasks
    assert surer.needed == {"0.95": 4 * calls_needed(0.95, confidence=0.99)}


def test_thirty_calls_are_too_few() -> None:
    (step,) = plan(audit_of(task(calls=30, labels=3))).tasks
    assert (step.go, step.minutes.value) == ("too_few", None)
    assert "30 calls" in step.reason
    assert "116" in step.reason


def test_a_log_between_bars_says_which_it_can_reach() -> None:
    (step,) = plan(audit_of(task(calls=700, labels=3))).tasks
    assert step.go == "try"
    assert "bar 0.98; too few for a higher one (1,196 for 0.99)" in step.reason


def test_one_label_only_is_not_worth_a_student() -> None:
    (step,) = plan(audit_of(task(labels=1))).tasks
    assert (step.go, step.minutes.value) == ("not_yet", None)
    assert "Every answer is the same ('label0')" in step.reason


@pytest.mark.parametrize(
    ("kind", "student"),
    [("json", "a tagger"), ("tools", "a tagger"), ("sql", "a small open"), ("text", "a small open")],
)
def test_each_kind_has_its_student(kind: str, student: str) -> None:
    (step,) = plan(audit_of(task(kind=kind))).tasks
    assert step.go == "try"
    assert step.student.startswith(student)
    assert step.minutes.value == 12
    assert "the most that is spent" in step.minutes.method


def test_answers_that_no_rule_compares_are_not_tried() -> None:
    (step,) = plan(audit_of(replace(task(kind="text"), rule="none", why="they are long and varied"))).tasks
    assert step.go == "not_yet"
    assert "they are long and varied" in step.reason


def test_a_machine_is_given_or_assumed_with_its_date() -> None:
    assert plan(audit_of(task()), machine_cost=0.25).machine_cost == Measure(0.25, unit="USD/h", method="given")
    assumed = plan(audit_of(task()))
    assert assumed.machine_cost.method.startswith("assumed: ")
    assert any(assumed.machine_cost.method in line for line in assumed.assumptions)


def test_money_never_decides() -> None:
    dear = plan(audit_of(task()), machine_cost=1000.0)
    assert dear.tasks[0].go == "try"
    unknown = replace(audit_of(task()), per_month=Measure(None, unit="USD/month"))
    assert plan(unknown).tasks[0].go == "try"
    assert plan(unknown).bill.value is None


def test_a_step_for_each_task_in_the_same_order() -> None:
    tasks = [replace(task(calls=30), name="b"), replace(task(), name="a"), replace(task(kind="sql"), name="c")]
    assert [step.name for step in plan(audit_of(*tasks)).tasks] == ["b", "a", "c"]
    assert plan(audit_of()).tasks == ()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "p")
    made.save(audit_of(task(), replace(task(calls=30), name="small")))
    return made


def test_the_command_saves_and_says_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--project", str(project.path), "--machine-cost", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "too few" in said
    assert "1,196" in said
    assert "$7.00 a month" in said
    assert project.load(Plan).machine_cost.value == 0.5


def test_the_command_as_json(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--project", str(project.path), "--json"]) == 0
    assert [step["go"] for step in json.loads(capsys.readouterr().out)["tasks"]] == ["try", "too_few"]


@pytest.mark.parametrize("cost", ["dear", "-1", "inf", "nan"])
def test_a_cost_that_can_not_be_meant(project: Project, capsys: pytest.CaptureFixture[str], cost: str) -> None:
    assert main(["plan", "--project", str(project.path), f"--machine-cost={cost}"]) == 2
    assert cost in capsys.readouterr().err


def test_without_an_audit_the_next_step_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Project.create(tmp_path / "empty")
    assert main(["plan", "--project", str(tmp_path / "empty")]) == 20
    assert "freehold audit" in capsys.readouterr().err
