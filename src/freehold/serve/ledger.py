"""One row for every call, in a form that `freehold audit` reads as a log.

    {"timestamp": "2026-11-24T10:15:02.114+00:00", "seconds": 0.0041, "request": {...}, "response": {...},
     "freehold": {"id": "chatcmpl-…", "task": "intents", "answered_by": "student", "why": "home", "probability": 1.0,
                  "status": "complete", "http": 200,
                  "student": {"sha256": "9f…", "answer": "transfer", "score": 0.998, "threshold": 0.97},
                  "money": {"home": 1.1e-07, "saved": 0.000107}, "reason": ""}}

A row is handed to the operating system before the last byte of its answer goes out, so a killed server has lost no
answered call; the disk itself follows within a second. A ledger that can't be written says so (`why`) and is tried
again with the next call. The client's headers, its key among them, never reach this file. A home row also says which
share of such answers is asked upstream too ("pairs"); the row of such a pair says whether the two agree ("agrees"), and
once a successor answers in the place of the model that the promise is about, whose answer it was ("against").
"""

from __future__ import annotations

import asyncio
import heapq
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from freehold import wire
from freehold.errors import StorageFailed
from freehold.nouns import Answer, Call
from freehold.project import Appender, Project
from freehold.tell import Tell, quiet

__all__ = ["Entry", "Ledger", "PastRow", "past"]

SYNC = 1.0  # seconds between syncs to the disk


@dataclass(slots=True)
class Entry:
    """A row in the making. `body` is the request as parsed, `started` a monotonic clock, `at` the wall clock."""

    call: Call
    body: dict[str, Any]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    task: str = ""
    answered_by: str = "upstream"
    why: str = ""
    probability: float = 1.0
    status: str = "failed"
    http: int = 0
    student: dict[str, Any] | None = None
    home: float | None = 0.0
    saved: float | None = 0.0
    reason: str = ""
    pairs: float = 0.0
    agrees: bool | None = None
    response: dict[str, Any] = field(default_factory=dict)
    lost: bool = False
    written: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    def says(self, sha256: str, threshold: float, answer: Answer) -> None:
        """Keep what the student would have answered."""
        self.student = {"sha256": sha256, **asdict(answer), "threshold": threshold}
        self.student["answer"] = self.student.pop("text")
        if self.student.pop("able") is False:
            self.student["able"] = False

    def ends(self, http: int, status: str, response: dict[str, Any], reason: str = "") -> None:
        """Keep how the call ended; a reason given earlier (why it went up) stands first."""
        self.http, self.status, self.response = http, status, response
        self.reason = "; ".join(said for said in (self.reason, reason) if said)

    def row(self) -> dict[str, Any]:
        own: dict[str, Any] = {"id": self.id, "task": self.task, "answered_by": self.answered_by, "why": self.why}
        own |= {"probability": self.probability, "status": self.status, "http": self.http, "student": self.student}
        own |= {"money": {"home": self.home, "saved": self.saved}, "reason": self.reason}
        if self.why == "home":
            own["pairs"] = self.pairs
        if self.why == "pair":
            own["agrees"] = self.agrees
        own |= self.more  # what further rooms want on record: numbers and names, never texts
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        seconds = round(time.perf_counter() - self.started, 6)
        return {"timestamp": at, "seconds": seconds, "request": self.body, "response": self.response, "freehold": own}


