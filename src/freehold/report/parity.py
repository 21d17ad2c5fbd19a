"""The parity table of an exported student: what each hop and format lost, as its export measured it.

    parity.json  {"rows": [{"format": "Q4_K_M", "kl_mean": 0.0127, "top1": {"value": 0.92, "low", "high", "n"},
                            "passed": false, "first": {...}}, ...]}
    -> Parity(columns=("format", "kl mean", "top1", "passed"),
              rows=((Cell("Q4_K_M"), Cell("0.0127"), Cell("92.0 %", "90.3 to 93.6, n = 1,080"), Cell("no")), ...))

Figures only: an example that differs is a user's text, and stays in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from freehold.nouns import Measure

__all__ = ["Cell", "Parity", "parity"]

NAMES = ("hop", "format", "quant", "of", "against", "from", "to", "outcome", "verdict")  # columns that may hold words
LONGEST = 40
MOST = 30  # rows shown


@dataclass(frozen=True, slots=True)
class Cell:
    """`under` is a figure's interval and n."""

    text: str = ""
    under: str = ""


@dataclass(frozen=True, slots=True)
class Parity:
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def parity(said: Any) -> Parity | None:
    """The table in what parity.json says; None where it holds none."""
    found = next(_tables(said), None)
    if found is None:
        return None
    cells = [{k: shown for k, v in row.items() if (shown := _cell(k, v)).text} for row in found[:MOST]]
    columns = list(dict.fromkeys(key for row in cells for key in row))
    rows = tuple(tuple(row.get(key, Cell()) for key in columns) for row in cells)
    return Parity(tuple(key.replace("_", " ") for key in columns), rows) if columns else None


def _tables(said: Any) -> Iterator[list[dict[str, Any]]]:
    """Lists of rows: the value itself, else the first one among its own."""
    for value in (said, *(said.values() if isinstance(said, Mapping) else ())):
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            yield value


def _cell(key: str, value: Any) -> Cell:
    """A figure, yes or no, or the name of a format; an empty one for anything else."""
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int):
        return Cell(f"{value:,}")
    if isinstance(value, float):
        return Cell(f"{value:.3g}")
    if isinstance(value, str) and key in NAMES:
        return Cell(value[:LONGEST])
    if isinstance(value, dict) and "value" in value:
        try:
            return _figure(msgspec.convert(value, Measure))
        except msgspec.ValidationError:
            return Cell()
    return Cell()


def _figure(measure: Measure) -> Cell:
    text, _, under = str(measure).partition(" (")
    return Cell(text, under.removesuffix(")"))
