"""What earlier runs left: ledger files in order of time, and lines that can't be read."""

from __future__ import annotations

import pytest

from freehold import wire
from freehold.project import Project
from freehold.serve.pairing.monitor import Monitor

from .conftest import StandIn, Start, client, request
from .test_watch_lasts import rung

HOME = request("what do i have")  # the student says balance


def past_row(at: str, agrees: bool, sha256: str) -> bytes:
    own = {"task": "intents", "answered_by": "upstream", "why": "pair", "probability": 0.02, "agrees": agrees}
    own["student"] = {"sha256": sha256}
    return wire.dumps({"timestamp": at, "seconds": 0.1, "request": {}, "response": {}, "freehold": own}) + b"\n"


async def test_files_of_a_day_are_read_in_order_of_time(project: Project, start: Start, upstream: StandIn) -> None:
    """Process 999 ran before 1200, whose name stands first: the evidence is that of the true order."""
    verdict = project.verdicts()[0]
    assert verdict.student is not None
    first = [past_row(f"2026-11-24T10:{i // 60:02}:{i % 60:02}+00:00", True, verdict.student.sha256) for i in range(4)]
    then = [past_row(f"2026-11-24T11:00:{i:02}+00:00", False, verdict.student.sha256) for i in range(2)]
    (project.path / "ledger" / "2026-11-24-999.jsonl").write_bytes(b"".join(first))
    (project.path / "ledger" / "2026-11-24-1200.jsonl").write_bytes(b"".join(then))
    expected = Monitor(0.95, 0.02)
    for agrees in [True] * 4 + [False] * 2:
        expected.pair(agrees)
    async with start(upstream, pairs=0.02) as app:
        assert rung(app)["monitor"]["evidence"] == pytest.approx(expected.evidence)


BAD = [
    b'\0\0\0\0{"student":{"x\n',
    b'{"freehold":{"task":"intents","student":{"sha256":"x"}}}\n',
    b'{"timestamp":"soon","freehold":{"task":"intents","student":{"sha256":"x"}}}\n',
    b'{"timestamp":5,"freehold":{"task":"intents","student":{"sha256":"x"}}}\n',
    b'{"timestamp":"2026-11-24T10:00:00Z","freehold":{"task":"\xff","student":{"sha256":"x"}}}\n',
    b'{"freehold":{"student":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}}\n",
]


async def test_bad_lines_of_the_ledger_are_counted_and_left_out(
    project: Project, start: Start, upstream: StandIn
) -> None:
    said: list[str] = []
    verdict = project.verdicts()[0]
    assert verdict.student is not None
    good = past_row("2026-11-24T10:00:00+00:00", False, verdict.student.sha256)
    path = project.path / "ledger" / "2026-11-24-1.jsonl"
    path.write_bytes(good + b"".join(BAD) + good)
    async with start(upstream, pairs=0.02, tell=lambda what, done=None, /: said.append(what)) as app:
        assert rung(app)["monitor"]["pairs"] == 2
    (line,) = [line for line in said if "lines of the ledger" in line]
    assert line == f"{len(BAD)} lines of the ledger can't be read and don't count; the first is {path}:2"


@pytest.mark.parametrize(
    "bad",
    [
        b'{"at":"2026"\n',
        b"{}\n",
        b"[1]\n",
        b"\xff\n",
        b'{"task":"intents","event":"closed","why":"x","by":"monitor"}\n',
        b'{"at":"soon","task":"intents","event":"closed","why":"x","by":"monitor"}\n',
        b'{"at":"2026-11-24T10:00:00Z","task":"intents","event":["closed"]}\n',
    ],
)
async def test_a_damaged_rungs_file_leaves_the_rung_closed_and_the_server_up(
    project: Project, start: Start, upstream: StandIn, bad: bytes
) -> None:
    said: list[str] = []
    async with start(upstream):
        pass
    path = project.path / "rungs.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + bad)
    async with start(upstream, tell=lambda what, done=None, /: said.append(what)) as app, client(app) as api:
        assert not rung(app)["open"]
        assert f"line 2 of {path} can't be read" in rung(app)["why"]
        assert (await api.chat.completions.create(**HOME)).model == "gpt-4o-mini-2024"
    assert any(line.startswith(f"line 2 of {path} can't be read") for line in said)
    path.write_bytes(whole)
    async with start(upstream) as app:
        assert rung(app)["open"]


async def test_another_tasks_damaged_row_closes_nothing_here(project: Project, start: Start, upstream: StandIn) -> None:
    (project.path / "rungs.jsonl").write_bytes(b'{"at":"soon","task":"poems","event":"closed"}\n')
    async with start(upstream) as app:
        assert rung(app)["open"]


async def test_a_rungs_file_that_cannot_be_read(project: Project, start: Start, upstream: StandIn) -> None:
    (project.path / "rungs.jsonl").mkdir()
    async with start(upstream) as app, client(app) as api:
        assert "can't be read" in rung(app)["why"]
        assert (await api.chat.completions.create(**HOME)).model == "gpt-4o-mini-2024"
