"""What has been read of a log so far: counted, named, and addable, so that parts can be read side by side.

part 0 ─Reading┐
part 1 ─Reading┴─merge→ Reading ─check→ LogFile          calls are handed on as they come, never kept here
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import msgspec

from freehold import wire
from freehold.errors import LogEmpty, LogMostlyBad, LogUnreadable
from freehold.nouns import BadRow, Call, LogFile
from freehold.traffic.files import LONGEST, Part, Record
from freehold.traffic.formats import Format

__all__ = ["Reading"]

KEEP = 100
MODULUS = 1 << 256


class Reading(msgspec.Struct):
    """Counts over records. Everything in it is the same whichever way a log is cut into parts."""

    until: float | None = None
    bad: list[BadRow] = []
    reasons: dict[str, int] = {}
    example: dict[str, tuple[int, str]] = {}
    no_rows: int = 0
    digest: bytes = bytes(32)
    timed: tuple[float, bytes] | None = None
    untimed_first: tuple[int, int, bytes] | None = None
    records: int = 0
    rows: int = 0
    size: int = 0
    later: int = 0
    untimed: int = 0
    calls: int = 0
    skipped: int = 0
    formats: dict[str, int] = {}

    def take(self, record: Record, part: Part, order: int, format: Format) -> Iterator[Call]:
        """Count a record and hand on its calls. `order` is the part's place in the log."""
        number = part.line + record.number
        self.records += 1
        self.size += len(record.data) + record.more
        text = record.data.strip()
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if record.torn:
            self.rows += 1
            self.spoil(number, part.path, record.torn, True)
            return
        if not text:
            return
        self.rows += 1
        digest = hashlib.sha256(text).digest()
        self.digest = _added(self.digest, digest)
        if len(record.data) >= LONGEST:
            self.spoil(number, part.path, f"the line is longer than {LONGEST >> 20} MiB", True)
            return
        try:
            calls = [wire.call_from_row(row, number) for row in format.rows(wire.loads(text))]
        except wire.RowError as error:
            self.spoil(number, part.path, str(error), isinstance(error, wire.ShapeError))
            return
        if not calls:
            self.skipped += 1
            return
        self.formats[format.NAME] = self.formats.get(format.NAME, 0) + 1
        times = [call.at for call in calls if call.at is not None]
        if times and (self.timed is None or (min(times), digest) < self.timed):
            self.timed = min(times), digest
        if not times and (self.untimed_first is None or (order, number) < self.untimed_first[:2]):
            self.untimed_first = order, number, digest
        for call in calls:
            if self._keeps(call):
                self.calls += 1
                yield call

    def _keeps(self, call: Call) -> bool:
        if self.until is None or (call.at is not None and call.at < self.until):
            return True
        if call.at is None:
            self.untimed += 1
        else:
            self.later += 1
        return False

    def spoil(self, number: int, file: str, reason: str, no_row: bool) -> None:
        kind = re.sub(r"'[^']*'|\d+", "…", reason)
        self.reasons[kind] = self.reasons.get(kind, 0) + 1
        self.example.setdefault(kind, (number, f"{file}:{number}: {reason}"))
        self.no_rows += no_row
        if len(self.bad) < KEEP:
            self.bad.append(BadRow(number, reason, file))

    @property
    def bad_rows(self) -> int:
        return sum(self.reasons.values())

    @property
    def identity(self) -> str:
        """The oldest row names the log: it stays as the log grows, whichever end it grows at. Without times, the
        first row does."""
        if self.timed is not None:
            return self.timed[1].hex()
        return self.untimed_first[2].hex() if self.untimed_first else ""

    def merge(self, later: Reading) -> None:
        """Add what was read of a later part."""
        self.bad = [*self.bad, *later.bad][:KEEP]
        for counts, more in ((self.reasons, later.reasons), (self.formats, later.formats)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
        for name, example in later.example.items():
            self.example.setdefault(name, example)
        self.digest = _added(self.digest, later.digest)
        self.timed = min((t for t in (self.timed, later.timed) if t is not None), default=None)
        firsts = [t for t in (self.untimed_first, later.untimed_first) if t is not None]
        self.untimed_first = min(firsts, default=None)
        for name in ("no_rows", "records", "rows", "size", "later", "untimed", "calls", "skipped"):
            setattr(self, name, getattr(self, name) + getattr(later, name))

    def log(self, paths: Sequence[str]) -> LogFile:
        return LogFile(
            paths=tuple(paths),
            sha256=self.digest.hex(),
            identity=self.identity,
            rows=self.rows,
            bytes=self.size,
            until=self.until,
            formats=dict(sorted(self.formats.items())),
            skipped=self.skipped,
        )

    def check(self, names: str, document: str = "", known: str = wire.EXPECTED) -> None:
        """Raises LogEmpty, LogUnreadable or LogMostlyBad where this is no log. `document` says so where a file is one
        JSON document."""
        bad = self.bad_rows
        if not self.rows:
            raise LogEmpty(f"{names} holds no rows.", f"Give {known}.")
        if 2 * bad > self.rows:
            kind = max(self.reasons, key=lambda k: self.reasons[k])
            where = self.example[kind][1]
            if self.no_rows == self.rows:
                raise LogUnreadable(f"{names} can't be read as a log: {document or where}.", f"Known: {known}.")
            said = f"{bad:,} of {self.rows:,} rows are bad, {self.reasons[kind]:,} of them like {where}"
            raise LogMostlyBad(f"{said}.", "Mend the export; at least half of the rows must be readable.")
        if not self.calls:
            if not self.later and not self.untimed:
                raise LogEmpty(f"{names} holds {self.rows:,} records and no call.", f"Give {known}.")
            left = f"{self.later:,} come later and {self.untimed:,} say no time"
            raise LogEmpty(f"No call is left before the given time: {left}.", "Give a later --until.")


def _added(one: bytes, other: bytes) -> bytes:
    return ((int.from_bytes(one) + int.from_bytes(other)) % MODULUS).to_bytes(32)
