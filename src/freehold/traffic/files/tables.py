"""CSV: each row as a JSON object of texts, named by the header; a quoted field may hold line ends.

    id,input,output
    1,"two                       ─→  {"id": "1", "input": "two\\nlines", "output": "yes"}   line 2 of the file
    lines",yes

A table is not cut into parts: whether a line end stands inside quotes is known only from the start.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import msgspec

from freehold.errors import LogUnreadable
from freehold.traffic.files.lines import endless, skip_line, torn, unpacked
from freehold.traffic.files.part import LONGEST, Part, Record
from freehold.traffic.files.store import open_raw, shown
from freehold.traffic.files.unpack import Unpacked

__all__ = ["read"]

SIGNS = ",;\t|"


def read(part: Part) -> Iterator[Record]:
    """The rows of a table, numbered by the line in which each begins."""
    csv.field_size_limit(LONGEST)  # of the whole process; what is larger is an error of its row
    with closing(open_raw(part.path)) as raw:
        file = unpacked(part, raw)
        lines = _Lines(file)
        try:
            yield from _rows(part, lines)
        except OSError as error:
            if part.packing == "plain":
                said = error.strerror or error
                raise LogUnreadable(f"Can't read {shown(part.path)}: {said}.", "Check the disk it is on.") from None
            yield Record(lines.count + 1, b"", lines.passed, torn(part, error))


def _rows(part: Part, lines: _Lines) -> Iterator[Record]:
    first = next(lines, "").removeprefix("\ufeff")
    sign = max(SIGNS, key=first.count)
    lines.again(first)
    rows = csv.reader(lines, delimiter=sign)
    header: list[str] = []
    while True:
        number = lines.count + 1
        try:
            cells = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            yield Record(number, b"", lines.passed, f"not CSV: {error}")
            continue
        if not header:
            header = cells
        elif cells:
            yield _record(number, header, cells, lines)
    if part.end is not None and lines.passed < part.end:
        yield Record(lines.count + 1, b"", lines.passed, "the file was cut off here while it was read")


def _record(number: int, header: list[str], cells: list[str], lines: _Lines) -> Record:
    wrong = endless() if lines.more else ""
    if len(cells) > len(header):
        wrong = f"the row has {len(cells)} fields, and the header {len(header)}"
    try:
        data = msgspec.json.encode(dict(zip(header, cells, strict=False)))
    except UnicodeEncodeError:
        data, wrong = b"", "the row is not UTF-8"
    more, lines.more = lines.more, 0
    return Record(number, data, lines.passed, wrong, more)


class _Lines:
    """A file's lines as text for the csv module; counts lines and bytes, and cuts what is endless."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.count, self.more, self.read = file, 0, 0, 0
        self._again: str | None = None

    @property
    def passed(self) -> int:
        raw = getattr(self.file, "raw", None)
        return raw.fed if isinstance(raw, Unpacked) else self.read

    def again(self, line: str) -> None:
        """Give this line first."""
        self._again, self.count = line, 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._again:
            line, self._again, self.count = self._again, None, 1
            return line
        data = self.file.readline(LONGEST)
        if not data:
            raise StopIteration
        self.count += 1
        self.read += len(data)
        if len(data) >= LONGEST and not data.endswith(b"\n"):
            self.more = skip_line(self.file)
            self.read += self.more
            data += b"\n"
        return data.decode("utf-8", "surrogateescape")
