"""One JSON object a line: a line belongs to the part in which it begins, however the file is cut.

bytes 0 ............ 64 MiB ............ 128 MiB
{..}\\n{..}\\n{......│.....}\\n{..}\\n{...│..}\\n
└ part 0 ──────────────────┘└ part 1 ─────┘       the line that crosses a cut is the earlier part's
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from io import BufferedReader
from typing import BinaryIO

from freehold.errors import LogUnreadable
from freehold.traffic.files.part import BOM, LONGEST, Part, Record
from freehold.traffic.files.store import open_raw, shown
from freehold.traffic.files.unpack import Unpacked

__all__ = ["endless", "read", "skip_line", "torn", "unpacked"]

STEP = 1 << 20  # bytes passed over at a time


def read(part: Part) -> Iterator[Record]:
    """The lines that begin in a part. A file that is cut off, or was cut since, ends with a record that says so."""
    if part.packing != "plain":
        yield from _packed(part)
        return
    with closing(open_raw(part.path)) as raw:
        try:
            yield from _plain(part, raw)
        except OSError as error:
            said = error.strerror or error
            raise LogUnreadable(f"Can't read {shown(part.path)}: {said}.", "Check the disk it is on.") from None


def _plain(part: Part, raw: BufferedReader) -> Iterator[Record]:
    at = number = 0
    length = None if part.end is None else part.end - part.start
    if part.start:
        raw.seek(part.start - 1)  # a line began in the part before, unless the byte before this part ends one
        at = skip_line(raw, None if length is None else length + 1) - 1
    readline = raw.readline
    while length is None or at < length:
        line = readline(LONGEST)
        if not line:
            if length is not None:
                yield Record(number + 1, b"", at, "the file was cut off here while it was read")
            return
        number += 1
        at += len(line)
        if number == 1 and not part.start:
            line = line.removeprefix(BOM)
        if len(line) < LONGEST or line.endswith(b"\n"):
            yield Record(number, line, at)
            continue
        more = skip_line(raw)
        at += more
        yield Record(number, line, at, endless(), more)


def _packed(part: Part) -> Iterator[Record]:
    with closing(open_raw(part.path)) as raw:
        source = Unpacked(raw, part.packing)
        file = BufferedReader(source, 1 << 18)
        number = 0
        try:
            while line := file.readline(LONGEST):
                number += 1
                if number == 1:
                    line = line.removeprefix(BOM)
                long = len(line) >= LONGEST and not line.endswith(b"\n")
                more = skip_line(file) if long else 0
                yield Record(number, line, source.fed, endless() if long else "", more)
        except OSError as error:
            yield Record(number + 1, b"", source.fed, torn(part, error))


def unpacked(part: Part, raw: BufferedReader) -> BinaryIO:
    """A file's plain bytes from its start."""
    return raw if part.packing == "plain" else BufferedReader(Unpacked(raw, part.packing), 1 << 18)


def torn(part: Part, error: Exception) -> str:
    return f"the {part.packing} file is cut off or damaged here: {error}"


def endless() -> str:
    return f"the line is longer than {LONGEST >> 20} MiB"


def skip_line(file: BinaryIO, most: int | None = None) -> int:
    """Pass over the rest of a line, or `most` bytes of it; how many bytes that was."""
    passed = 0
    while most is None or passed < most:
        line = file.readline(STEP if most is None else min(STEP, most - passed))
        passed += len(line)
        if not line or line.endswith(b"\n"):
            break
    return passed
