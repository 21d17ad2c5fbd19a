"""In which form a step fits: all its rows at once, in pieces, or with activations made a second time; else refused.

    size(shape, lengths, card=True, have=79 << 30, ...) -> Size(piece=10680, recompute=False, why="")

On a CPU a piece has PIECE ids (larger ones were no faster); on a card it is as large as its memory takes, the whole
step where it can. Activations that are made again in the backward pass cost about a third more time and keep no prefix
(its keys and values would be among what is forgotten), so they come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from freehold.errors import TooLittleMemory
from freehold.fit import Need, Shape, refuse, training
from freehold.tune.decoder.data import BUCKET, Examples
from freehold.tune.decoder.model import SHORT
from freehold.tune.decoder.plan import PIECE

__all__ = ["Lengths", "Size", "lengths", "needed", "size"]

HINT = "Take a smaller base, --bits 4, or a machine with more memory."
CARD_HINT = "Take a smaller base, --bits 4, --device cpu, or a card with more memory."


@dataclass(frozen=True, slots=True)
class Lengths:
    """In ids: the prefix that is computed once, the longest row after it, its longest answer; `rows` of a step."""

    prefix: int
    longest: int
    answer: int
    rows: int

    @property
    def whole(self) -> int:
        return self.prefix + self.longest


@dataclass(frozen=True, slots=True)
class Size:
    """`piece`: ids in memory at once. `recompute`: activations are made twice, and rows hold the prefix themselves."""

    piece: int
    recompute: bool
    why: str


def lengths(learn: Examples | None, rows: int) -> Lengths:
    """Of a step of `rows` rows; without examples, of the shortest that there could be."""
    if learn is None:
        return Lengths(0, BUCKET, BUCKET, 1)
    return Lengths(
        len(learn.prefix), max(row.length for row in learn.rows), max(len(row.answer) for row in learn.rows), rows
    )


def size(
    shape: Shape, step: Lengths, *, card: bool, have: int | None, what: str, bits: int, kind: str, rank: int = 16
) -> Size:
    """The fastest form that fits into `have` bytes (None: what the machine has free). Raises TooLittleMemory, with the
    parts of the smallest form, where none does."""
    for form in _forms(step, card):
        need = needed(shape, step, form, card=card, bits=bits, kind=kind, rank=rank)
        try:
            refuse(need, what, have=have, hint=CARD_HINT if card else HINT)
        except TooLittleMemory:
            if form.recompute:
                raise
            continue
        return form
    raise AssertionError("the last form either fits or is refused")


def _forms(step: Lengths, card: bool) -> Iterator[Size]:
    """From the fastest on."""
    whole = step.rows * step.longest
    piece = whole if card else 0
    while piece > PIECE:
        yield Size(piece, False, _cut(step, piece) if piece < whole else "")
        piece //= 2
    yield Size(PIECE, False, _cut(step, PIECE) if card and whole > PIECE else "")
    yield Size(PIECE, True, "activations are made twice (gradient checkpointing): kept, they would not fit")


def _cut(step: Lengths, piece: int) -> str:
    return f"steps of {step.rows} rows in pieces of {piece:,} ids: more at once would not fit the card"


def needed(shape: Shape, step: Lengths, form: Size, *, card: bool, bits: int, kind: str, rank: int = 16) -> Need:
    """What a step takes in this form: fit's prediction."""
    longest, prefix = (step.whole, 0) if form.recompute else (step.longest, step.prefix)
    how: Literal["lora", "qlora"] = "qlora" if bits == 4 else "lora"
    return training(
        shape,
        how,
        tokens=prefix + max(longest, min(form.piece, step.rows * longest)),
        longest=step.whole,
        answers=min(form.piece, step.rows * step.answer),
        rank=rank,
        width=2 if kind == "bfloat16" or bits == 4 else 4,
        fused=card or step.whole > SHORT,
        recompute=form.recompute,
    )
