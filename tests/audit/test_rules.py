"""How a task's answers are compared: by what students are fitted on, and by what the team says."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from freehold.audit import audit
from freehold.project.settings import Settings, TaskSettings
from freehold.traffic import Traffic, evidence, read, split

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("find", "book")]


def called(text: str, *names: str) -> dict[str, Any]:
    calls = [{"type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
    messages = [{"role": "system", "content": "Help the guest."}, {"role": "user", "content": text}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return {
        "request": {"model": "gpt-4o-mini", "messages": messages, "tools": TOOLS},
        "response": {"choices": [{"message": message, "finish_reason": "tool_calls"}]},
    }


def traffic(folder: Path, rows: list[dict[str, Any]]) -> Traffic:
    path = folder / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read([path])


def test_the_certifying_answers_have_no_say_in_the_rule(tmp_path: Path) -> None:
    texts = [f"guest {i} wants {i * 7}" for i in range(200)]
    plain = traffic(tmp_path, [called(text, "find", "book") for text in texts])
    (task,) = audit(plain).tasks
    calls = evidence(task, plain)
    sides = split([task.template.text(call.messages) or "" for call in calls])
    held = {calls[i].messages[1]["content"] for i in sides.cal_all.tolist()}
    assert 20 < len(held) < 80
    order = {True: ("book", "find"), False: ("find", "book")}
    (elsewhere,) = audit(traffic(tmp_path, [called(t, *order[t in held]) for t in texts])).tasks
    (here,) = audit(
        traffic(tmp_path, [called(t, *order[t not in held and i % 3 == 0]) for i, t in enumerate(texts)])
    ).tasks
    assert (task.rule, elsewhere.rule, here.rule) == ("tools", "tools", "tools-any-order")


def test_settings_that_go_unheard_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    found = traffic(tmp_path, [called(f"guest {i}", "find") for i in range(9)])
    (task,) = audit(found).tasks
    said = Settings(tasks={task.name: TaskSettings(database=str(path)), "guest": TaskSettings(rule="none")})
    told = audit(found, said)
    assert [t.database for t in told.tasks] == [""]
    assert any("'guest', which is no task" in one and task.name in one for one in told.warnings)
    assert any("goes unused" in one and "by tools" in one for one in told.warnings)
    assert audit(found, Settings(tasks={task.name: TaskSettings(rule="none")})).tasks[0].rule == "none"


@pytest.mark.parametrize("answer", ['```json\n{"a": 1}\n```', '{"a": 1}'])
def test_json_with_and_without_a_fence_is_compared_as_json(tmp_path: Path, answer: str) -> None:
    rows = []
    for i in range(40):
        row = called(f"guest {i} wants {i * 7}", "find")
        said = answer.replace("1", str(i)).replace("a", "words " * 20)
        row["response"]["choices"][0] = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        rows.append(row)
    (task,) = audit(traffic(tmp_path, rows)).tasks
    assert task.rule == "json"
