"""Rows to calls: JSONL files, gzip, folders of them.

    logs/2026-10.jsonl.gz  ─┐ line by line: one row in memory as text at a time, long shared strings kept once
    logs/2026-11.jsonl     ─┴→ Traffic(calls, bad rows with file, line and reason)

A bad row never stops a run; it is counted, and the first hundred are kept with their reasons. A file that is not
rows at all does stop it, and the error names what was seen and what is known.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from freehold import wire
from freehold.errors import LogEmpty, LogMissing, LogMostlyBad, LogUnreadable
from freehold.nouns import BadRow, Call, LogFile
from freehold.tell import Tell, quiet
from freehold.traffic.log import Traffic

__all__ = ["read"]

KEEP = 100
LONGEST = 64 << 20  # bytes in a row; a longer one is no call, and would only fill the memory
OTHER_FORMATS = {
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "a SQLite database",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass
class _Reading:
    """What has been read so far."""

    until: float | None
    calls: list[Call] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    no_rows: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)
    oldest: tuple[float, bytes] | None = None
    rows: int = 0
    size: int = 0
    later: int = 0
    untimed: int = 0
    shared: dict[str, str] = field(default_factory=dict)

    def take(self, line: bytes, number: int, file: str) -> None:
        self.sha256.update(line)
        self.size += len(line)
        text = line.strip().removeprefix(b"\xef\xbb\xbf") if number == 1 else line.strip()
        if not text:
            return
        self.rows += 1
        try:
            row = wire.loads(text)
            _share(row, self.shared)
            call = wire.call_from_row(row, number)
        except wire.RowError as error:
            self.spoil(number, file, str(error), isinstance(error, wire.ShapeError))
            return
        at = math.inf if call.at is None else call.at
        if self.oldest is None or at < self.oldest[0] or (at < math.inf and (at, text) < self.oldest):
            self.oldest = at, text
        self.keep(call)

    @property
    def identity(self) -> str:
        """The oldest row names the log: it stays as the log grows, whichever end it grows at. Without times, the
        first row does."""
        return hashlib.sha256(self.oldest[1]).hexdigest() if self.oldest else ""

    def keep(self, call: Call) -> None:
        if self.until is None or (call.at is not None and call.at < self.until):
            self.calls.append(call)
        elif call.at is None:
            self.untimed += 1
        else:
            self.later += 1

    def spoil(self, number: int, file: str, reason: str, no_row: bool) -> None:
        kind = re.sub(r"'[^']*'|\d+", "…", reason)
        self.reasons[kind] += 1
        self.example.setdefault(kind, f"{file}:{number}: {reason}")
        self.no_rows += no_row
        if len(self.bad) < KEEP:
            self.bad.append(BadRow(number, reason, file))


def read(paths: Sequence[Path | str], *, until: float | None = None, tell: Tell = quiet) -> Traffic:
    """Read a log from files and folders (every *.jsonl* in them, in order of name).

    `until` (epoch seconds) keeps only calls before it; a call without a time is then left out and counted. Raises
    LogMissing, LogEmpty, LogUnreadable or LogMostlyBad, each naming the file or the most common reason.
    """
    files = _files([Path(path) for path in paths])
    reading = _Reading(until)
    total = sum(path.stat().st_size for path in files) or 1
    before = 0
    for path in files:
        for number, line, at in _lines(path, reading):
            reading.take(line, number, str(path))
            if number % 1000 == 0:
                tell("read the log", min(1.0, (before + at) / total))
        before += path.stat().st_size
    tell("read the log", 1.0)
    _check(reading, files)
    log = LogFile(
        paths=tuple(str(Path(path).absolute()) for path in paths),
        sha256=reading.sha256.hexdigest(),
        identity=reading.identity,
        rows=reading.rows,
        bytes=reading.size,
        until=until,
    )
    bad_rows = reading.reasons.total()
    return Traffic(log, tuple(reading.calls), tuple(reading.bad), bad_rows, reading.later, reading.untimed)


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        try:
            found += _inside(path) if path.is_dir() else [path] if path.exists() else []
        except OSError as error:
            raise LogUnreadable(f"Can't read {path}: {error.strerror}.", "Check its permissions.") from None
        if not path.exists():
            raise LogMissing(f"There is no file or folder {path}.", "Check the name; give a .jsonl file or a folder.")
    if not found:
        raise LogMissing("No log was given.", "Give a .jsonl file, a .jsonl.gz file or a folder of them.")
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> list[Path]:
    inside: list[Path] = []
    for where, _, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        inside += [Path(where, name) for name in names if ".jsonl" in name and not name.startswith(".")]
    if not inside:
        raise LogMissing(f"{folder} is a folder without a .jsonl file.", "Give the log file, or its folder.")
    twice = next((p for p in inside if p.suffix == ".gz" and p.with_suffix("") in inside), None)
    if twice is not None:
        raise LogUnreadable(
            f"{folder} holds {twice.name} beside {twice.with_suffix('').name}, so its calls would count twice.",
            "Move one of the two away.",
        )
    return sorted(inside)


def _unreadable(error: OSError) -> None:
    raise error


def _lines(path: Path, reading: _Reading) -> Iterator[tuple[int, bytes, int]]:
    """(line number from 1, line, bytes of the file passed); a torn gzip ends as a bad row with its reason."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise LogUnreadable(f"Can't read {path}: {error.strerror}.", "Check its permissions.") from None
    with closing(raw):
        head = raw.peek(16)
        for magic, name in OTHER_FORMATS.items():
            if head.startswith(magic):
                raise LogUnreadable(f"{path} is {name}, which isn't read here.", f"Known: {wire.EXPECTED}, or .gz.")
        packed = head.startswith(b"\x1f\x8b")
        file: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=raw) if packed else raw
        number = 0
        try:
            while line := file.readline(LONGEST):
                number += 1
                yield number, line, raw.tell()
                if len(line) == LONGEST and not line.endswith(b"\n"):
                    _skip_line(file, reading)
        except (EOFError, OSError, zlib.error) as error:
            if not packed:
                raise LogUnreadable(f"Can't read {path}: {error}.", "Check the disk it is on.") from None
            reading.rows += 1
            reading.spoil(number + 1, str(path), f"the gzip file is cut off or damaged here: {error}", True)


