"""Sums of calls, tokens and money: one Cell, and Cells by name that don't grow without end.

Cells(at most 100,000 users)   "u1" → Cell   "u2" → Cell   ...     one more: a sample of names, as in names.py
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

from freehold.audit.tallies.names import outside
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Tokens

__all__ = ["Cell", "Cells", "short"]

ZERO = Decimal(0)
LONGEST = 200


class Cell(msgspec.Struct, array_like=True):
    """`calls` are users' calls (a ledger's pairs are none), `billed` those put to the closed model that did not fail
    before a token was counted, `priced` the billed with a cost, `estimated` the billed whose tokens are an estimate. Of
    the billed without a cost, `uncounted` have no tokens and `untimed` no time. `cost` is USD, `guessed` the part of it
    that rests on estimates."""

    calls: int = 0
    billed: int = 0
    priced: int = 0
    estimated: int = 0
    uncounted: int = 0
    untimed: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0
    audio_in: int = 0
    audio_out: int = 0
    cost: Decimal = ZERO
    guessed: Decimal = ZERO

    def add(self, one: Seen) -> None:
        call = one.call
        if call.why != "pair":
            self.calls += 1
        tokens, cost = one.tokens, one.cost
        if call.answered_by != "upstream" or (call.error and tokens is None):
            return
        self.billed += 1
        if tokens is not None:
            self._add_tokens(tokens)
        if cost is not None:
            self.priced += 1
            self.cost += cost
        elif tokens is None:
            self.uncounted += 1
        elif call.at is None:
            self.untimed += 1
        if one.estimated:
            self.estimated += 1
            self.guessed += cost or ZERO

    def _add_tokens(self, tokens: Tokens) -> None:
        self.prompt += tokens.prompt
        self.completion += tokens.completion
        if tokens.cached:
            self.cached += tokens.cached
        if tokens.reasoning:
            self.reasoning += tokens.reasoning
        if tokens.cache_write or tokens.audio_in or tokens.audio_out:
            self.cache_write += tokens.cache_write
            self.audio_in += tokens.audio_in
            self.audio_out += tokens.audio_out

    def merge(self, other: Cell) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def less(self, other: Cell) -> Cell:
        """This cell without what is in the other."""
        parts: list[Any] = [getattr(self, name) - getattr(other, name) for name in self.__struct_fields__]
        return Cell(*parts)

    def tokens(self) -> Tokens:
        return Tokens(
            self.prompt,
            self.completion,
            self.cached,
            self.reasoning,
            self.cache_write,
            self.audio_in,
            self.audio_out,
        )


class Cells(msgspec.Struct):
    """Cells by name. Above `most` names only those stay whose hash begins with `bits` zero bits: a sample of names."""

    most: int
    cells: dict[str, Cell] = {}
    bits: int = 0

    def cell(self, name: str) -> Cell | None:
        """The cell to add to; None for a name outside the sample."""
        found = self.cells.get(name)
        if found is None and not outside(name, self.bits):
            found = self.cells[name] = Cell()
            while len(self.cells) > self.most:
                self._keep(self.bits + 1)
            found = self.cells.get(name)
        return found

    def merge(self, later: Cells) -> None:
        if later.bits > self.bits:
            self._keep(later.bits)
        for name, cell in later.cells.items():
            if (mine := self.cell(name)) is not None:
                mine.merge(cell)

    def _keep(self, bits: int) -> None:
        self.bits = bits
        self.cells = {name: cell for name, cell in self.cells.items() if not outside(name, bits)}

    def sum(self) -> Cell:
        total = Cell()
        for cell in self.cells.values():
            total.merge(cell)
        return total


def short(name: str) -> str:
    """A name from a log, not longer than is kept: the rest of a longer one is named by its hash."""
    if len(name) <= LONGEST:
        return name
    return f"{name[:160]}...{hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
