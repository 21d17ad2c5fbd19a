"""What pairs showed: of home answers that were asked again, and of calls that went up anyway (free).

Home pairs are rows of the ledger (why "pair"); free ones are rows of pairs/*.jsonl, which hold no text:
    {"at": "…", "task": "intents", "student": "9f…", "agrees": true, "home": false, "against": ""}
Those with `home` stand in the ledger too, and are counted there. `against` names a successor: its pairs say nothing
about the promise, and count apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

__all__ = ["Agreement", "FreePairs", "Pairs"]


@dataclass(slots=True)
class Pairs:
    """Student and upstream side by side; `lost` ones came back without an answer."""

    seen: int = 0
    agree: int = 0
    lost: int = 0

    def add(self, agrees: bool | None) -> None:
        if agrees is None:
            self.lost += 1
        else:
            self.seen += 1
            self.agree += agrees


@dataclass(slots=True)
class Agreement:
    """One student's pairs: about its promise, and by successor."""

    own: Pairs = field(default_factory=Pairs)
    beside: dict[str, Pairs] = field(default_factory=dict)

    def add(self, agrees: bool | None, against: str) -> None:
        (self.beside.setdefault(against, Pairs()) if against else self.own).add(agrees)


class _Row(msgspec.Struct):
    task: str
    student: str
    agrees: bool
    home: bool = False
    against: str = ""


_DECODER = msgspec.json.Decoder(_Row)


@dataclass(slots=True)
class FreePairs:
    """`found` by task and student's sha256; `unreadable` counts lines that serve did not write."""

    found: dict[tuple[str, str], Agreement] = field(default_factory=dict)
    unreadable: int = 0

    def add(self, line: bytes) -> None:
        """Count one row, where it is a free pair."""
        if not line.strip():
            return
        try:
            row = _DECODER.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self.unreadable += 1
            return
        if not row.home:
            self.found.setdefault((row.task, row.student), Agreement()).add(row.agrees, row.against)
