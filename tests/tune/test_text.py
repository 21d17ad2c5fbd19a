"""A text student behind the terms' gate: what is blocked leaves no older student in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.audit import audit
from freehold.errors import TermsBlocked
from freehold.project import Project
from freehold.traffic import read
from freehold.tune import tune


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
