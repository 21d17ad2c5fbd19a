"""A person asks to be forgotten: no row holds them, everything else is as it was, and no row is lost meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freehold.errors import LedgerDamaged, StorageFailed
from freehold.ledger import Ledger, backup, erase, past, verify
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

from .conftest import entry, files, lines

ANA = "ana@example.org"
WRITER = """
import asyncio, os, sys
from freehold.ledger import Entry, Ledger
from freehold.nouns import Call
from freehold.project import Project

async def main():
    ledger = Ledger(Project.open(sys.argv[1]), name="server", ballast=0)
    keeping = asyncio.create_task(ledger.keep_synced())
    for number in range(1 << 30):
        user = ("ana@example.org", "bob")[number % 2]
        body = {"model": "m", "user": user, "messages": [{"role": "user", "content": f"text of {user}"}]}
        assert ledger.write(Entry(Call(()), body, id=f"{number}"))
        os.write(1, f"{number}\\n".encode())
        await asyncio.sleep(0.001)
        if os.path.exists(sys.argv[2]):
            break
    keeping.cancel()
    ledger.close()

asyncio.run(main())
"""


def write(project: Project, count: int = 8) -> None:
    file = Ledger(project, LedgerSettings(rotate_mib=0.003), ballast=0)  # type: ignore[arg-type]
    for number in range(count):
        user = (ANA, "bob")[number % 2]
        file.write(entry(f"text of {user}", user, id=f"{number}", agrees=True, why="pair"))
    file.close()


def test_a_person_is_gone_and_what_the_monitor_counts_is_as_it_was(project: Project, tmp_path: Path) -> None:
    write(project)
    backup(project, tmp_path / "backup")
    before = [row.freehold for row in past(project, 0.0)]
    told = erase(project, ANA)
    assert told.rows == 4
    assert [row.freehold for row in past(project, 0.0)] == before
    everything = [path for path in project.path.rglob("*") if path.is_file()]
    assert not [path for path in everything if ANA.encode() in path.read_bytes()]
    assert verify(project).problems == ()
    assert verify(project).rows == 8
    rows = [json.loads(line) for line in lines(project)]
    assert [row["freehold"].get("erased", False) for row in rows] == [True, False] * 4
    assert rows[1]["request"]["messages"][1]["content"] == "text of bob"
    assert told.backups == (str(tmp_path / "backup"),)
    kept = json.loads(Path(told.path).read_text())
    assert kept["sha256"] == told.sha256
    assert {one["file"] for one in kept["files"]} == {path.name for path in files(project)}
    again = erase(project, ANA)
    assert (again.rows, again.files) == (0, ())


@pytest.mark.parametrize("where", ["metadata", "safety_identifier"])
def test_a_person_is_found_wherever_the_request_names_them(project: Project, where: str) -> None:
    file = Ledger(project, ballast=0)
    row = entry("my text", "")
    row.body |= {"metadata": {"user_id": 'Ana "ü"\x7f'}} if where == "metadata" else {where: 'Ana "ü"\x7f'}
    file.write(row)
    file.write(entry("another one says Ana", "bob"))
    file.close()
    assert erase(project, 'Ana "ü"\x7f').rows == 1
    assert b"my text" not in b"".join(lines(project))


def test_what_else_may_have_seen_the_person_is_named(project: Project) -> None:
    write(project)
    project.write_artifact({"x.json": b"{}"}, kind="label", task="t", base="", licence="", recipe={}, data_sha256="")
    project.write("plan.json", b'{"example": "ana@example.org"}')
    told = erase(project, ANA)
    assert [one["task"] for one in told.artifacts] == ["t"]
    assert "no audit" in told.artifacts_known
    assert told.holds == ("plan.json",)


def test_a_damaged_ledger_is_not_rewritten(project: Project) -> None:
    write(project)
    path = files(project)[0]
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data[:50] + b"X" + data[51:])
    before = [path.read_bytes() for path in files(project)]
    with pytest.raises(LedgerDamaged, match=path.name):
        erase(project, ANA)
    assert [path.read_bytes() for path in files(project)] == before


def test_a_server_writes_on_meanwhile_and_loses_no_row(project: Project, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", WRITER, str(project.path), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        told = [erase(project, ANA, wait=30.0) for _ in range(2)]
        stop.touch()
        said = server.stdout.read().decode().split()
        assert server.wait(30) == 0
    assert all(one.rows > 0 for one in told)
    assert verify(project).problems == ()
    rows = [json.loads(line) for line in lines(project)]
    assert len(rows) == int(said[-1]) + 1
    assert [row["freehold"]["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["freehold"]["id"] for row in rows} >= set(said)
    assert sum(row["freehold"].get("erased", False) for row in rows) == sum(one.rows for one in told)


def test_a_file_that_is_not_let_go_is_left_as_it_is(project: Project) -> None:
    """A server that hangs: the erasure says so, and the next row goes to a place that is whole."""
    file = Ledger(project, ballast=0)
    file.write(entry())
    before = lines(project)
    start = time.monotonic()
    with pytest.raises(StorageFailed, match="does not let it go"):
        erase(project, ANA, wait=0.2)
    assert time.monotonic() - start < 20
    assert lines(project) == before
    assert file.write(entry())
    file.close()
    assert erase(project, ANA).rows == 2
    assert os.listdir(project.path / "ledger" / "receipts")