class Ledger:
    """The file of today, `ledger/<UTC date>-<process>.jsonl`. `why` is empty while it can be written."""

    def __init__(self, project: Project) -> None:
        self.folder = project.path / "ledger"
        self.why = ""
        self.lost = 0
        self._file: Appender | None = None
        self._inode = (0, 0)
        self._day = 0
        self._today = self.folder
        self._unsynced: set[Path] = set()

    def write(self, entry: Entry) -> bool:
        """Append the row. False, with `why` set and the row counted as lost, where that is not possible."""
        try:
            self._open().append(entry.row())
        except StorageFailed as error:
            self.why = error.message
            self._drop()
        else:
            self.why = ""
        failed = bool(self.why)
        self.lost += failed - entry.lost  # a home answer whose row failed is tried once more, as the call that went up
        entry.lost, entry.written = failed, not failed
        return not failed

    def _open(self) -> Appender:
        day = int(time.time()) // 86400
        if day != self._day:
            self._day = day
            self._today = self.folder / f"{datetime.fromtimestamp(day * 86400, UTC):%Y-%m-%d}-{os.getpid()}.jsonl"
        path = self._today
        if self._file is not None and (self._file.path != path or _inode(path) != self._inode):
            self._drop()  # a new day, or someone removed or moved the file: rows must not follow it
        if self._file is None:
            self._file = Appender(path)
            self._inode = _inode(path)
        self._unsynced.add(path)
        return self._file

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def keep_synced(self, also: Callable[[], None] = lambda: None) -> None:
        """Bring what was written to the disk once a second, off the event loop, and do what else is due (`also`)."""
        while True:
            await asyncio.sleep(SYNC)
            await asyncio.to_thread(self.sync)
            await asyncio.to_thread(also)

    def sync(self) -> None:
        """fsync through a handle of its own, so that it never races with the writer."""
        for path in list(self._unsynced):
            self._unsynced.discard(path)
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # someone put the file away; the next row makes a new one
                continue
            except OSError as error:  # too many open files, say: the next second tries again
                self._unsynced.add(path)
                self.why = f"Can't sync {path}: {error.strerror}."
                continue
            try:
                os.fsync(handle)
            except OSError as error:
                self.why = f"Can't write {path}: {error.strerror}."
            finally:
                os.close(handle)

    def close(self) -> None:
        self._drop()
        self.sync()


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


# what earlier runs wrote


class _Student(msgspec.Struct):
    sha256: str = ""


class _Own(msgspec.Struct):
    task: str = ""
    answered_by: str = ""
    why: str = ""
    student: _Student | None = None
    pairs: float = 0.0
    probability: float = 0.0
    agrees: bool | None = None
    against: str = ""
    id: str = ""


class PastRow(msgspec.Struct):
    """The few fields of a ledger row that the monitor counts. `at` and `written` are epoch seconds."""

    timestamp: str
    seconds: float = 0.0
    freehold: _Own = msgspec.field(default_factory=_Own)
    at: float = 0.0
    written: float = 0.0


DECODER = msgspec.json.Decoder(PastRow)


def past(project: Project, since: float, tell: Tell = quiet) -> Iterator[PastRow]:
    """Rows of all ledger files since `since` (epoch seconds), in the order in which they were written.

    A row torn by a crash is left out; lines that can't be read are left out and counted, which `tell` is told.
    """
    day = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d}"
    paths = [path for path in sorted((project.path / "ledger").glob("*.jsonl")) if path.name >= day]
    bad: list[str] = []
    for _, files in groupby(paths, key=lambda path: path.name[: len(day)]):
        # a file is in order, and a day's files are of different processes: their names say nothing of their order
        rows = heapq.merge(*(_rows(path, bad) for path in files), key=lambda row: row.written)
        yield from (row for row in rows if row.at >= since)
    if bad:
        tell(f"{len(bad)} lines of the ledger can't be read and don't count; the first is {bad[0]}")


def _rows(path: Path, bad: list[str]) -> Iterator[PastRow]:
    """The rows of one file in which a student was asked; `bad` gets the place of each line that can't be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        bad.append(f"{path} ({error.strerror})")
        return
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") or (b'"student":{' not in line and line.startswith(b"{")):
                continue
            try:
                row = DECODER.decode(line)
                row.at = wire.timestamp(row.timestamp) or 0.0
            except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
                bad.append(f"{path}:{number}")
                continue
            row.written = row.at + row.seconds
            yield row
