"""Calls that stand in a log twice: an id that the API gave to one answer, met again. Exports that were retried do that.

    {"response": {"id": "chatcmpl-9f2", ...}}  ─blake2b, 8 bytes→ a row; rows that are equal are one call, written again

Nothing is left out of any figure for it: a reader is told how many calls may count twice. That any two of a million ids
are taken for one has a chance of 3e-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from freehold.audit.tallies.spill import Rows
from freehold.audit.tallies.tally import Seen

__all__ = ["TwiceTally", "said"]


def _rows() -> Rows:
    return Rows(8)


class TwiceTally(msgspec.Struct):
    """8 bytes a call with an id, in memory while they are few, then in files of `folder`."""

    folder: str = ""
    ids: Rows = msgspec.field(default_factory=_rows)

    def __post_init__(self) -> None:
        self.ids.folder = self.folder

    def add(self, seen: Sequence[Seen]) -> None:
        names = [id for one in seen if (id := _id(one.call.row))]
        hashed = b"".join(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest() for name in names)
        self.ids.add(np.frombuffer(hashed, "<u8"))

    def merge(self, later: TwiceTally) -> None:
        self.ids.merge(later.ids)

    def again(self) -> int:
        """How many calls have an id that stood before."""
        return sum(len(rows) - len(np.unique(rows)) for rows in self.ids.groups("<u8"))


def _id(row: dict[str, Any]) -> str:
    response = row.get("response")
    id = response.get("id") if isinstance(response, dict) else None
    return id if isinstance(id, str) else ""


def said(again: int, calls: int) -> str:
    """The warning, or "" where there is none to give."""
    if not again:
        return ""
    return f"{again:,} of {calls:,} calls have the id of an earlier one: an export may have written them twice."
