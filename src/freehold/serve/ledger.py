"""One row for every call, in a form that `freehold audit` reads as a log.

    {"timestamp": "2026-11-24T10:15:02.114+00:00", "seconds": 0.0041, "request": {...}, "response": {...},
     "freehold": {"id": "chatcmpl-…", "task": "intents", "answered_by": "student", "why": "home", "probability": 1.0,
                  "status": "complete", "http": 200,
                  "student": {"sha256": "9f…", "answer": "transfer", "score": 0.998, "threshold": 0.97},
                  "money": {"home": 1.1e-07, "saved": 0.000107}, "reason": ""}}

A row is handed to the operating system before the last byte of its answer goes out, so a killed server has lost no
answered call; the disk itself follows within a second. A ledger that can't be written says so (`why`) and is tried
again with the next call. The client's headers, its key among them, never reach this file. A home row also says which
share of such answers is asked upstream too ("pairs"); the row of such a pair says whether the two agree ("agrees").
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import StorageFailed
from freehold.nouns import Answer, Call
from freehold.project import Appender, Project

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

    def says(self, sha256: str, threshold: float, answer: Answer) -> None:
        """Keep what the student would have answered."""
        self.student = {"sha256": sha256, **asdict(answer), "threshold": threshold}
        self.student["answer"] = self.student.pop("text")

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
        path = self.folder / f"{datetime.now(UTC):%Y-%m-%d}-{os.getpid()}.jsonl"
        if self._file is not None and self._file.path != path:
            self._drop()
        if self._file is None:
            self._file = Appender(path)
        self._unsynced.add(path)
        return self._file

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def keep_synced(self) -> None:
        """Bring what was written to the disk once a second, off the event loop."""
        while True:
            await asyncio.sleep(SYNC)
            await asyncio.to_thread(self.sync)

    def sync(self) -> None:
        """fsync through a handle of its own, so that it never races with the writer."""
        for path in list(self._unsynced):
            self._unsynced.discard(path)
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # someone put the file away; the next row makes a new one
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


# what earlier runs wrote


class _Student(msgspec.Struct):
    sha256: str = ""


class _Own(msgspec.Struct):
    task: str = ""
    answered_by: str = ""
    why: str = ""
    student: _Student | None = None
    pairs: float = 0.0
    agrees: bool | None = None


class PastRow(msgspec.Struct):
    """The few fields of a ledger row that the monitor counts."""

    timestamp: str = ""
    freehold: _Own = msgspec.field(default_factory=_Own)

    @property
    def at(self) -> float:
        return datetime.fromisoformat(self.timestamp).timestamp()


def past(project: Project, since: float) -> Iterator[PastRow]:
    """Rows of all ledger files since `since` (epoch seconds), file by file; a row torn by a crash is left out."""
    decoder = msgspec.json.Decoder(PastRow)
    day = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d}"
    for path in sorted((project.path / "ledger").glob("*.jsonl")):
        if path.name < day:
            continue
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and b'"student":{' in line:
                    row = decoder.decode(line)
                    if row.at >= since:
                        yield row