def _skip_line(file: gzip.GzipFile | BufferedReader, reading: _Reading) -> None:
    """Pass over the rest of an endless line."""
    while line := file.readline(LONGEST):
        reading.sha256.update(line)
        reading.size += len(line)
        if line.endswith(b"\n"):
            return


def _share(row: Any, shared: dict[str, str]) -> None:
    """Let rows that repeat a long message (a system prompt) hold one string between them."""
    request = row.get("request") if isinstance(row, dict) else None
    for holder in (request, row):
        messages = holder.get("messages") if isinstance(holder, dict) else None
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict) and message.get("role") != "user":
                content = message.get("content")
                if isinstance(content, str) and len(content) > 64:
                    message["content"] = shared.setdefault(content, content)


def _check(reading: _Reading, files: Sequence[Path]) -> None:
    bad = reading.reasons.total()
    if not reading.rows:
        raise LogEmpty(f"{_names(files)} holds no rows.", f"Give {wire.EXPECTED}.")
    if 2 * bad > reading.rows:
        kind, count = reading.reasons.most_common(1)[0]
        where = reading.example[kind]
        if reading.no_rows == reading.rows:
            seen = (files[0].is_file() and _document(files[0])) or where
            raise LogUnreadable(f"{_names(files)} can't be read as a log: {seen}.", f"Known: {wire.EXPECTED}.")
        said = f"{bad:,} of {reading.rows:,} rows are bad, {count:,} of them like {where}"
        raise LogMostlyBad(f"{said}.", "Mend the export; at least half of the rows must be readable.")
    if not reading.calls:
        left = f"{reading.later:,} come later and {reading.untimed:,} say no time"
        raise LogEmpty(f"No call is left before the given time: {left}.", "Give a later --until.")


def _names(files: Sequence[Path]) -> str:
    return str(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _document(path: Path) -> str:
    """Says so where a file is one JSON document instead of one a line; "" otherwise."""
    with path.open("rb") as raw:
        packed = raw.peek(2).startswith(b"\x1f\x8b")
        file: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            value = wire.loads(file.read(LONGEST))
        except (wire.RowError, EOFError, OSError, zlib.error):
            return ""
    if isinstance(value, list):
        return f"it is one JSON list of {len(value):,} values, not one row a line (jq -c '.[]' makes lines of it)"
    return f"it is one JSON document, {wire.shape_of(value)}, not one row a line"
