"""rungs.jsonl: read with suspicion, and written in the end.

read      a line that can't be read may have been a closing: its task stays closed, or every task where even that
          is not known
news      what came since, from other processes on the same folder too: asked each second
append    a row that can't be written is kept, and tried again each second and at the stop (`retry`)
          one process at a time: a lock beside the file
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from freehold import wire
from freehold.errors import StorageFailed
from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["NAME", "Events", "RungLog"]

NAME = "rungs.jsonl"
LOCK = "rungs.lock"


@dataclass(slots=True)
class Events:
    """`rows` in order; `damaged` says what is wrong, by task, "" standing for every task."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    def of(self, task: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["task"] == task]

    def damage(self, task: str) -> str:
        """Why this task can't be opened, or ""."""
        return self.damaged.get(task) or self.damaged.get("", "")


class RungLog:
    """The events of one project's rungs. `append` never raises; `pending` are the rows that wait to be written."""

    def __init__(self, project: Project, tell: Tell = quiet) -> None:
        self.pending: list[tuple[str, dict[str, Any]]] = []
        self._project = project
        self._tell = tell
        self._lock = threading.Lock()  # `retry` runs beside the event loop
        self._path = project.path / NAME
        self._told = 0  # bytes that `read` and `news` have told

    def read(self) -> Events:
        """All events there are."""
        events = Events()
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            self._told = 0
            return events
        except OSError as error:
            events.damaged[""] = f"{self._path} can't be read ({error.strerror})"
            self._tell(f"{events.damaged['']}: every rung stays closed")
            return events
        whole = data[: data.rfind(b"\n") + 1]  # a row torn by a crash was never in force
        self._told = len(whole)
        self._lines(whole, 0, events)
        return events

    def news(self) -> Events:
        """What was appended since `read` or the last `news`, by whichever process. A file that got shorter was mended,
        and is told again from its start. One that can't be read now is tried again the next time."""
        events = Events()
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size == self._told:
                    return events
                self._told = self._told if size > self._told else 0
                before = file.read(self._told)
                data = file.read()
        except OSError:
            return events
        whole = data[: data.rfind(b"\n") + 1]
        self._told = len(before) + len(whole)
        self._lines(whole, before.count(b"\n"), events)
        return events

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Write the row now, or as soon as that is possible."""
        with self._lock:
            self.pending.append((name, row))
            why = self._write()
        if why:
            self._tell(f"{why} It is tried again each second.")

    def retry(self) -> None:
        """Try again to write what is pending."""
        with self._lock:
            self._write()

    def _write(self) -> str:
        while self.pending:
            try:
                with _alone(self._project.path / LOCK):
                    self._project.append(*self.pending[0])
            except StorageFailed as error:
                return error.message
            del self.pending[0]
        return ""

    def _lines(self, data: bytes, before: int, events: Events) -> None:
        for number, line in enumerate(data.split(b"\n"), before + 1):
            if line:
                self._row(line, f"line {number} of {self._path} can't be read", events)

    def _row(self, line: bytes, why: str, events: Events) -> None:
        row: Any = None
        try:
            row = msgspec.json.decode(line)
            known = isinstance(row["event"], str) and wire.timestamp(row["at"]) is not None
            if known and isinstance(row["task"], str) and isinstance(row.get("why", ""), str):
                events.rows.append(row)
                return
        except (msgspec.DecodeError, ValueError, TypeError, KeyError, RecursionError):
            pass  # said below, with the line
        task = row.get("task") if isinstance(row, dict) else None
        task = task if isinstance(task, str) else ""
        events.damaged[task] = why
        self._tell(f"{why}: {task or 'every rung'} stays closed until that line is mended or removed")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time, where the file system has locks. Mending a torn row must not meet a row in the making."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a full disk, say: then the append says so itself
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
