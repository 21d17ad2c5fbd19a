"""Text to ids on disk: train.npy and held_out.npy, each document begun with the end token.

    [0, 421, 17, 98, ..., 0, 55, 613, ...]        uint16 where the vocabulary allows it, else uint32

What is learned from lies in an order that is drawn by the seed, so that neighbours are of any part; what is held out
in the order it was read in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from freehold.project.storage import writing
from freehold.tell import Tell
from freehold.train.corpus.clean import Clean
from freehold.train.corpus.sides import TENTH, Sides
from freehold.train.corpus.spool import texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Packed", "Texts", "pack"]

BATCH = 512 << 10  # characters encoded at once
WRITE = "write the ids"
Ids = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Packed:
    tokens: int
    held_out_tokens: int
    held_out_bytes: int


class Texts:
    """The documents of both sides, from the disk each time they are asked for."""

    def __init__(self, clean: Clean, said: Sides) -> None:
        self.clean, self.held, self._cut = clean, np.array(said.held, dtype=np.int64), said.cut
        number = np.arange(len(clean.rows))
        self.train = number[~np.isin(number, self.held)]
        self.at = 0 if said.cut is None else int(TENTH * self._length(said.cut))

    def _length(self, number: int) -> int:
        return sum(len(piece) for pieces in self.all(np.array([number])) for piece in pieces)

    def all(self, which: npt.NDArray[np.int64] | None = None) -> Iterator[Iterator[str]]:
        """Documents whole, of both sides."""
        with self.clean.path.open("rb") as file:
            every = range(len(self.clean.rows)) if which is None else which
            for _, pieces in texts(file, self.clean.rows, every):
                yield pieces

    def learned(self, order: npt.NDArray[np.int64] | None = None) -> Iterator[Iterator[str]]:
        """Documents of the training side; of one that is cut, its beginning."""
        with self.clean.path.open("rb") as file:
            for number, pieces in texts(file, self.clean.rows, self.train if order is None else order):
                yield _until(pieces, self.at) if number == self._cut else pieces

    def held_out(self) -> Iterator[tuple[bool, Iterator[str]]]:
        """Documents of the other side, and whether each is one from its beginning."""
        with self.clean.path.open("rb") as file:
            for _, pieces in texts(file, self.clean.rows, self.held):
                yield True, pieces
            for _, pieces in texts(file, self.clean.rows, [] if self._cut is None else [self._cut]):
                yield False, _after(pieces, self.at)

    @property
    def size(self) -> int:
        """Bytes of the training side, about."""
        sizes = self.clean.rows["size"]
        return int(sizes[self.train].sum() - (0 if self._cut is None else (1 - TENTH) * float(sizes[self._cut])))


def _until(pieces: Iterable[str], end: int) -> Iterator[str]:
    at = 0
    for piece in pieces:
        if at >= end:
            return
        yield piece[: end - at]
        at += len(piece)


def _after(pieces: Iterable[str], start: int) -> Iterator[str]:
    at = 0
    for piece in pieces:
        if at + len(piece) > start:
            yield piece[max(0, start - at) :]
        at += len(piece)


def pack(text: Texts, made: Tokenizer, end: int, vocabulary: int, folder: Path, seed: int, tell: Tell) -> Packed:
    dtype = np.dtype("<u2") if vocabulary <= 1 << 16 else np.dtype("<u4")
    order = np.random.default_rng(seed).permutation(text.train)
    made.encode_special_tokens = True
    with writing(folder / "train.npy") as file:
        train, _ = _write(file, ((True, one) for one in text.learned(order)), made, end, dtype, text.size, tell)
    with writing(folder / "held_out.npy") as file:
        held, size = _write(file, text.held_out(), made, end, dtype, 0, tell)
    return Packed(train, held, size)


def _write(
    file: BinaryIO, documents: Iterable[tuple[bool, Iterator[str]]], made: Tokenizer, end: int,
    dtype: np.dtype[np.unsignedinteger], whole: int, tell: Tell,
) -> tuple[int, int]:  # fmt: skip
    """How many ids were written, and how many bytes of text they stand for."""
    start = _header(file, dtype, 0)
    count = size = 0
    for firsts, batch in _batches(documents):
        for first, row in zip(firsts, made.encode_batch_fast(batch, add_special_tokens=False), strict=True):
            ids = np.array([end, *row.ids] if first else row.ids, dtype=dtype)
            file.write(ids.tobytes())
            count += len(ids)
        size += sum(len(piece.encode()) for piece in batch)
        if whole:
            tell(WRITE, min(1.0, size / whole))
    assert _header(file, dtype, count) == start
    return count, size


def _batches(documents: Iterable[tuple[bool, Iterator[str]]]) -> Iterator[tuple[list[bool], list[str]]]:
    firsts: list[bool] = []
    batch: list[str] = []
    held = 0
    for begins, pieces in documents:
        for piece in pieces:
            firsts.append(begins)
            batch.append(piece)
            begins = False
            held += len(piece)
            if held >= BATCH:
                yield firsts, batch
                firsts, batch, held = [], [], 0
    if batch:
        yield firsts, batch


def _header(file: BinaryIO, dtype: np.dtype[np.unsignedinteger], count: int) -> int:
    """Write the header of a .npy of so many ids; numpy leaves room in it for the number to grow."""
    file.seek(0)
    said = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, said)
    return file.tell()
