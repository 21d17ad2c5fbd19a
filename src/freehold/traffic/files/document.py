"""One JSON document: its rows are the values of a list, or of the one list of objects in an object.

    [{...}, {...}]                                 two records
    {"data": [{...}, {...}], "page": 1}            two records
    {"resourceSpans": [{...}]}                     one: an envelope, or what a known format reads whole

Rows are numbered as they stand in the list. They are found without being decoded, so that a document takes little more
memory than its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec

from freehold.errors import LogUnreadable
from freehold.traffic.files.lines import torn, unpacked
from freehold.traffic.files.part import BOM, Part, Record
from freehold.traffic.files.store import open_raw, shown
from freehold.traffic.formats import recognise

__all__ = ["LARGEST", "read", "rows_in"]

LARGEST = 1 << 30  # bytes of a document, which is held as a whole
SPACE = b" \t\r\n"
ENVELOPES = {"resourceSpans", "resource_spans"}  # OpenTelemetry's: what stands inside is told apart by its format


def read(part: Part) -> Iterator[Record]:
    """The rows of a document. Raises LogUnreadable where it is too large to be held."""
    if part.packing == "plain" and part.size > LARGEST:
        raise _too_large(part, f"of {part.size / (1 << 30):.1f} GiB")
    with closing(open_raw(part.path)) as raw:
        try:
            data = unpacked(part, raw).read(LARGEST + 1)
        except OSError as error:
            yield Record(1, b"", part.size, torn(part, error))
            return
    if len(data) > LARGEST:
        raise _too_large(part, "that unpacks to more")
    try:
        rows = rows_in(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        yield Record(1, b"", part.size, f"the JSON document is cut off or damaged: {error}")
        return
    for number, row in enumerate(rows, 1):
        yield Record(number, bytes(row), part.size * number // len(rows))


def _too_large(part: Part, how: str) -> LogUnreadable:
    return LogUnreadable(
        f"{shown(part.path)} is one JSON document {how}, and such are read up to {LARGEST >> 30} GiB.",
        "One row a line has no limit: jq -c '.[]' makes lines of a list.",
    )


def rows_in(data: bytes) -> Sequence[Any]:
    """The rows of a document as msgspec.Raw, or the document itself (bytes) as the one record that it is. Raises what
    msgspec does where it is none."""
    data = data.removeprefix(BOM)
    if data[:4096].lstrip(SPACE)[:1] == b"[":
        return msgspec.json.decode(data, type=list[msgspec.Raw])
    fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    if not ENVELOPES.isdisjoint(fields):
        return [data]
    lists = {name: rows for name, value in fields.items() if (rows := _list(value)) is not None}
    of_objects = [rows for rows in lists.values() if rows and all(_first(row) == b"{" for row in rows)]
    if len(lists) == 1 and not next(iter(lists.values())) and not _known(fields, lists):
        return []
    if len(of_objects) != 1 or _known(fields, lists):
        return [data]
    return of_objects[0]


def _first(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])


def _list(value: msgspec.Raw) -> list[msgspec.Raw] | None:
    return msgspec.json.decode(value, type=list[msgspec.Raw]) if _first(value) == b"[" else None


def _known(fields: dict[str, msgspec.Raw], lists: dict[str, list[msgspec.Raw]]) -> bool:
    """Does a format know the object as a whole? Asked of the object with its lists cut to their first value."""
    try:
        short = {name: msgspec.json.decode(value) for name, value in fields.items() if name not in lists}
        heads = {name: [msgspec.json.decode(row) for row in rows[:1]] for name, rows in lists.items()}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return recognise([{name: (heads if name in lists else short)[name] for name in fields}]) is not None
