"""serve --check: each logged kind of request beside the rung that answers it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.nouns import Audit, LogFile, Measure, Repeats, Slot, Task, TaskStudent, Template, Tokens, Verdict
from freehold.project import Project, Settings
from freehold.project.gateway import RolloutSettings
from freehold.project.settings import TaskSettings
from freehold.serve.check import Row, check, notes, refused, run, show

TOOL = {"type": "function", "function": {"name": "cancel_order", "parameters": {}}}
TASK = Task(
    "intents",
    Template((Slot("system", "Name the intent."), Slot("user", "Message: ", "", variable=True, inside=(" in ",)))),
    "labels",
    900,
    0.9,
    labels=("transfer",),
    models=("gpt-4o-mini",),
    params={"temperature": [0, 0.5], "logprobs": [True, None], "max_tokens": [1, 64], "stream": [True]},
    answer_tokens=3,
)
ORDERS = Task("orders", Template((Slot("user", "", variable=True),)), "tools", 80, 0.08, params={"tools": [[TOOL]]})
NONE = Measure(None)
AUDIT = Audit(
    LogFile((), "", "", 1000, 0), 1000, 0, (), (TASK, ORDERS), Tokens(), NONE, NONE, None, None, (),
    Repeats(0, 0, NONE),
)  # fmt: skip


def verdict(task: Task, sha256: str, **more: Any) -> Verdict:
    kept = Measure(0.8)
    base = Verdict(
        task.name, task.kind, task.calls, task.share, 0.95, 0.95, "move", "", None, kept, kept, 0.9,
        TaskStudent(sha256, "b", "MIT"), None, asked=task,
    )  # fmt: skip
    return replace(base, **more)


FIRST = verdict(TASK, "ab" * 32)


def row(rows: list[Row], asks: str, value: str = "") -> Row:
    (found,) = (r for r in rows if (r.asks, r.value) == (asks, value))
    return found


def test_each_field_tool_and_the_rest_has_a_row() -> None:
    rows = check(AUDIT, [FIRST, verdict(ORDERS, "ef" * 32)], Settings(), upstream=True)
    assert row(rows, "temperature", "0.5").by == "student abababab"
    assert row(rows, "temperature", "0.5").otherwise == "below its threshold: up"
    assert row(rows, "stream", "true").by == "student abababab"
    logs = row(rows, "logprobs", "true")
    assert (logs.by, logs.otherwise) == ("upstream", "'logprobs' is not a field that the student honours")
    assert row(rows, "max_tokens", "64").by.startswith("student")
    assert row(rows, "max_tokens", "1").by == "upstream"
    assert row(rows, "tool", "cancel_order").by == "student efefefef"
    rest = row(rows, "any")
    assert (rest.task, rest.calls, rest.by) == ("(no task)", 20, "upstream")
    assert not refused(rows)


def test_without_an_upstream_what_no_student_honours_is_refused() -> None:
    rows = check(AUDIT, [FIRST], Settings(), upstream=False)
    assert row(rows, "logprobs", "true").by == "refused"
    assert "there is no upstream" in row(rows, "logprobs", "true").otherwise
    assert row(rows, "temperature", "0").otherwise == "below its threshold: refused (no upstream)"
    assert refused(rows)


def test_what_a_person_declared_is_said() -> None:
    def rows(**said: Any) -> list[Row]:
        audit = replace(AUDIT, tasks=(TASK,), calls=900)
        return check(audit, [FIRST], Settings(tasks={"intents": TaskSettings(**said)}), upstream=True)

    never = rows(leaves=False)
    assert row(never, "logprobs", "true").by == "refused"
    assert "declared never to leave the house" in row(never, "logprobs", "true").otherwise
    assert row(never, "temperature", "0").otherwise == "below its threshold: refused (never leaves)"
    below = rows(leaves=False, unsure="answer")
    assert row(below, "temperature", "0").otherwise == "below its threshold: answered, marked below the bar"
    assert {r.by for r in rows(home=False)} == {"upstream"}
    assert {r.by for r in check(AUDIT, [], Settings(), upstream=True)} == {"upstream"}


def test_a_ladder_names_its_second_rung() -> None:
    second = verdict(TASK, "cd" * 32, after="ab" * 32)
    rows = check(AUDIT, [FIRST, second], Settings(), upstream=True)
    assert row(rows, "temperature", "0").otherwise == "below its threshold: student cdcdcdcd, then up"


def test_it_prints_what_it_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    show([Row("orders", "tool", "[red]x", "upstream", "why", 3)])
    assert "[red]x" in capsys.readouterr().out


def test_of_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project.create(tmp_path / "p")
    project.save(replace(AUDIT, tasks=(TASK,), calls=900))
    made = project.write_artifact(
        {"a": b"b"}, kind="hosted", task="intents", base="m", licence="MIT", data_sha256="",
        recipe={"url": "https://api.example.com/v1"},
    )  # fmt: skip
    project.save(replace(FIRST, student=TaskStudent(made.sha256, "m", "MIT", "there")))
    assert run(project, upstream=True, as_json=True) == 0
    assert {r["by"] for r in json.loads(capsys.readouterr().out)} == {"upstream", f"student {made.sha256[:8]}"}
    assert run(project, upstream=False, as_json=False) == 1
    toml = project.path / "freehold.toml"
    toml.write_text(toml.read_text() + "\n[tasks.intents]\nleaves = false\n")
    capsys.readouterr()
    assert run(Project.open(project.path), upstream=True, as_json=True) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {r["by"] for r in rows} == {"refused"}
    assert "outside the house" in rows[0]["otherwise"]


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "the student honours " + ", ".join(f"field_{n}" for n in range(40))
    show([Row("orders", "tool", "x", "upstream", long)])
    assert long in capsys.readouterr().out.splitlines()[1]


def test_declared_tasks_and_stages_are_said() -> None:
    said = notes(Settings(tasks={"intents": TaskSettings(leaves=False), "sql": TaskSettings(home=False)}))
    assert said[0] == "sql is declared never to be answered at home"
    assert said[1].startswith("intents is declared never to leave the house")
    assert "shadow" in said[2]
    assert notes(Settings(rollout=RolloutSettings(start="full"))) == []
