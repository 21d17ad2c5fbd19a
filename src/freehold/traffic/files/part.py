"""The words of this room: a part of a log, and a record in it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

__all__ = ["BOM", "LONGEST", "PIECE", "Part", "Record"]

LONGEST = 64 << 20  # bytes in a row; a longer one is no call, and would only fill the memory
PIECE = 64 << 20  # bytes of a plain file in one part
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a log, small enough to hand to a worker. `start` and `end` (None: to the end of the file) are bytes,
    or row groups of a Parquet file; `size` is what it weighs on disk. `packing` is plain, gzip, zstd or parquet,
    `shape` lines, csv, parquet or document. `format` names the format of its records; `line` counts the file's records
    before this part."""

    path: str
    start: int = 0
    end: int | None = None
    size: int = 0
    packing: str = "plain"
    format: str = ""
    line: int = 0
    shape: str = "lines"


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record and its number in the part, counted from 1: the line of a text file, else the row. `at` is how many
    bytes of the part are passed. `torn` says why it can't be read whatever its JSON says: the file is cut off here (and
    `data` empty), or the line too long. `more` is what was passed over of an endless line."""

    number: int
    data: bytes
    at: int
    torn: str = ""
    more: int = 0
