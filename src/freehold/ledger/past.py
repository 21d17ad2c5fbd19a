"""What earlier runs wrote, as the monitor counts it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path

import msgspec

from freehold import wire
from freehold.ledger.names import rows_files, writer_of
from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["PastRow", "past"]


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
    paths = [path for path in rows_files(project.path / "ledger") if path.name >= day]
    bad: list[str] = []
    for _, files in groupby(paths, key=lambda path: path.name[: len(day)]):
        # a process's files are in order, whatever its clock did; only the time says how processes stand to each other
        rows = heapq.merge(*(_rows(own, bad) for own in _by_writer(files)), key=lambda row: row.written)
        yield from (row for row in rows if row.at >= since)
    if bad:
        tell(f"{len(bad)} lines of the ledger can't be read and don't count; the first is {bad[0]}")


def _by_writer(paths: Iterable[Path]) -> list[list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(writer_of(path), []).append(path)
    return list(found.values())


def _rows(paths: Iterable[Path], bad: list[str]) -> Iterator[PastRow]:
    return chain.from_iterable(_of(path, bad) for path in paths)


def _of(path: Path, bad: list[str]) -> Iterator[PastRow]:
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
