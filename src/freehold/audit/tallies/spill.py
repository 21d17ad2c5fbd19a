"""Rows of a fixed size, one a call: in memory while they are few, in files of a folder when they are many.

    add ─→ held ─200,000 rows→ a run: a file sorted by each row's first byte ─┐
    add ─→ held ──────────────────────────────────────────────────────────────┴─groups→ rows with equal first bytes

Rows with equal first bytes come back together and in the order in which they were added, some bytes at a time, so that
what is grouped by a hash is never in memory as a whole. A run is never written again, so copies of a tally share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.project.storage import write_atomic

__all__ = ["Rows", "Run"]

MOST = 200_000
Bytes = npt.NDArray[np.uint8]


class Run(msgspec.Struct):
    """A file of rows sorted by first byte; those with first byte b are the rows from starts[b] to starts[b + 1]."""

    path: str
    starts: list[int]


class Rows(msgspec.Struct):
    """`width` is the bytes of a row. Without a `folder` all rows stay in memory. Runs stand before what is held."""

    width: int
    folder: str = ""
    most: int = MOST
    count: int = 0
    waiting: int = 0
    runs: list[Run] = []
    held: list[bytes] = []

    def add(self, rows: npt.NDArray[Any]) -> None:
        assert rows.dtype.itemsize == self.width
        if len(rows):
            self.held.append(rows.tobytes())
            self.count += len(rows)
            self.waiting += len(rows)
        self._spill(self.most)

    def merge(self, later: Rows) -> None:
        if later.runs:
            self._spill(0)
        self.runs += later.runs
        self.held += later.held
        self.count += later.count
        self.waiting += later.waiting
        self._spill(self.most)

    def _spill(self, most: int) -> None:
        if not self.folder or self.waiting <= most:
            return
        rows = self._waiting()
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        path = Path(self.folder) / f"rows-{uuid4().hex}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, rows.tobytes())
        self.runs.append(Run(str(path), np.searchsorted(rows[:, 0], np.arange(257)).tolist()))
        self.held, self.waiting = [], 0

    def _waiting(self) -> Bytes:
        return np.frombuffer(b"".join(self.held), np.uint8).reshape(-1, self.width)

    def groups(self, dtype: npt.DTypeLike, most: int = 4 * MOST) -> Iterator[npt.NDArray[Any]]:
        """All rows, those with equal first bytes together, about `most` at a time where first bytes are even."""
        step = max(1, min(256, 256 * most // max(1, self.count)))
        held = self._waiting()
        for low in range(0, 256, step):
            high = min(256, low + step)
            inside = held if step == 256 else held[(held[:, 0] >= low) & (held[:, 0] < high)]
            pieces = [self._read(run, run.starts[low], run.starts[high]) for run in self.runs]
            found = np.ascontiguousarray(np.concatenate([*pieces, inside]))
            if len(found):
                yield found.view(dtype)[:, 0]

    def _read(self, run: Run, start: int, end: int) -> Bytes:
        read = np.fromfile(run.path, np.uint8, (end - start) * self.width, offset=start * self.width)
        return read.reshape(-1, self.width)

    def close(self) -> None:
        """Remove the files."""
        for run in self.runs:
            Path(run.path).unlink(missing_ok=True)
