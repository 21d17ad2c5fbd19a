"""rungs.jsonl: read with suspicion, and written in the end.

read      a line that can't be read may have been a closing: its task stays closed, or every task where even that
          is not known
append    a row that can't be written is kept, and tried again each second and at the stop (`retry`)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freehold import wire
from freehold.errors import StorageFailed
from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["NAME", "Events", "RungLog"]

NAME = "rungs.jsonl"


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

    def read(self) -> Events:
        path = self._project.path / NAME
        events = Events()
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return events
        except OSError as error:
            events.damaged[""] = f"{path} can't be read ({error.strerror})"
            self._tell(f"{events.damaged['']}: every rung stays closed")
            return events
        whole = data.rpartition(b"\n")[0]  # a row torn by a crash was never in force
        for number, line in enumerate(whole.split(b"\n"), 1):
            if line:
                self._row(line, f"line {number} of {path} can't be read", events)
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
                self._project.append(*self.pending[0])
            except StorageFailed as error:
                return error.message
            del self.pending[0]
        return ""

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
