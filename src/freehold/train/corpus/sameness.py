"""What stands in a corpus twice: the same documents, nearly the same ones, paragraphs that many documents share.

    same     128 bits of the text with its white space evened                          the first stays
    shared   paragraphs of 100 characters or more in 5 documents or more: notices,     the first stays
             headers, licence texts; taken out before documents are compared
    alike    Jaccard of the sets of 5-word runs estimated at 0.75 or more              the first stays

Likeness is estimated by 112 MinHash values (Broder 1997), and looked for where one of 14 groups of 8 is equal:
FineWeb's settings (Penedo et al. 2024, arXiv 2406.17557). Of two documents at 0.75, 77 % are looked at so, at 0.9 all
but 1 in 2,500. Short texts differ in many of their runs when one word differs, so questions made from one pattern stay
apart. All of it works on arrays on disk: a few bytes a document are held.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from freehold.train.corpus.spool import Rows

__all__ = ["DOCUMENTS", "Prints", "alike", "same", "shared"]

DOCUMENTS = 5
RUN = 5  # words
GROUPS, EACH = 14, 8
LIKE = 0.75
WORD = re.compile(r"\w+")
AT_ONCE = 2048  # runs of words hashed in one go
BLOCK = 8 << 20  # paragraphs looked at in one go
Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]


def same(rows: Rows) -> Bools:
    """Which documents stand before as they are."""
    order = np.lexsort((rows["two"], rows["one"]))  # stable: the first of the same comes first
    one, two = rows["one"][order], rows["two"][order]
    found = np.zeros(len(rows), dtype=np.bool_)
    found[order[1:]] = (one[1:] == one[:-1]) & (two[1:] == two[:-1])
    return found


def shared(path: Path, least: int = DOCUMENTS) -> frozenset[bytes]:
    """The digests that stand in `least` documents or more; a slice of all possible ones at a time."""
    if path.stat().st_size < 8 * least:
        return frozenset()
    digests = np.memmap(path, dtype=">u8", mode="r")
    slices = -(-len(digests) // BLOCK)
    found: list[bytes] = []
    for number in range(slices):
        blocks = (digests[at : at + BLOCK] for at in range(0, len(digests), BLOCK))
        mine = [block[block % slices == number] for block in blocks]
        values, counts = np.unique(np.concatenate(mine), return_counts=True)
        found += [int(value).to_bytes(8, "big") for value in values[counts >= least]]
    return frozenset(found)


class Prints:
    """112 MinHash values of a document, gathered piece by piece."""

    def __init__(self) -> None:
        draw = np.random.Generator(np.random.PCG64(2406_17557))
        self._times = (draw.integers(0, 1 << 63, (GROUPS * EACH, 1), dtype=np.uint64) << np.uint64(1)) | np.uint64(1)
        self._plus = draw.integers(0, 1 << 63, (GROUPS * EACH, 1), dtype=np.uint64) << np.uint64(1)

    def of(self, pieces: Iterable[str]) -> npt.NDArray[np.uint32]:
        least = np.full(GROUPS * EACH, np.iinfo(np.uint64).max, dtype=np.uint64)
        for piece in pieces:
            runs = _runs(piece)
            for at in range(0, len(runs), AT_ONCE):
                some = runs[None, at : at + AT_ONCE] * self._times
                some += self._plus
                np.minimum(least, some.min(axis=1), out=least)
        return (least >> np.uint64(32)).astype(np.uint32)


def _runs(text: str) -> Hashes:
    """A hash for each different run of RUN words; for fewer words, of them all."""
    words = np.array([zlib.crc32(word.encode()) for word in WORD.findall(text.casefold())], dtype=np.uint64)
    length = min(RUN, len(words))
    if not length:
        return words
    mixed = np.zeros(len(words) - length + 1, dtype=np.uint64)
    for i in range(length):
        mixed = (mixed ^ words[i : len(words) - length + 1 + i]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)


def alike(prints: npt.NDArray[np.uint32]) -> Bools:
    """Which documents are nearly the same as one before; `prints` [documents, 112] may lie on disk."""
    found = np.zeros(len(prints), dtype=np.bool_)
    for group in range(GROUPS):
        keys = _keys(prints, group)
        order = np.argsort(keys, kind="stable")
        again = keys[order][1:] == keys[order][:-1]
        starts = np.concatenate([[True], ~again])
        first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        for before in (order[:-1], first[1:]):
            found[_near(prints, before[again], order[1:][again])] = True
    return found


def _keys(prints: npt.NDArray[np.uint32], group: int) -> Hashes:
    keys = np.zeros(len(prints), dtype=np.uint64)
    for column in range(group * EACH, (group + 1) * EACH):
        keys = (keys ^ prints[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(31)
    return keys


def _near(
    prints: npt.NDArray[np.uint32], one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Those of `other` that are alike enough."""
    near = [
        other[at : at + AT_ONCE][
            (prints[one[at : at + AT_ONCE]] == prints[other[at : at + AT_ONCE]]).mean(axis=1) >= LIKE
        ]
        for at in range(0, len(one), AT_ONCE)
    ]
    return np.concatenate(near) if near else other[:0]
