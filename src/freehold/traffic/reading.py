"""What has been read of a log so far: counted, named, and addable, so that parts can be read side by side.

part 0 ─Reading┐
part 1 ─Reading┴─merge→ Reading ─check→ LogFile          calls are handed on as they come, never kept here
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from freehold import wire
from freehold.errors import LogEmpty, LogMostlyBad, LogUnreadable
from freehold.nouns import BadRow, Call, LogFile
from freehold.traffic.files import KNOWN, Part, Record, shown
from freehold.traffic.formats import FORMATS, Format, rows_of
from freehold.traffic.log import Traffic
from freehold.traffic.pairing import Inputs

__all__ = ["Reading"]

KEEP = 100
MODULUS = 1 << 256
OFF = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
COUNTS = ("no_rows", "records", "rows", "size", "later", "untimed", "calls", "skipped")


class Reading(msgspec.Struct):
    """Counts over records. Everything in it is the same whichever way a log is cut into parts."""

    until: float | None = None
    bad: list[BadRow] = []
    reasons: dict[str, int] = {}
    example: dict[str, str] = {}
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

    def take(self, record: Record, part: Part, order: int, format: Format, inputs: Inputs | None = None) -> list[Call]:
        """Count a record and hand on its calls. `order` is the part's place in the log; `inputs` has what the outputs
        of batches answer."""
        self.records += 1
        self.size += len(record.data) + record.more
        text = record.data.strip()
        if not text and not record.torn:
            return []
        number = part.line + record.number
        self.rows += 1
        digest = sha256(text).digest() if text else b""
        self.digest = _added(self.digest, digest)
        if record.torn:
            self._spoil(number, part.path, record.torn, True)
            return []
        try:
            row = wire.loads(text)
            found, name = _found(row if inputs is None else inputs.joined(row), number, format)
        except wire.RowError as error:
            self._spoil(number, part.path, str(error), isinstance(error, wire.ShapeError))
            return []
        held = 0  # rows of this record that can be read or can't; other spans of a batch beside them are none
        calls: list[Call] = []
        for place, one in enumerate(found, 1):
            if isinstance(one, wire.RowError):
                where = f", span {place} of {len(found)}" if found[1:] else ""
                self._spoil(number, part.path, str(one), isinstance(one, wire.ShapeError), where)
                held += 1
            elif one:
                calls += one
                held += 1
                self.formats[name] = self.formats.get(name, 0) + 1
        if not held:
            self.skipped += 1
            return []
        self.rows += held - 1
        if not calls:
            return []
        self._date(calls, digest, (order, number))
        kept = calls if self.until is None else [call for call in calls if self._keeps(call, self.until)]
        self.calls += len(kept)
        return kept

    def _date(self, calls: list[Call], digest: bytes, place: tuple[int, int]) -> None:
        """Is this record the log's oldest so far, or its first one without a time?"""
        oldest = min((call.at for call in calls if call.at is not None), default=None) if calls[1:] else calls[0].at
        if oldest is not None:
            if self.timed is None or (oldest, digest) < self.timed:
                self.timed = oldest, digest
        elif self.untimed_first is None or place < self.untimed_first[:2]:
            self.untimed_first = *place, digest

    def _keeps(self, call: Call, until: float) -> bool:
        if call.at is None:
            self.untimed += 1
            return False
        self.later += call.at >= until
        return call.at < until

    def _spoil(self, number: int, path: str, reason: str, no_row: bool, where: str = "") -> None:
        """Count a bad row; `where` it stands in its record makes no other kind of reason."""
        kind = re.sub(r"'[^']*'|\d+", "…", reason)
        self.reasons[kind] = self.reasons.get(kind, 0) + 1
        self.no_rows += no_row
        if kind not in self.example:
            self.example[kind] = f"{shown(path)}:{number}: {reason}{where}"
        if len(self.bad) < KEEP:
            self.bad.append(BadRow(number, reason + where, shown(path)))

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
        """Add what was read of a later part: the first bad rows and examples are those of the earlier place."""
        self.bad = [*self.bad, *later.bad][:KEEP]
        for counts, more in ((self.reasons, later.reasons), (self.formats, later.formats)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
        self.example = later.example | self.example
        self.digest = _added(self.digest, later.digest)
        self.timed = min((t for t in (self.timed, later.timed) if t is not None), default=None)
        firsts = [t for t in (self.untimed_first, later.untimed_first) if t is not None]
        self.untimed_first = min(firsts, default=None)
        for name in COUNTS:
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

    def traffic(self, paths: Sequence[str], calls: Sequence[Call] = ()) -> Traffic:
        """What was read, with the calls that were kept of it."""
        return Traffic(self.log(paths), tuple(calls), tuple(self.bad), self.bad_rows, self.later, self.untimed)

    def check(self, names: str, known: str = f"{wire.EXPECTED}; in {KNOWN}", read_as: str = "") -> None:
        """Raises LogEmpty, LogUnreadable or LogMostlyBad where this is no log. `known` says what would be one,
        `read_as` which format this was taken for."""
        bad = self.bad_rows
        if not self.rows:
            raise LogEmpty(f"{names} holds no rows.", f"Give {known}.")
        if 2 * bad > self.rows:
            kind = max(self.reasons, key=lambda k: self.reasons[k])
            where = self.example[kind]
            if self.no_rows == self.rows:
                raise LogUnreadable(f"{names} can't be read as a log: {where}.", f"Known: {known}.")
            said = f"{bad:,} of {self.rows:,} rows are bad, {self.reasons[kind]:,} of them like {where}"
            taken = f" They were read as {read_as}." if read_as else ""
            raise LogMostlyBad(f"{said}.", f"Mend the export; at least half of the rows must be readable.{taken}")
        if not self.calls:
            if not self.later and not self.untimed:
                raise LogEmpty(f"{names} holds {self.rows:,} records and no call.", f"Give {known}.")
            left = f"{self.later:,} come later and {self.untimed:,} say no time"
            raise LogEmpty(f"No call is left before the given time: {left}.", "Give a later --until.")


Found = list[list[Call] | wire.RowError]  # of each row in a record: its calls, or why it can't be read


def _found(value: Any, number: int, format: Format) -> tuple[Found, str]:
    """What a record holds, and the format that read it: the file's, or another that fits where the file's does not."""
    found = _read(value, number, format)
    for one in found:
        if one and isinstance(one, list):
            return found, format.NAME
    if not format.fits(value):
        for other in FORMATS:
            if other is not format and other.fits(value):
                read = _read(value, number, other)
                if any(isinstance(one, list) for one in read):
                    return read, other.NAME
    return found, format.NAME


def _read(value: Any, number: int, format: Format) -> Found:
    return [_row(row, number, format) for row in rows_of(value, format)]


def _row(value: Any, number: int, format: Format) -> list[Call] | wire.RowError:
    try:
        return [wire.call_from_row(row, number) for row in format.rows(value)]
    except wire.RowError as error:
        return error
    except OFF as error:  # a row like none that its format describes
        return wire.RowError(f"not of the shape of {format.NAME} rows ({type(error).__name__})")


def _added(one: bytes, other: bytes) -> bytes:
    return ((int.from_bytes(one) + int.from_bytes(other)) % MODULUS).to_bytes(32)
