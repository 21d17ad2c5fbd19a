"""Where a log lies: names to files, files to parts, a part to its records.

    logs/2026-10.jsonl.gz  ──────────────→ one part: packed files are read from the start
    logs/2026-11.jsonl (1.5 GB) ─┬─ [0, 64 MiB)     a row belongs to the part in which it begins
                                 └─ [64, 128 MiB)   so parts can be read side by side, on one machine or many

A record is one line, or one row of a table, as JSON bytes. Nothing is held but the record at hand.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import pairwise
from pathlib import Path

from freehold import wire
from freehold.errors import LogMissing, LogUnreadable

__all__ = ["LONGEST", "Part", "Record", "parts_of", "records"]

LONGEST = 64 << 20  # bytes in a row; a longer one is no call, and would only fill the memory
PIECE = 64 << 20  # bytes of a plain file in one part
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


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a log, small enough to hand to a worker. `end` is None for the rest of the file; `size` is what it
    weighs on disk; `format` names the format of its records; `line` counts the file's records before this part."""

    path: str
    start: int = 0
    end: int | None = None
    size: int = 0
    packing: str = "plain"
    format: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A record and its number in the part, counted from 1; `at` is how many bytes of the part are passed. `torn` says
    why the file ends here, and is then a bad row without data. `more` is what was passed over of an endless line."""

    number: int
    data: bytes
    at: int
    torn: str = ""
    more: int = 0


def parts_of(paths: Sequence[Path | str], *, piece: int = PIECE) -> list[Part]:
    """The parts of a log, in order of path, name and place. Raises LogMissing or LogUnreadable."""
    found: list[Part] = []
    for path in _files([Path(path) for path in paths]):
        whole = Part(str(path), size=path.stat().st_size, packing=_packing(path))
        if whole.packing != "plain" or whole.size <= piece:
            found.append(whole)
            continue
        cuts = [*range(0, whole.size, piece), whole.size]
        found += [replace(whole, start=a, end=b, size=b - a) for a, b in pairwise(cuts)]
    return found


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


def _open(path: str | Path) -> BufferedReader:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise LogUnreadable(f"Can't read {path}: {error.strerror}.", "Check its permissions.") from None


def _packing(path: Path) -> str:
    with closing(_open(path)) as raw:
        head = raw.read(16)
    for magic, name in OTHER_FORMATS.items():
        if head.startswith(magic):
            raise LogUnreadable(f"{path} is {name}, which isn't read here.", f"Known: {wire.EXPECTED}, or .gz.")
    return "gzip" if head.startswith(b"\x1f\x8b") else "plain"


def records(part: Part) -> Iterator[Record]:
    """The records that begin in a part. A torn gzip ends with a record that says so."""
    with closing(_open(part.path)) as raw:
        packed = part.packing == "gzip"
        file: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=raw) if packed else raw
        number = 0
        try:
            if part.start:
                raw.seek(part.start - 1)
                _skip_line(file)  # it began in the part before, unless the byte before this part ends a line
            while part.end is None or raw.tell() < part.end:
                line = file.readline(LONGEST)
                if not line:
                    break
                number += 1
                endless = len(line) == LONGEST and not line.endswith(b"\n")
                more = _skip_line(file) if endless else 0
                yield Record(number, line, raw.tell() - part.start, more=more)
        except (EOFError, OSError, zlib.error) as error:
            if not packed:
                raise LogUnreadable(f"Can't read {part.path}: {error}.", "Check the disk it is on.") from None
            torn = f"the gzip file is cut off or damaged here: {error}"
            yield Record(number + 1, b"", raw.tell(), torn=torn)


def _skip_line(file: gzip.GzipFile | BufferedReader) -> int:
    """Pass over the rest of a line; how many bytes that was."""
    passed = 0
    while line := file.readline(LONGEST):
        passed += len(line)
        if line.endswith(b"\n"):
            break
    return passed
