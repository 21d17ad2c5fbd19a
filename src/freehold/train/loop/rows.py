"""The rows of each step: they follow from the seed and the step's number alone, in however many processes.

    ids     [.............................................]      train.npy, seen through a memory map
    epoch 0    |-----|-----|-----|-----|-----|-----|-----|       windows of `context` ids, in an order drawn by seed;
    epoch 1  |-----|-----|-----|-----|-----|-----|-----|         each epoch begins them at another id

Rows.of(step) -> int64 [rows, context + 1]: what is read, and one id more, since each id is the next one's target.
pieces(rows, share, shares, most) -> this process's part of a step, cut so that memory holds it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from freehold.errors import CorpusUnusable

__all__ = ["Ids", "Rows", "held_out", "open_ids", "pieces", "windows"]

Ids = npt.NDArray[np.int64]


def open_ids(path: Path) -> npt.NDArray[np.unsignedinteger]:
    """Raises CorpusUnusable where the file is missing or none of ours."""
    try:
        ids: npt.NDArray[np.unsignedinteger] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CorpusUnusable(f"{path} can't be read: {error}.", "Remove its folder; the text is read again.") from error
    if ids.ndim != 1 or ids.dtype not in (np.uint16, np.uint32):
        raise CorpusUnusable(f"{path} holds {ids.dtype} of {ids.ndim} dimensions.", "It is a row of uint16 or uint32.")
    return ids


class Rows:
    """All rows of a training."""

    def __init__(self, path: Path, *, rows: int, context: int, seed: int) -> None:
        self._ids = open_ids(path)
        self._rows, self._context, self._seed = rows, context, seed
        if len(self._ids) <= context:
            raise CorpusUnusable(
                f"The text has {len(self._ids):,} tokens to learn from, and a row takes {context + 1:,}.",
                "Give more text, or a shorter context.",
            )
        self._slack = min(context, len(self._ids) - context)  # where an epoch's first window may begin
        self._windows = max(1, (len(self._ids) - self._slack) // context)
        self._epoch, self._starts = -1, np.empty(0, np.int64)

    def of(self, step: int) -> Ids:
        """Row `i` of step `k` is number k * rows + i of all."""
        numbers = range(step * self._rows, (step + 1) * self._rows)
        return windows(self._ids, [self._start(n) for n in numbers], self._context)

    def _start(self, number: int) -> int:
        epoch, at = divmod(number, self._windows)
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            first = rng.integers(self._slack)
            self._epoch, self._starts = epoch, first + self._context * rng.permutation(self._windows)
        return int(self._starts[at])


def windows(ids: npt.NDArray[np.unsignedinteger], starts: list[int], context: int) -> Ids:
    return np.stack([ids[at : at + context + 1] for at in starts]).astype(np.int64)


def held_out(ids: npt.NDArray[np.unsignedinteger], context: int, most: int) -> tuple[list[int], int]:
    """Where windows begin that lie side by side, and their length: all, or `most` of them evenly apart. Empty where
    there is not even one id to foretell."""
    context = min(context, len(ids) - 1)
    if context < 1:
        return [], 0
    count = (len(ids) - 1) // context
    taken = range(count) if count <= most else (i * count // most for i in range(most))
    return [i * context for i in taken], context


def pieces(rows: int, share: int, shares: int, most: int) -> list[range]:
    """The rows of one of `shares` processes, in as many pieces as every one has, each of `most` rows or fewer. A piece
    may be empty."""
    largest = -(-rows // shares)
    count = -(-largest // max(1, most))
    first, last = share * rows // shares, (share + 1) * rows // shares
    cuts = [first + (last - first) * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in pairwise(cuts)]
