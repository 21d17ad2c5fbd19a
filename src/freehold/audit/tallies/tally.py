"""What the audit counts: each figure is a tally that takes calls a batch at a time and adds up with its like.

    part 0 ─scan→ [tally, tally, ...] ┐
    part 1 ─scan→ [tally, tally, ...] ┴─merge→ one of each → Audit

A tally is a msgspec.Struct of numbers, texts, bytes, lists and dicts, so that it travels between processes and lies on
disk as msgpack. What it says must not depend on how the log was cut: sums are exact (int, Decimal), order is sorted
out at the end, and what can't be kept for every call (texts) is sampled by a hash of the call, never by its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, Self

from freehold.nouns import Call, Tokens

__all__ = ["Seen", "Tally"]


@dataclass(slots=True)
class Seen:
    """A call and what is known of it before any tally looks.

    `task` is its place among the tasks found, -1 for none; `text` its variables under that task's template. `tokens`
    are as logged, or an estimate (`estimated`), or None. `cost` is USD, exact, or None where there is no price; only
    what the closed model answered has one. `asked` names the messages and `key` the whole request (messages, model,
    settings; not who asks) by 64 bits each; `order` is (part, line), so that earlier and later can be told.
    """

    call: Call
    order: tuple[int, int]
    task: int = -1
    text: str | None = None
    tokens: Tokens | None = None
    estimated: bool = False
    cost: Decimal | None = None
    asked: int = 0
    key: int = 0


class Tally(Protocol):
    def add(self, seen: Sequence[Seen], /) -> None:
        """Count a batch, in the log's order."""
        ...

    def merge(self, later: Self, /) -> None:
        """Add the tally of a later part."""
        ...
