"""The documents of a corpus on disk, one after the other, and a row of facts for each.

    text        "... and so to bed.January 1659..."       UTF-8, nothing between documents
    rows        at, size, part, one, two                  one and two: 128 bits of a keyed hash of the document's text
    paragraphs  8 bytes for each long paragraph of each document

The hash is of the text with its white space evened. It says which documents are the same, and which side one is on; its
key is in the code, so that nobody can try another draw.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from freehold.train.corpus.text import pieces_in

__all__ = ["LONG", "Rows", "Spool", "paragraphs", "texts"]

KEY = b"freehold train: a document's side, 1"
LONG = 100  # characters from which on a paragraph is looked at
AT_ONCE = 100_000  # paragraphs of one document that are told apart
ROW = np.dtype([("at", "<u8"), ("size", "<u8"), ("part", "<u4"), ("one", "<u8"), ("two", "<u8")])
BETWEEN = re.compile(r"(\n[ \t]*\n\s*)")
Rows = npt.NDArray[np.void]


class Spool:
    """Writes documents while it is entered; `rows` and the files are read once it is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._text, self._rows, self._paragraphs = (
            self._open.enter_context((self.folder / name).open("wb")) for name in ("text", "rows", "paragraphs")
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, part: int, pieces: Iterable[str]) -> bool:
        """Whether there was any text in the document."""
        hashed = hashlib.blake2b(key=KEY, digest_size=16)
        size, words = 0, False
        long: set[bytes] = set()
        for piece in pieces:
            even = " ".join(piece.split())
            hashed.update((" " if words and even else "").encode() + even.encode())
            words = words or bool(even)
            data = piece.encode()
            size += self._text.write(data)
            if len(long) < AT_ONCE:
                long.update(digest for digest, _ in paragraphs(piece) if digest)
        if not words:
            self._text.seek(self._at)
            self._text.truncate()
            return False
        one, two = np.frombuffer(hashed.digest(), "<u8")
        self._rows.write(np.array([(self._at, size, part, one, two)], ROW).tobytes())
        self._paragraphs.write(b"".join(sorted(long)))
        self._at += size
        return True

    def rows(self) -> Rows:
        return np.fromfile(self.folder / "rows", ROW)


def paragraphs(piece: str) -> Iterator[tuple[bytes, str]]:
    """Each paragraph and what stands between two, in order, with a digest of those that are long (b"" else)."""
    for text in BETWEEN.split(piece):
        even = " ".join(text.split()) if len(text) >= LONG else ""
        yield (hashlib.blake2b(even.encode(), digest_size=8).digest() if len(even) >= LONG else b""), text


def texts(
    file: BinaryIO, rows: Rows, which: Sequence[int] | npt.NDArray[np.int64]
) -> Iterator[tuple[int, Iterator[str]]]:
    """These documents, each with its number; to be read before the next is asked for."""
    for number in which:
        row = rows[number]
        file.seek(int(row["at"]))
        yield int(number), pieces_in(file, int(row["size"]))
