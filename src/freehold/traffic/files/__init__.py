"""Where a log lies: names to files, files to parts, a part to its records.

    logs/2026-10.jsonl.gz  ──────────────→ one part: packed files are read from the start
    logs/2026-11.jsonl (1.5 GB) ─┬─ [0, 64 MiB)     a row belongs to the part in which it begins
                                 └─ [64, 128 MiB)   so parts can be read side by side, on one machine or many
    logs/2026-12.parquet ────────┬─ row groups 0, 1
                                 └─ row groups 2, 3
    export.csv, export.json ─────────────→ one part

A record is one line, one row of a table or one value of a list, as JSON bytes. Nothing is held but the record at hand;
of a JSON document, its bytes.

    find.py   names to files          unpack.py    gzip, Zstandard       tables.py     CSV
    store.py  disks and stores        look.py      packing and shape     parquet.py    Parquet
    part.py   the words               lines.py     one object a line     document.py   a list of rows
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from freehold.traffic.files import document, lines, parquet, tables
from freehold.traffic.files.find import KNOWN, find
from freehold.traffic.files.look import packing_and_shape
from freehold.traffic.files.part import LONGEST, PIECE, Part, Record
from freehold.traffic.files.store import Found, is_url, local, shown

__all__ = ["KNOWN", "LONGEST", "PIECE", "Part", "Record", "full_name", "parts_of", "records", "shown"]

READ: dict[str, Callable[[Part], Iterator[Record]]] = {
    "lines": lines.read,
    "csv": tables.read,
    "parquet": parquet.read,
    "document": document.read,
}


def parts_of(paths: Sequence[Path | str], *, piece: int = PIECE) -> list[Part]:
    """The parts of a log: in order of path, name and place. Raises LogMissing, LogUnreadable or MissingExtra."""
    return [part for file in find(paths) for part in _cut(file, piece)]


def _cut(file: Found, piece: int) -> list[Part]:
    packing, shape = packing_and_shape(file.path)
    end = file.size if packing == "plain" and file.splits else None  # what is written from now on is not of this run
    whole = Part(file.path, end=end, size=file.size, packing=packing, shape=shape)
    if shape == "parquet":
        return parquet.cut(whole, piece)
    if end is None or shape != "lines" or whole.size <= piece:
        return [whole]
    cuts = [*range(0, whole.size, piece), whole.size]
    return [replace(whole, start=a, end=b, size=b - a) for a, b in pairwise(cuts)]


def records(part: Part) -> Iterator[Record]:
    """The records of a part. A torn file ends with a record that says so."""
    return READ[part.shape](part)


def full_name(path: Path | str) -> str:
    """A path as it is kept: absolute, a URL without its keys."""
    path = local(str(path))
    return shown(path) if is_url(path) else str(Path(path).absolute())
