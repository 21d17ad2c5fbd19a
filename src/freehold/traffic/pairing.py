"""Batches keep what was asked in one file and what came of it in another: each input row by its custom_id, at hand.

    input files ─gather→ folder/inputs.jsonl   the input rows, one after another
                         folder/inputs.npy     (hash of custom_id, place, length), sorted: 24 bytes a row
    output row ─Inputs.joined→ {"custom_id", "response", ..., "body"}

The files are mapped, not read, so that many workers share them. A custom_id that stands in two batches names neither:
its outputs stay alone, as do those whose input isn't there, and count in tokens and money without a task.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from freehold import wire
from freehold.traffic.files import Part, records
from freehold.traffic.formats import anthropic_messages, openai_batch

__all__ = ["Inputs", "gather"]

FORMATS = (openai_batch.NAME, anthropic_messages.NAME)
ASKED = ("body", "url", "params")


def gather(parts: Sequence[Part], folder: Path) -> bool:
    """Write down the input rows of a log's batches in `folder`, which is there; False where it has none.

    A file counts as an input file where its first row is one.
    """
    import numpy as np

    index: list[tuple[int, int, int]] = []
    place = 0
    with (folder / "inputs.jsonl").open("wb") as spill:
        for row in _inputs(parts):
            data = wire.dumps(row)
            spill.write(data)
            index.append((_hash(row["custom_id"]), place, len(data)))
            place += len(data)
    table = np.array(sorted(index), dtype=np.uint64).reshape(-1, 3)
    np.save(folder / "inputs.npy", table, allow_pickle=False)
    return bool(index)


def _inputs(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    files = dict.fromkeys(part.path for part in parts if part.format in FORMATS)
    for path in files:
        of_file = [part for part in parts if part.path == path]
        if not any(_is_input(row) for row in islice(_rows(of_file), 1)):
            continue
        for row in _rows(of_file):
            if _is_input(row):
                yield {name: row[name] for name in ("custom_id", *ASKED) if name in row}


def _rows(parts: Sequence[Part]) -> Iterator[Any]:
    for part in parts:
        for record in records(part):
            try:
                yield wire.loads(record.data)
            except wire.RowError:  # counted when the log is read
                continue


def _is_input(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("custom_id"), str):
        return False
    return openai_batch.side(row) == "input" or ("params" in row and "result" not in row)


def _hash(custom_id: str) -> int:
    return int.from_bytes(blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=8).digest())


class Inputs:
    """The input rows that `gather` wrote down."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self._table = np.load(folder / "inputs.npy", allow_pickle=False)
        self._hashes = np.ascontiguousarray(self._table[:, 0])
        with (folder / "inputs.jsonl").open("rb") as spill:
            self._rows = mmap.mmap(spill.fileno(), 0, access=mmap.ACCESS_READ) if len(self._table) else b""

    def joined(self, record: Any) -> Any:
        """An output row with what was asked; any other record, and one whose input isn't plain, as it is."""
        if not _is_output(record):
            return record
        import numpy as np

        key = np.uint64(_hash(record["custom_id"]))
        at = int(self._hashes.searchsorted(key))
        found = self._hashes[at : at + 2]
        if not len(found) or found[0] != key or (len(found) > 1 and found[1] == key):
            return record
        place, length = int(self._table[at, 1]), int(self._table[at, 2])
        row = wire.loads(self._rows[place : place + length])
        return row | record if row["custom_id"] == record["custom_id"] else record


def _is_output(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("custom_id"), str):
        return False
    return openai_batch.side(record) == "output" or ("result" in record and "params" not in record)
