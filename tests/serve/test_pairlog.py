"""Pairs are kept without content, one file a process, and every process hears of the others'."""

from __future__ import annotations

import json

import pytest

from freehold.project import Project
from freehold.serve.pairing.pairlog import FOLDER, PairLog, PairRow

AT = "2026-11-24T10:15:02.114+00:00"


def pair(id: str = "chatcmpl-1", at: str = AT, **fields: object) -> PairRow:
    known = {"task": "intents", "student": "9f", "agrees": True, "probability": 1.0, "stage": "shadow"}
    return PairRow(at=at, id=id, **(known | fields))  # type: ignore[arg-type]


def ids(rows: list[PairRow]) -> list[str]:
    return [row.id for row in rows]


def test_a_row_holds_no_text(project: Project) -> None:
    log = PairLog(project)
    log.write(pair(home=True, against="gpt-5.6-luna"))
    (path,) = (project.path / FOLDER).iterdir()
    row = json.loads(path.read_text())
    assert row == {
        "at": AT, "id": "chatcmpl-1", "task": "intents", "student": "9f", "agrees": True, "probability": 1.0,
        "stage": "shadow", "home": True, "against": "gpt-5.6-luna", "share": None,
    }  # fmt: skip
    assert path.stat().st_mode & 0o077 == 0


def test_the_others_are_heard_once(project: Project) -> None:
    before = PairLog(project, process=1)
    before.write(pair("old"))
    one, other = PairLog(project, process=1), PairLog(project, process=2)
    one.write(pair("a"))
    other.write(pair("b"))
    assert ids(one.news()) == ["b"]
    assert ids(other.news()) == ["a"]  # what stood there at its start is read with `read`
    assert one.news() == other.news() == []
    other.write(pair("c"))
    assert ids(one.news()) == ["c"]


def test_what_is_read_is_not_news_as_well(project: Project) -> None:
    first = PairLog(project, process=1)
    first.write(pair("a"))
    late = PairLog(project, process=2)
    first.write(pair("b"))
    late.write(pair("c"))
    assert sorted(ids(late.read(0.0)) + ids(late.news())) == ["a", "b", "c"]


def test_rows_come_in_order_of_time_and_from_the_day_asked_for(project: Project) -> None:
    log = PairLog(project, process=1)
    for name, at in {"b": "2026-11-24T12:00:00+00:00", "a": "2026-11-24T11:00:00+00:00"}.items():
        log.write(pair(name, at))
    found = PairLog(project, process=3).read(0.0)
    assert ids(found) == ["a", "b"]
    assert ids(PairLog(project, process=3).read(found[0].time + 1)) == ["b"]


@pytest.mark.parametrize(
    "bad", [b"{}", b"\xff", b"[1]", b'{"at":"soon"}', json.dumps({"at": AT, "id": "x"}).encode(), b"\0" * 9]
)
def test_a_line_that_cannot_be_read_does_not_count(project: Project, bad: bytes) -> None:
    said: list[str] = []
    log = PairLog(project, process=1)
    log.write(pair("a"))
    (path,) = (project.path / FOLDER).iterdir()
    path.write_bytes(path.read_bytes() + bad + b"\n" + path.read_bytes() + b'{"at":')
    found = PairLog(project, lambda what, done=None, /: said.append(what), process=2)
    assert ids(found.read(0.0)) == ["a", "a"]
    assert [line for line in said if "can't be read" in line]


@pytest.mark.parametrize("probability", [0.0, -1.0, 1.5])
def test_a_probability_is_a_share(project: Project, probability: float) -> None:
    log = PairLog(project, process=1)
    log.write(pair("a"))
    (path,) = (project.path / FOLDER).iterdir()
    path.write_bytes(path.read_bytes().replace(b"1.0", str(probability).encode()))
    assert PairLog(project, process=2).read(0.0) == []


def test_what_cannot_be_written_is_said_once_and_counted(project: Project) -> None:
    said: list[str] = []
    (project.path / FOLDER).write_text("a file")
    log = PairLog(project, lambda what, done=None, /: said.append(what))
    for _ in range(3):
        log.write(pair())
    assert log.lost == 3
    assert len(said) == 1
