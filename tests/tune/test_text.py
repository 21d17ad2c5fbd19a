"""A text student behind the terms' gate: what is blocked leaves no older student in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from freehold.audit import audit
from freehold.errors import NothingToLearn, TermsBlocked
from freehold.nouns import Slot, Task, Template
from freehold.project import Project
from freehold.tell import quiet
from freehold.traffic import read
from freehold.tune import tune
from freehold.tune.rows import Rows
from freehold.tune.text import _readable


def test_what_the_terms_block_unseats_the_student_tuned_before(tmp_path: Path) -> None:
    rows = []
    for i in range(40):
        messages = [
            {"role": "system", "content": "Read out the city."},
            {"role": "user", "content": f"to Oslo {i * 7}"},
        ]
        choice = {"message": {"role": "assistant", "content": f'{{"city": "Oslo", "n": {i}}}'}, "finish_reason": "stop"}
        rows.append({"request": {"model": "gpt-4o-mini", "messages": messages}, "response": {"choices": [choice]}})
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    project = Project.create(tmp_path / "p")
    traffic = read([path])
    (task,) = audit(traffic).tasks
    assert task.kind == "json"
    project.choose(task.name, "0" * 64)
    toml = project.path / "freehold.toml"
    toml.write_text(toml.read_text().replace('use = "internal"', 'use = "sold"'))
    with pytest.raises(TermsBlocked, match="T3"):
        tune(task, traffic, Project.open(project.path))
    assert project.tuned()[task.name] == ""


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
