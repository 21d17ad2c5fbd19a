"""Home pairs and free pairs count apart, and no pair twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from freehold.project import Project
from freehold.watch.pairs import FreePairs
from freehold.watch.snapshot import Watcher
from freehold.wire import dumps

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def pair(project: Project, agrees: bool, **more: Any) -> bytes:
    student = project.verdicts()[0].student
    assert student
    head = {"at": "2026-11-24T10:15:02.114+00:00", "id": "x", "task": "router", "student": student.sha256}
    own = {"agrees": agrees, "probability": 1.0, "stage": "shadow", "home": False, "against": ""}
    return dumps(head | own | more) + b"\n"


def test_home_and_free(project: Project, row: Row, write: Write) -> None:
    write(project, [row(i, "pair", agrees=True) for i in range(2)])
    rows = [pair(project, True, home=True)] * 2 + [pair(project, i > 0) for i in range(5)]
    rows += [pair(project, False, against="gpt-next"), b'{"task": 3}\n']
    (project.path / "pairs").mkdir()
    path = project.path / "pairs" / "2026-11-24-7.jsonl"
    path.write_bytes(b"".join(rows))
    watcher = Watcher(project)
    for _ in range(2):
        found = watcher.snapshot()
    [task] = found["tasks"]
    [rung] = task["rungs"]
    assert (rung["pairs"]["home"]["n"], rung["pairs"]["free"]["n"], rung["pairs"]["free"]["value"]) == (2, 5, 0.8)
    assert (found["agreement"]["home"]["n"], found["agreement"]["free"]["n"]) == (2, 5)
    assert 0.0 < rung["pairs"]["free"]["low"] < 0.8 < rung["pairs"]["free"]["high"] < 1.0
    assert [(one["model"], one["n"]) for one in rung["beside"]] == [("gpt-next", 1)]
    assert found["counts"]["unreadable_pairs"] == 1
    with path.open("ab") as file:
        file.write(pair(project, True)[:-1])
    assert watcher.snapshot()["agreement"]["free"]["n"] == 5  # half a row waits


def test_what_is_no_row() -> None:
    free = FreePairs()
    for line in (b"", b"  ", b"{", b"[]", b"\xff", b"[" * 9999, b'{"task": "a", "student": "b"}'):
        free.add(line)
    assert (free.unreadable, free.found) == (5, {})
