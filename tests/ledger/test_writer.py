"""The writer: whole rows in files that begin, end and go on; a full disk, a clock that jumps, a file taken away."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from freehold.errors import BadSetting
from freehold.ledger import Ledger, ledger, past, verify
from freehold.ledger.ballast import Ballast
from freehold.project import Project
from freehold.project.gateway import LedgerSettings
from freehold.traffic import read

from .conftest import entry, files, lines

DAY = 86400.0
SMALL = LedgerSettings(rotate_mib=0.005)  # type: ignore[arg-type]  # about 6 rows


class Clock:
    def __init__(self, at: float = 1_795_600_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def test_rows_are_a_log_that_audit_reads(project: Project) -> None:
    file = Ledger(project, ballast=0)
    for _ in range(3):
        assert file.write(entry())
    file.close()
    found = read([project.path / "ledger"])
    assert (found.bad_rows, len(found.calls)) == (0, 3)
    assert found.calls[0].user == "ana@example.org"
    assert list((project.path / "ledger").glob("*.json*")) == files(project)  # nothing else that looks like a log


def test_a_full_file_is_sealed_and_the_next_goes_on_from_it(project: Project) -> None:
    file = Ledger(project, SMALL, ballast=0)
    for _ in range(20):
        file.write(entry())
    file.close()
    assert len(files(project)) > 2
    assert [one.state for one in ledger(project)] == ["sealed"] * len(files(project))
    found = verify(project)
    assert (found.rows, found.problems) == (20, ())
    files(project)[0].chmod(0o600)
    files(project)[0].unlink()
    said = [str(problem) for problem in verify(project).problems]
    assert said[0].startswith(ledger(project)[0].name)
    assert "missing" in said[0]


def test_a_file_that_was_cut_is_found_by_the_next_one_though_nobody_sealed_it(project: Project) -> None:
    file = Ledger(project, SMALL, ballast=0)
    for _ in range(10):
        file.write(entry())
    file.sync()
    first = files(project)[0]
    os.truncate(first, first.read_bytes()[:-1].rfind(b"\n") + 1)
    assert any("goes on from a row that is not here" in str(problem) for problem in verify(project).problems)
    file.close()


def test_a_new_day_begins_a_new_file_and_a_day_that_goes_back_opens_none_again(project: Project) -> None:
    clock = Clock()
    file = Ledger(project, ballast=0, clock=clock)
    file.write(entry())
    clock.at += DAY
    file.write(entry())
    file.tend()
    sealed = [one for one in ledger(project) if one.state == "sealed"]
    assert len(sealed) == 1
    before = (project.path / "ledger" / sealed[0].name).read_bytes()
    clock.at -= DAY
    file.write(entry())
    file.close()
    assert (project.path / "ledger" / sealed[0].name).read_bytes() == before
    assert verify(project).problems == ()
    assert verify(project).rows == 3


@pytest.mark.parametrize("step", [-3600.0, 10 * 365 * DAY, -10 * 365 * DAY])
def test_a_clock_that_jumps_neither_loses_nor_reorders_rows(project: Project, step: float) -> None:
    clock = Clock()
    file = Ledger(project, LedgerSettings(rotate_mib=0.005, keep_days=30), ballast=0, clock=clock)  # type: ignore[arg-type]
    for number in range(30):
        if number in (10, 20):
            clock.at += step if number == 10 else -step
        file.write(entry(id=f"{number}", at=clock.at))
        file.tend()
    file.close()
    assert [json.loads(line)["freehold"]["id"] for line in lines(project)] == [f"{number}" for number in range(30)]
    assert verify(project).problems == ()


def test_a_second_process_begins_its_file_after_all_others(project: Project) -> None:
    """Also where its clock is an hour behind."""
    for name, at in (("b", 1_795_600_000.0), ("a", 1_795_596_400.0)):
        file = Ledger(project, name=name, ballast=0, clock=Clock(at))
        file.write(entry(id=name, at=at))
        file.close()
    assert [path.stem[-1] for path in files(project)] == ["b", "a"]


def test_old_files_go_and_the_one_being_written_stays(project: Project) -> None:
    clock = Clock()
    for at in (clock.at - 40 * DAY, clock.at - 5 * DAY):
        file = Ledger(project, ballast=0, clock=Clock(at))
        file.write(entry(at=at))
        file.close()
    live = Ledger(project, LedgerSettings(keep_days=30), ballast=0, clock=clock)
    live.write(entry(at=clock.at - 100 * DAY))  # its rows may be as old as they say
    live.tend()
    assert [one.state for one in ledger(project)] == ["removed", "sealed", "written"]
    assert len(files(project)) == 2
    assert verify(project).problems == ()
    live.close()


def test_a_clock_that_ran_away_removes_nothing(project: Project) -> None:
    clock = Clock()
    first = Ledger(project, ballast=0, clock=clock)
    first.write(entry(at=clock.at))
    first.close()
    file = Ledger(project, LedgerSettings(keep_days=30), ballast=0, clock=clock)
    clock.at += 10 * 365 * DAY
    file.write(entry())
    file.tend()
    assert [one.state for one in ledger(project)] == ["sealed", "written"]
    file.close()


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "read-only"])
def test_a_file_that_is_taken_away_swallows_no_rows(project: Project, how: str) -> None:
    file = Ledger(project, ballast=0)
    file.write(entry())
    (path,) = files(project)
    if how == "read-only":
        path.chmod(0o400)
    elif how == "removed":
        path.unlink()
    else:
        path.rename(project.path / "old.jsonl")
    if how == "replaced":
        path.write_bytes(b"")
    for _ in range(2):
        assert file.write(entry())
    file.close()
    assert len(lines(project)) == (3 if how == "read-only" else 2)


def test_a_torn_row_of_a_killed_process_is_cut_off_at_the_next_start(project: Project) -> None:
    file = Ledger(project, name="killed", ballast=0)
    file.write(entry())
    file.write(entry())
    file.close()
    (path,) = files(project)
    path.chmod(0o600)
    (project.path / "ledger" / "seals.log").unlink()
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    (torn,) = verify(project).problems
    assert (torn.line, torn.why) == (2, "the row is cut short")
    Ledger(project, ballast=0).close()
    assert path.read_bytes() == whole[: whole.index(b"\n") + 1]
    assert verify(project).problems == ()


@contextmanager
def full_disk(project: Project, spare: int) -> Iterator[None]:
    """No file of this process may grow past the largest ledger file by more than `spare` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max((path.stat().st_size for path in files(project)), default=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("failure", ["serve", "refuse"])
def test_rows_that_find_no_room_are_counted_and_leave_nothing(project: Project, failure: str) -> None:
    file = Ledger(project, LedgerSettings(failure=failure), ballast=0)
    assert file.write(entry())
    with full_disk(project, 300):  # room for the beginning of a row
        again = entry()
        for _ in range(2):
            assert not file.write(again)
        assert not file.write(entry())
        assert (file.lost, file.refuses) == (2, failure == "refuse")
        assert "disk is full" in file.why or "too large" in file.why
        file.tend()
        assert file.why
    file.tend()  # nobody came to try it
    assert (file.why, file.refuses) == ("", False)
    assert file.write(again)
    assert (file.lost, file.why) == (1, "")
    file.close()
    assert len(lines(project)) == 2
    assert verify(project).problems == ()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = shutil.which("mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs can't be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_gives_up_its_ballast_and_comes_back(tiny_disk: Path) -> None:
    project = Project.create(tiny_disk / "project")
    said: list[str] = []
    file = Ledger(project, ballast=128 << 10, tell=lambda what, done=None, /: said.append(what))
    file.tend()
    room = project.path / "ledger" / ".ballast"
    assert room.stat().st_size == 128 << 10
    filler = tiny_disk / "filler"
    with filler.open("wb", buffering=0) as rest:
        while free := os.statvfs(tiny_disk).f_bavail:
            rest.write(b"x" * free * 4096)
    rows = 0
    while file.write(entry()):  # into what was kept, once the page is full
        rows += 1
    assert file.low
    assert not room.exists()
    assert rows > 60
    assert "the disk is full" in file.why
    file.close()  # the tail is whole, and sealed where there is room for that
    assert len(lines(project)) == rows
    filler.unlink()
    file.tend()
    assert (file.why, file.low) == ("", False)
    assert room.exists()
    assert file.write(entry())
    file.close()
    assert not room.exists()
    assert len(lines(project)) == rows + 1
    assert verify(project).problems == ()
    assert any("the disk is full" in what for what in said)


def test_no_ballast_where_there_is_little_room(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    assert not Ballast(tmp_path / "b", free.f_bavail * free.f_frsize // 2).make()
    assert not (tmp_path / "b").exists()


def test_content_that_is_redacted_needs_one_who_redacts(project: Project) -> None:
    with pytest.raises(BadSetting, match="redacts"):
        Ledger(project, LedgerSettings(content="redacted"))


def test_what_the_monitor_reads_is_in_order_of_writing(project: Project) -> None:
    """Two files of a process whose clock went back an hour between them."""
    clock = Clock(1_795_650_000.0)
    file = Ledger(project, SMALL, ballast=0, clock=clock)
    for number in range(12):
        clock.at -= 3600.0 if number == 8 else -1.0
        file.write(entry(at=clock.at, pairs=number / 100))
    file.close()
    assert len(files(project)) == 2 or len(files(project)) == 3
    assert [row.freehold.pairs for row in past(project, 0.0)] == [number / 100 for number in range(12)]


@pytest.mark.parametrize("failure", ["serve", "refuse"])
def test_what_becomes_of_rows_is_said_once(project: Project, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    """The beginning and the end of each time without rows, and how many were lost: one line in QUIET seconds."""
    said: list[str] = []
    now = [1000.0]
    monkeypatch.setattr("freehold.ledger.writer.time.monotonic", lambda: now[0])
    settings = LedgerSettings(failure=failure)
    file = Ledger(project, settings, ballast=0, tell=lambda what, done=None, /: said.append(what))
    assert file.write(entry())
    file.tend()
    assert said == []
    with full_disk(project, 300):
        for _ in range(3):
            assert not file.write(entry())
            file.tend()
    assert len(said) == 1
    assert said[0].startswith("the ledger can't be written: Can't write")
    assert ("calls are refused" in said[0]) == (failure == "refuse")
    file.tend()
    assert len(said) == 1, "it is quiet for a while"
    now[0] += 11.0
    file.tend()
    assert said[1:] == ["the ledger can be written again; 3 rows were lost"]
    file.close()
