"""The data files: rows that each carry `source` and `as_of`."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

__all__ = ["load"]

Row = MappingProxyType[str, Any]


@cache
def load(name: str) -> tuple[Row, ...]:
    """The rows of one data file, such as "terms.json", read once and read-only."""
    file = files("freehold.facts") / "data" / name
    if name.endswith(".csv"):
        rows: list[dict[str, Any]] = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    else:
        rows = msgspec.json.decode(file.read_bytes(), type=list[dict[str, Any]])
    assert all(row["source"] and row["as_of"] for row in rows), name
    return tuple(MappingProxyType(row) for row in rows)
