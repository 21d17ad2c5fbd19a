"""A file's first bytes say how it is packed and what shape its records have; what isn't read is refused by name."""

from __future__ import annotations

from contextlib import closing
from io import BufferedReader
from typing import BinaryIO

import msgspec

from freehold import wire
from freehold.errors import LogUnreadable
from freehold.traffic.files.document import rows_in
from freehold.traffic.files.find import KNOWN
from freehold.traffic.files.lines import skip_line
from freehold.traffic.files.part import BOM, LONGEST
from freehold.traffic.files.store import open_raw, shown
from freehold.traffic.files.unpack import Unpacked, packing_of

__all__ = ["packing_and_shape"]

FOLLOWING = 50  # lines in which a JSON object of one line is looked for
OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "a SQLite database",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"{\0": "UTF-16",
    b"\0{": "UTF-16",
    b"[\0": "UTF-16",
}


def packing_and_shape(path: str) -> tuple[str, str]:
    """How a file is packed, and the shape of its records. Raises LogUnreadable where neither is known."""
    with closing(open_raw(path)) as raw:
        try:
            head = raw.peek(512)[:512]
            if head.startswith(b"PAR1"):
                return "parquet", "parquet"
            packing = packing_of(head)
            _refuse(path, head)
            if packing == "plain":
                return packing, _shape(path, raw)
            file = BufferedReader(Unpacked(raw, packing), 1 << 18)
            _refuse(path, file.peek(512)[:512])
            return packing, _shape(path, file)
        except IsADirectoryError:
            raise LogUnreadable(f"{shown(path)} is a folder now.", "Read a copy that nobody changes.") from None
        except OSError:  # cut off at once: its reading tells where and why
            return packing_of(head), "csv" if _named_csv(path) else "lines"


def _refuse(path: str, head: bytes) -> None:
    names = [name for magic, name in OTHERS.items() if head.startswith(magic)]
    names += ["a tar archive"] if head[257:262] == b"ustar" else []
    if names:
        known = f"Known: {wire.EXPECTED}; in UTF-8, {KNOWN}."
        raise LogUnreadable(f"{shown(path)} is {names[0]}, which isn't read here.", known)


def _named_csv(path: str) -> bool:
    name = shown(path).lower().removesuffix(".gz").removesuffix(".zst")
    return name.endswith((".csv", ".tsv"))


def _shape(path: str, file: BinaryIO) -> str:
    first = _next_line(file).removeprefix(BOM).lstrip()
    if first[:1] not in (b"{", b"["):
        return "csv" if _named_csv(path) else "lines"
    long = len(first) >= LONGEST - len(BOM) and not first.endswith(b"\n")
    if long:
        skip_line(file)
        return "lines" if _next_line(file) else "document"
    if not _whole(first):
        if first[:1] == b"[":
            return "document"
        following = [line for _ in range(FOLLOWING) if (line := _next_line(file))]
        rows = not following or any(line.lstrip()[:1] == b"{" and _whole(line) for line in following)
        return "lines" if rows else "document"  # of rows, the first may be damaged
    if _next_line(file):
        return "lines"
    one = first[:1] == b"{" and [type(row) for row in rows_in(first)] == [bytes]
    return "lines" if one else "document"


def _next_line(file: BinaryIO) -> bytes:
    """The next line that isn't empty; b"" at the end."""
    while line := file.readline(LONGEST):
        if line.strip():
            return line
    return b""


def _whole(line: bytes) -> bool:
    """Is this line JSON? Seen without making values of it."""
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
