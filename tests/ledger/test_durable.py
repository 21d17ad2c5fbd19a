"""safe: an ack means the disk has it; one sync serves many; a sync that failed is never taken for one that held."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from freehold.errors import StorageFailed
from freehold.ledger import Ledger, verify
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

from .conftest import entry, files, lines, until

SAFE = LedgerSettings(durability="safe")


class Disk:
    """os.fdatasync, counted; it can be made to wait, and to fail as a broken disk does."""

    def __init__(self) -> None:
        self.syncs = 0
        self.fails = 0
        self.real = os.fdatasync

    def fdatasync(self, handle: int) -> None:
        self.syncs += 1
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.real(handle)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr("os.fdatasync", found.fdatasync)
    return found


async def test_fast_waits_for_nothing(project: Project, disk: Disk) -> None:
    file = Ledger(project, ballast=0)
    row = entry()
    assert file.write(row)
    await file.durable(row)
    await file.durable()
    assert disk.syncs == 0
    file.close()
    assert disk.syncs == 1


async def test_many_share_one_sync(project: Project, disk: Disk) -> None:
    file = Ledger(project, SAFE, ballast=0)

    async def produce() -> None:
        for _ in range(10):
            row = entry()
            file.write(row)
            await file.durable(row)

    await asyncio.gather(*(produce() for _ in range(64)))
    assert disk.syncs <= 40  # 640 rows; each turn of all is one sync, or two where some came late
    await file.durable()
    file.close()
    assert verify(project).rows == 640


async def test_one_who_goes_away_takes_nobody_along(project: Project) -> None:
    file = Ledger(project, SAFE, ballast=0)
    file.write(entry())
    gone, stays = asyncio.create_task(file.durable()), asyncio.create_task(file.durable())
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert gone.cancelled() or gone.cancelling()
    file.close()


async def test_a_failed_sync_acks_nobody_and_begins_a_new_file(project: Project, disk: Disk) -> None:
    file = Ledger(project, SAFE, ballast=0)
    first = entry()
    file.write(first)
    await file.durable(first)
    disk.fails = 1
    rows = [entry() for _ in range(5)]
    for row in rows:
        file.write(row)
    said = await asyncio.gather(*(file.durable(row) for row in rows), return_exceptions=True)
    assert [type(one) for one in said] == [StorageFailed] * 5
    assert file.why.startswith("Can't sync")
    with pytest.raises(StorageFailed):
        await file.durable(rows[0])  # asked again, it still can't be said
    await file.durable(first)  # was on the disk before
    later = entry()
    assert file.write(later)
    assert file.why, "a row that was only written shows nothing"
    await file.durable(later)
    assert file.why == ""
    assert len(files(project)) == 2
    with pytest.raises(StorageFailed):
        await file.durable(rows[-1])
    file.close()
    assert len(lines(project)) == 7
    assert verify(project).problems == ()


async def test_a_ledger_that_nobody_writes_to_shows_by_itself_that_it_can_be_written_again(
    project: Project, disk: Disk
) -> None:
    file = Ledger(project, LedgerSettings(failure="refuse"), ballast=0)
    file.write(entry())
    disk.fails = 2
    keeping = asyncio.create_task(file.keep_synced())
    await until(lambda: file.refuses)
    await until(lambda: not file.refuses)
    assert disk.fails == 0
    keeping.cancel()
    file.close()


async def test_a_row_that_was_not_written_is_not_durable(project: Project, tmp_path: Path) -> None:
    file = Ledger(project, SAFE, ballast=0)
    with pytest.raises(StorageFailed):
        await file.durable(entry())
    await file.durable()  # nothing was written so far


async def test_what_fails_once_a_second_is_said_and_done_again_the_next(project: Project) -> None:
    said: list[str] = []
    file = Ledger(project, tell=lambda what, done=None, /: said.append(what))
    turns: list[int] = []

    def also() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise StorageFailed("no room")

    keeping = asyncio.create_task(file.keep_synced(also))
    async with asyncio.timeout(10):
        while len(turns) < 2:  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)
    assert not keeping.done()
    assert said == ["what is due each second failed: no room"]
    keeping.cancel()
    file.close()
