"""A file to its documents, each as pieces of text: nothing is held but the piece, the row or the block at hand.

diary.txt, page.html         one document
rows.jsonl, rows.parquet     one a row: its field
texts.tar.gz, texts.zip      those of its files, in its order
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from freehold.errors import CorpusUnusable, MissingExtra
from freehold.traffic.files.document import LARGEST, rows_in
from freehold.traffic.files.part import BOM, LONGEST
from freehold.traffic.files.store import open_raw, shown
from freehold.train.corpus.licence import ABOUT
from freehold.train.corpus.opened import members, opened, reading
from freehold.train.corpus.parts import File, kind_of
from freehold.train.corpus.text import Binary, markup_text, plain_text, row_text

__all__ = ["Seen", "documents"]

ROWS = 256  # of Parquet, made to objects at a time
Pieces = Iterator[str]


@dataclass
class Seen:
    """What was met in a part beside its text: binary files, rows without the field, documents not in UTF-8."""

    binary: int = 0
    rows: int = 0
    bad: int = 0
    odd: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    fields: dict[str, None] = field(default_factory=dict)


def documents(file: File, name: str, seen: Seen) -> Iterator[Iterable[str]]:
    """Each document of a file, `name` the field of its rows; to be read before the next is asked for. Raises
    CorpusUnusable."""
    with reading(file):
        if file.kind == "archive":
            for inside, stream in members(file, seen.passed):
                yield from _member(inside, stream, name, seen)
        elif file.kind == "parquet":
            yield from _parquet(file, name, seen)
        else:
            with opened(file) as stream:
                yield from _stream(stream, file.kind, file.name, name, seen)


def _member(inside: str, stream: IO[bytes], name: str, seen: Seen) -> Iterator[Iterable[str]]:
    base = inside.rpartition("/")[2]
    if ABOUT.match(base) or any(step.startswith(".") and step != "." for step in inside.split("/")):
        return
    kind = kind_of(base)
    if kind is None or kind in ("archive", "parquet"):
        seen.passed["." + base.rpartition(".")[2].lower() if "." in base else "no suffix"] += 1
        return
    yield from _stream(stream, kind, base, name, seen)


def _stream(stream: IO[bytes], kind: str, base: str, name: str, seen: Seen) -> Iterator[Iterable[str]]:
    if kind == "lines":
        yield from _rows(_lines(stream, seen), name, seen)
    elif kind == "document":
        yield from _rows(_values(stream, base), name, seen)
    else:
        yield from _whole(stream, ".xml" in base.lower() if kind == "markup" else None, seen)


def _whole(stream: IO[bytes], xml: bool | None, seen: Seen) -> Iterator[Iterable[str]]:
    """The one document of a file of text or (`xml` is not None) of markup."""
    odd: list[bool] = []
    text = plain_text(stream, odd)
    try:
        first = next(text, "")
    except Binary:
        seen.binary += 1
        return
    whole = _chain(first, text)
    yield whole if xml is None else markup_text(whole, xml=xml)
    seen.odd += bool(odd)


def _chain(first: str, rest: Pieces) -> Pieces:
    yield first
    yield from rest


def _lines(stream: IO[bytes], seen: Seen) -> Iterator[bytes]:
    """Lines of JSON; one that never ends is a bad row."""
    number = 0
    while line := stream.readline(LONGEST):
        number += 1
        if len(line) >= LONGEST and not line.endswith(b"\n"):
            while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            line = b"{"
        line = line.removeprefix(BOM) if number == 1 else line
        if line.strip():
            yield line


def _values(stream: IO[bytes], base: str) -> Iterator[bytes]:
    """The rows of one JSON document, which is held as a whole."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise CorpusUnusable(f"{base} is one JSON document of more than 1 GiB.", "Make lines of it: jq -c '.[]'.")
    try:
        rows = rows_in(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CorpusUnusable(f"{base} is no whole JSON document: {error}.", "Mend it, or leave it out.") from error
    for row in rows:
        yield bytes(row)


def _rows(lines: Iterable[bytes], name: str, seen: Seen) -> Iterator[Iterable[str]]:
    for line in lines:
        seen.rows += 1
        text = _field(line, name, seen)
        if text is None:
            seen.bad += 1
        else:
            yield row_text(text)


def _field(line: bytes, name: str, seen: Seen) -> str | None:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        return None
    text = row.get(name)
    if not isinstance(text, str):
        seen.fields.update(dict.fromkeys(list(row)[:20]) if len(seen.fields) < 20 else {})
        return None
    return text


def _parquet(file: File, name: str, seen: Seen) -> Iterator[Iterable[str]]:
    pyarrow = _pyarrow(file)
    with open_raw(file.path) as raw:
        try:
            table = pyarrow.parquet.ParquetFile(raw)
            if name not in table.schema_arrow.names:
                seen.fields.update(dict.fromkeys(table.schema_arrow.names[:20]))
                seen.rows += table.metadata.num_rows
                seen.bad += table.metadata.num_rows
                return
            for batch in table.iter_batches(ROWS, columns=[name], use_threads=False):
                for text in batch.column(0).to_pylist():
                    seen.rows += 1
                    if isinstance(text, str):
                        yield row_text(text)
                    else:
                        seen.bad += 1
                        seen.fields = seen.fields or {f"{f.name} ({f.type})": None for f in table.schema_arrow}
        except pyarrow.ArrowException as error:
            said = (str(error).splitlines() or ["damaged"])[0][:200].rstrip(".")
            raise CorpusUnusable(f"{shown(file.path)} is no whole Parquet file: {said}.", "Fetch it again.") from error


def _pyarrow(file: File) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            f"Reading {shown(file.path)} (Parquet) needs the package pyarrow.", "pip install 'freehold[parquet]'"
        ) from None
    return pyarrow
