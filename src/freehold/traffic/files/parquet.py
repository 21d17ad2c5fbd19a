"""Parquet: each row as a JSON object, times in ISO 8601; parts are runs of row groups, to be read side by side.

row group 0 │ 1 │ 2 │ 3   ─→   Part(start=0, end=2), Part(start=2, end=4)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec

from freehold.errors import LogUnreadable, MissingExtra
from freehold.traffic.files.part import Part, Record
from freehold.traffic.files.store import open_raw, shown

__all__ = ["cut", "read"]

ROWS = 1024  # made to objects at a time


def _module(path: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            f"Reading {shown(path)} (Parquet) needs the package pyarrow.", "pip install 'freehold[parquet]'"
        ) from None
    return pyarrow


def cut(whole: Part, piece: int) -> list[Part]:
    """A file's parts, each of whole row groups that hold about `piece` bytes unpacked; one part where it is damaged,
    which its reading then tells."""
    pyarrow = _module(whole.path)
    with closing(open_raw(whole.path)) as raw:
        if not raw.seekable():
            raise LogUnreadable(f"{shown(whole.path)} is Parquet on a server that gives no part of it.", "Download it.")
        try:
            meta = pyarrow.parquet.ParquetFile(raw).metadata
        except (pyarrow.ArrowException, OSError):
            return [whole]
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    rows = max(1, meta.num_rows)
    found: list[Part] = []
    start = before = 0
    for end in range(1, len(groups) + 1):
        run = groups[start:end]
        if end < len(groups) and sum(group.total_byte_size for group in run) < piece:
            continue
        after = before + sum(group.num_rows for group in run)
        size = whole.size * after // rows - whole.size * before // rows
        found.append(replace(whole, start=start, end=end, size=size, line=before))
        start, before = end, after
    return found or [whole]


def read(part: Part) -> Iterator[Record]:
    """The rows of a part, numbered in it. A row group that can't be read is one record that says so."""
    pyarrow = _module(part.path)
    encode = msgspec.json.Encoder(decimal_format="number").encode
    number = 0
    with closing(open_raw(part.path)) as raw:
        try:
            file = pyarrow.parquet.ParquetFile(raw, coerce_int96_timestamp_unit="us")
            schema = file.schema_arrow
            groups = range(part.start, file.metadata.num_row_groups if part.end is None else part.end)
            rows = sum(file.metadata.row_group(i).num_rows for i in groups) or 1
        except (pyarrow.ArrowException, OSError) as error:
            yield Record(1, b"", 0, _torn(error))
            return
        target = pyarrow.schema([field.with_type(_plain(field.type, pyarrow)) for field in schema])
        for group in groups:
            try:
                for batch in file.iter_batches(ROWS, row_groups=[group], use_threads=False):
                    for row in _rows(batch, schema, target, pyarrow):
                        number += 1
                        yield Record(number, encode(row), part.size * number // rows)
            except (pyarrow.ArrowException, OSError, UnicodeError) as error:
                lost = file.metadata.row_group(group).num_rows
                number += 1
                yield Record(number, b"", part.size, f"row group {group} of {lost:,} rows: {_torn(error)}")


def _torn(error: Exception) -> str:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return f"the Parquet file is cut off or damaged: {said[:200]}"


def _rows(batch: Any, schema: Any, target: Any, pyarrow: Any) -> list[Any]:
    if not schema.equals(target):
        batch = pyarrow.Table.from_batches([batch]).cast(target, safe=False)
    rows = list(batch.to_pylist())
    return [_maps(row) for row in rows] if "map<" in str(schema) else rows


def _maps(value: Any) -> Any:
    """Maps come as lists of pairs, the only tuples there are: make objects of them."""
    if isinstance(value, list):
        if value and all(isinstance(one, tuple) for one in value):
            return {str(key): _maps(inner) for key, inner in value}
        return [_maps(one) for one in value]
    return {key: _maps(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _plain(type: Any, pyarrow: Any) -> Any:
    """A type whose values are plain ones: times to the microsecond."""
    kinds = pyarrow.types
    if kinds.is_timestamp(type) and type.unit == "ns":
        return pyarrow.timestamp("us", type.tz)
    if kinds.is_struct(type):
        return pyarrow.struct([field.with_type(_plain(field.type, pyarrow)) for field in type])
    if kinds.is_list(type):
        return pyarrow.list_(type.value_field.with_type(_plain(type.value_type, pyarrow)))
    if kinds.is_large_list(type):
        return pyarrow.large_list(type.value_field.with_type(_plain(type.value_type, pyarrow)))
    return type
