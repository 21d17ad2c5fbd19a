"""What answers are compared by is part of the question: a rule, and the database where queries run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import BadSetting
from freehold.facts import terms
from freehold.nouns import Artifact, Slot, Task, Template
from freehold.project import Settings
from freehold.prove import prove
from freehold.prove.money import notices

Make = Callable[..., Any]


def database(path: Path, *rows: int) -> str:
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (a INT)")
    db.executemany("INSERT INTO t VALUES (?)", [(row,) for row in rows])
    db.commit()
    db.close()
    return str(path)


def test_another_database_is_another_question(world: Make, tmp_path: Path) -> None:
    w = world()
    file = database(tmp_path / "db.sqlite", 1)
    rest = (w.student, w.artifact, w.traffic, w.project)
    task = replace(w.task, rule="sql", database=file)
    first = prove(task, *rest, bar=0.9)
    assert prove(task, *rest, bar=0.9) == first
    assert first.evidence is not None
    assert "sha256" in first.evidence.method
    database(tmp_path / "db.sqlite", 1, 2)
    second = prove(task, *rest, bar=0.9)
    assert second.evidence is not None
    assert (first.evidence.opening, second.evidence.opening) == (1, 2)
    assert second.evidence.method != first.evidence.method
    assert len(w.project.rows("openings.jsonl")) == 2


def test_a_database_that_is_gone_opens_nothing(world: Make, tmp_path: Path) -> None:
    w = world()
    task = replace(w.task, rule="sql", database=str(tmp_path / "gone.sqlite"))
    with pytest.raises(BadSetting, match=r"gone\.sqlite"):
        prove(task, w.student, w.artifact, w.traffic, w.project, bar=0.9)
    assert not (w.project.path / "openings.jsonl").exists()


def test_terms_that_hold_by_now_stand_beside_those_of_the_tuning() -> None:
    task = Task("t", Template((Slot("user", "", variable=True),)), "json", 1, 1.0, models=("gpt-4o-mini",))
    counted = replace(terms("openai", "json", student="extract"), rows=7)
    artifact = Artifact("0" * 64, "extract", "t", "b", "MIT", (), {"terms": [asdict(counted)]}, "", {})
    assert notices(task, Settings(), artifact) == (counted,)
    then, now = notices(task, Settings(use="sold"), artifact)
    assert then == counted
    assert (now.rule, now.outcome) == ("T3", "BLOCK")
    nameless = replace(task, models=())
    assert [n.rule for n in notices(nameless, Settings(vendor="anthropic", use="sold"), artifact)] == ["T2", "T5"]
