"""A text student behind the terms' gate: what is blocked leaves no older student in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from freehold.audit import audit
from freehold.cli import main
from freehold.errors import NothingToLearn, TermsBlocked
from freehold.nouns import Slot, Task, Template
from freehold.project import Project
from freehold.tell import quiet
from freehold.traffic import read
from freehold.tune import tune
from freehold.tune.rows import Rows
from freehold.tune.text import _readable


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = []
    for i in range(160):
        messages = [
            {"role": "system", "content": "Read out the city."},
            {"role": "user", "content": f"to Oslo {i * 7}"},
        ]
        choice = {"message": {"role": "assistant", "content": f'{{"city": "Oslo", "n": {i}}}'}, "finish_reason": "stop"}
        rows.append({"request": {"model": "gpt-4o-mini", "messages": messages}, "response": {"choices": [choice]}})
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Project.create(tmp_path / "p")
    (tmp_path / "p" / "freehold.toml").write_text('use = "sold"\n')
    return path


def test_what_the_terms_block_unseats_the_student_tuned_before(log: Path) -> None:
    project = Project.open(log.parent / "p")
    traffic = read([log])
    (task,) = audit(traffic).tasks
    assert task.kind == "json"
    project.choose(task.name, "0" * 64)
    with pytest.raises(TermsBlocked, match="T3"):
        tune(task, traffic, project)
    assert project.tuned()[task.name] == ""


def test_the_command_says_why_no_student_was_made(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = str(log.parent / "p")
    assert main(["audit", str(log), "--project", project]) == main(["plan", "--project", project]) == 0
    capsys.readouterr()
    assert main(["tune", "--project", project]) == 0
    out, err = capsys.readouterr()
    assert out == "No student was made.\n"
    assert "read-out-city: No answer" in err
    assert main(["tune", "--project", project, "--task", "read-out-city"]) == 38
    assert main(["prove", "--project", project]) == 0
    assert "last tuning gave it no student" in " ".join(capsys.readouterr().out.split())


def test_json_that_cannot_be_read_teaches_no_decoder() -> None:
    answers = ['{"a": 1}', '{"a": 1', '{"a": 1, "a": 2}', '{"a": NaN}', "sorry", '```json\n{"a": 2}\n```', "[]"]
    rows = Rows([""] * 7, answers, np.arange(7))
    task = Task("t", Template((Slot("user", "", variable=True),)), "json", 7, 1.0, rule="json")
    told: list[str] = []
    assert _readable(task, rows, range(1, 7), lambda what, done=None: told.append(what)) == [5, 6]
    assert told == ["4 of 6 answers of t are no JSON: they are left out"]
    assert _readable(replace(task, kind="text", rule="text"), rows, range(7), quiet) == [*range(7)]
    with pytest.raises(NothingToLearn, match="None of 2 answers"):
        _readable(task, rows, [1, 2], quiet)
