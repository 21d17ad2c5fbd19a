"""The parity table of an exported student: what each hop and format lost, as its export measured it.

    parity.json  {"rows": [{"format": "Q4_K_M", "kl_mean": 0.0127, "top1": {"value": 0.92, "low", "high", "n"},
                            "passed": false, "first": {...}}, ...]}
    -> Parity(columns=("format", "kl mean", "top1", "passed"), rows=(("Q4_K_M", "0.0127", "92.0 % (...)", "no"), ...))

Figures only: an example that differs is a user's text, and stays in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from freehold.nouns import Measure

__all__ = ["Parity", "parity"]

NAMES = ("hop", "format", "quant", "of", "against", "from", "to", "outcome", "verdict")  # columns that may hold words
LONGEST = 40
MOST = 30  # rows shown


@dataclass(frozen=True, slots=True)
class Parity:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def parity(said: Any) -> Parity | None:
    """The table in what parity.json says; None where it holds none."""
    found = next(_tables(said), None)
    if found is None:
        return None
    cells = [{key: shown for key, value in row.items() if (shown := _cell(key, value))} for row in found[:MOST]]
    columns = list(dict.fromkeys(key for row in cells for key in row))
    rows = tuple(tuple(row.get(key, "") for key in columns) for row in cells)
    return Parity(tuple(key.replace("_", " ") for key in columns), rows) if columns else None


def _tables(said: Any) -> Iterator[list[dict[str, Any]]]:
    """Lists of rows: the value itself, else the first one among its own."""
    for value in (said, *(said.values() if isinstance(said, Mapping) else ())):
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            yield value


def _cell(key: str, value: Any) -> str:
    """A figure, yes or no, or the name of a format; "" for anything else."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str) and key in NAMES:
        return value[:LONGEST]
    if isinstance(value, dict) and "value" in value:
        try:
            return str(msgspec.convert(value, Measure))
        except msgspec.ValidationError:
            return ""
    return ""
