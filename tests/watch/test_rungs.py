"""Each rung's stage, its frozen promise and how it came there; a ladder's rungs beside each other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.nouns import TaskStudent, Verdict
from freehold.project import Project
from freehold.watch.snapshot import Watcher

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
SECOND = "9" * 64


def event(project: Project, minute: int, what: str, sha256: str = "", **more: Any) -> None:
    first = project.verdicts()[0]
    assert first.student
    at = f"2026-11-24T07:{minute:02}:00+00:00"
    head = {"at": at, "task": "router", "event": what, "why": "", "by": "start", "verdict": first.made}
    project.append("rungs.jsonl", head | {"student": sha256 or first.student.sha256} | more)


def rung(project: Project, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = Watcher(project).snapshot()["tasks"][0]["rungs"][number]
    return found


def test_the_stages(project: Project) -> None:
    event(project, 1, "stage", stage="shadow", share=0.0, why="a new student")
    found = rung(project)
    assert (found["state"], found["stage"]["name"], found["stage"]["why"]) == ("open", "shadow", "a new student")
    event(project, 2, "stage", stage="canary", share=0.05, why="53 pairs, 0 differ", by="evidence")
    found = rung(project)
    assert (found["state"], found["stage"]["name"], found["stage"]["share"]) == ("open", "canary", 0.05)
    event(project, 3, "stage", stage="full", share=1.0, why="660 pairs, 9 differ", by="evidence")
    assert rung(project)["stage"]["name"] == "full"
    event(project, 4, "closed", why="9 of 300 pairs differ", by="monitor")
    found = rung(project)
    assert (found["state"], found["stage"], found["why"]) == ("closed", None, "9 of 300 pairs differ")
    steps = [(one["what"], one["why"]) for one in found["timeline"]]
    assert steps == [
        ("opened", ""),
        ("shadow", "a new student"),
        ("canary at 5 %", "53 pairs, 0 differ"),
        ("full", "660 pairs, 9 differ"),
        ("closed", "9 of 300 pairs differ"),
    ]
    event(project, 5, "opened")
    assert rung(project)["state"] == "open"


def test_a_new_verdict_starts_anew(project: Project, verdict: Verdict) -> None:
    event(project, 1, "stage", share=0.25, by="evidence")
    project.save(dataclasses.replace(verdict, made="2026-11-25T05:00:00+00:00"))
    assert rung(project)["stage"]["name"] == "full"  # nothing says that it was in shadow


def test_a_student_that_answers_without_a_step_serves_all(project: Project, row: Row, write: Write) -> None:
    event(project, 1, "stage", share=0.0)
    write(project, [row(70)])  # 07:10
    assert rung(project)["stage"]["name"] == "full"
    write(project, [row(71, pairs=0.0)])
    assert rung(project)["state"] == "unmonitored"


@pytest.mark.parametrize("share", [None, True, "0.05", 7, -1, float("nan")])
def test_an_odd_share_takes_nobody_up(project: Project, share: Any) -> None:
    event(project, 1, "stage", share=0.0)
    first = project.rows("rungs.jsonl")[-1]
    with (project.path / "rungs.jsonl").open("a") as file:
        file.write(json.dumps(first | {"share": share}) + "\n")
    assert rung(project)["stage"]["name"] == "shadow"


def test_a_frozen_promise(project: Project, row: Row, write: Write) -> None:
    event(project, 1, "frozen", successor="gpt-next", why="gpt-next answers")
    assert rung(project)["state"] != "frozen"  # no successor any more
    (project.path / "freehold.toml").write_text('successor = "gpt-next"\n')
    rows = [row(i, "pair", agrees=True) for i in range(4)]
    write(project, [*rows, *(row(i, "pair", agrees=i > 0, against="gpt-next") for i in range(3))])
    found = rung(project)
    assert found["state"] == "frozen"
    assert found["frozen"] == {"since": "2026-11-24", "model": "gpt-next"}
    assert found["pairs"]["home"]["n"] == 4
    [beside] = found["beside"]
    assert (beside["model"], beside["value"], beside["n"]) == ("gpt-next", 2 / 3, 3)
    assert found["timeline"][-1]["what"] == "frozen, gpt-next answers now"


def test_a_ladder_shows_both_and_counts_once(project: Project, verdict: Verdict, row: Row, write: Write) -> None:
    assert verdict.student
    host = TaskStudent(SECOND, "qwen3-32b", "Apache-2.0", host="local")
    first = verdict.student.sha256
    project.save(dataclasses.replace(verdict, student=host, after=first))
    event(project, 1, "stage", share=1.0, by="evidence")
    event(project, 2, "opened", SECOND, after=first)
    event(project, 3, "stage", SECOND, after=first, share=0.0)
    second = row(0)["freehold"]["student"] | {"sha256": SECOND}
    write(project, [*(row(i) for i in range(3)), row(3, student=second), row(4, "escalated")])
    found = Watcher(project).snapshot()
    [task] = found["tasks"]
    assert (found["calls"], task["calls"], task["home"].value) == (5, 5, 0.8)
    assert [one["home"].value for one in task["rungs"]] == [0.6, 0.2]
    assert [one["state"] for one in task["rungs"]] == ["open", "open"]
    assert task["rungs"][1]["after"] == first[:8]
    event(project, 9, "closed", SECOND, after=first, why="failed", by="monitor")
    assert [rung(project, i)["state"] for i in (0, 1)] == ["open", "closed"]
