"""Which documents are learned from and which are held out, by a keyed hash of the text: nobody draws again.

1. a document whose hash falls into the first 4 % is held out; of large corpora so much less that 16 MB are
2. where that is less than 1 % or more than 10 % of the text: in order of the hash, until 4 % are, none over 10 %
3. where that is none: the last tenth of the longest document (the usual split of a text of one file, and nanoGPT's)

By rule 1 a document stays on its side whatever is added to the corpus later, but that of a corpus which grows past
400 MB some that were held out are learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["TENTH", "Sides", "sides"]

SHARE, MOST = 0.04, 16e6  # of the documents; bytes
LEAST_SHARE, MOST_SHARE = 0.01, 0.10  # of the bytes
TENTH = 0.9


@dataclass(frozen=True, slots=True)
class Sides:
    """`held`: numbers of the documents that are held out whole. `cut`: one whose end is held out, or None."""

    held: tuple[int, ...]
    cut: int | None
    why: str


def sides(drawn: npt.NDArray[np.uint64], size: npt.NDArray[np.uint64]) -> Sides:
    """`drawn`: 64 bits of each document's hash; `size`: its bytes."""
    whole = float(size.sum())
    share = min(SHARE, MOST / whole)
    held = np.flatnonzero(drawn < np.uint64(share * 2**64))
    part = float(size[held].sum()) / whole
    if min(LEAST_SHARE, share / 2) <= part <= MOST_SHARE and len(held):
        return Sides(tuple(held.tolist()), None, _by_hash(len(held), part))
    chosen: list[int] = []
    part = 0.0
    for number in np.argsort(drawn, kind="stable").tolist():
        more = float(size[number]) / whole
        if part + more <= MOST_SHARE:
            chosen.append(number)
            part += more
        if part >= SHARE:
            break
    if part >= LEAST_SHARE:
        return Sides(tuple(sorted(chosen)), None, _by_hash(len(chosen), part))
    longest = int(size.argmax())
    few = (
        "the one document" if len(size) == 1 else f"the longest of {len(size):,} documents, which are too few to choose"
    )
    return Sides((), longest, f"held out: the last tenth of {few}")


def _by_hash(count: int, part: float) -> str:
    return f"held out: {count:,} documents, {part:.1%} of the text, by a keyed hash of each"
