"""pairs/<UTC date>-<process>.jsonl: what each pair showed, in a row without content.

    {"at": "2026-11-24T10:15:02.114+00:00", "id": "chatcmpl-…", "task": "intents", "student": "9f…", "agrees": true,
     "probability": 1.0, "stage": "shadow", "against": "", "share": 0.0}

`home`: a home answer that was asked again, and the ledger has the upstream's answer in a row of its own; else a call
that went up anyway. The ledger's rows have the same `id`. `stage` and `share` are where the rung stood in that process:
only a stage at that very step counts the pair. `probability` is how likely such a call was to be compared. `against`
names a successor, whose answers say nothing about the promise. Each process writes a file of its own, as in the ledger;
the others read what is new each second, so that all of it counts in each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from freehold import wire
from freehold.errors import StorageFailed
from freehold.project import Appender, Project
from freehold.tell import Tell, quiet

__all__ = ["FOLDER", "PairLog", "PairRow"]

FOLDER = "pairs"


class PairRow(msgspec.Struct, omit_defaults=False):
    """One pair; `at` is a time with its zone."""

    at: str
    id: str
    task: str
    student: str
    agrees: bool
    probability: float
    stage: str
    home: bool = False
    against: str = ""
    share: float | None = None  # None in rows of before it was written down

    def __post_init__(self) -> None:
        if not 0.0 < self.probability <= 1.0 or wire.timestamp(self.at) is None:
            raise ValueError("no probability, or no time")

    @property
    def time(self) -> float:
        """Epoch seconds."""
        return wire.timestamp(self.at) or 0.0


DECODER = msgspec.json.Decoder(PairRow)


class PairLog:
    """The pairs of one project. `lost` counts rows that could not be written: they count in this process alone."""

    def __init__(self, project: Project, tell: Tell = quiet, process: int | None = None) -> None:
        self.folder = project.path / FOLDER
        self.lost = 0
        self._tell = tell
        self._own = f"-{os.getpid() if process is None else process}.jsonl"
        self._file: Appender | None = None
        self._read_to: dict[Path, int] = {}
        self._skip()

    def write(self, row: PairRow) -> None:
        path = self.folder / f"{datetime.now(UTC):%Y-%m-%d}{self._own}"
        try:
            if self._file is None or self._file.path != path:
                self.close()
                self.folder.mkdir(mode=0o700, exist_ok=True)
                self._file = Appender(path)
            self._file.append(row)
        except (StorageFailed, OSError) as error:
            self.lost += 1
            if self.lost == 1:
                self._tell(f"a pair can't be written down, and counts in this process alone: {_why(error)}")
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, since: float) -> list[PairRow]:
        """All rows since `since` (epoch seconds), in order of time; those of other processes as far as `news` came."""
        day, bad = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d}", 0
        rows: list[PairRow] = []
        for path in self._paths():
            if path.name >= day:
                data = _bytes(path, 0)
                bad += _rows(data if path.name.endswith(self._own) else data[: self._read_to.get(path, 0)], rows)
        if bad:
            self._tell(f"{bad} lines of {self.folder} can't be read and don't count")
        return sorted((row for row in rows if row.time >= since), key=lambda row: row.time)

    def news(self) -> list[PairRow]:
        """What other processes wrote since this was last asked, or since the start."""
        rows: list[PairRow] = []
        for path in self._paths():
            if path.name.endswith(self._own):
                continue
            at = self._read_to.get(path, 0)
            data = _bytes(path, at)
            self._read_to[path] = at + len(data)
            _rows(data, rows)
        return rows

    def _skip(self) -> None:
        for path in self._paths():
            self._read_to[path] = len(_bytes(path, 0))

    def _paths(self) -> Iterator[Path]:
        yield from sorted(self.folder.glob("*.jsonl"))


def _why(error: Exception) -> str:
    return error.message if isinstance(error, StorageFailed) else str(error)


def _bytes(path: Path, start: int) -> bytes:
    """Whole lines from `start` on; a file that is gone has none."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _rows(data: bytes, rows: list[PairRow]) -> int:
    """Append the rows of `data`; the number of lines that are none."""
    bad = 0
    for line in data.split(b"\n"):
        if line:
            try:
                rows.append(DECODER.decode(line))
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
                bad += 1
    return bad
