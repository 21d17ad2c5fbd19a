"""A text as weighted n-grams: words and word pairs, and 2 to 4 letters inside a word.

    "Pay my bill"  ->  words  pay · my · bill · pay my · my bill
                       letters " p" "pa" "ay" "y " " pa" "pay" ... each inside one padded word

Each half is (1 + log count) * idf, scaled to length 1 (sublinear TF-IDF, smooth idf as in scikit-learn). The
vocabulary is that of the rows it was made from, the most frequent n-grams first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_LETTERS", "Words", "letter_grams", "word_grams"]

WORD = re.compile(r"\w+")
MOST_LETTERS = 4000  # of a text are read, so that one huge text can't hold up the others
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def _split(text: str) -> list[str]:
    return WORD.findall(text[:MOST_LETTERS].casefold())


def word_grams(words: Sequence[str]) -> list[str]:
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


def letter_grams(words: Sequence[str]) -> list[str]:
    grams: list[str] = []
    for word in words:
        padded = f" {word} "
        for n in (2, 3, 4):
            grams += [padded[i : i + n] for i in range(max(1, len(padded) - n + 1))]
    return grams


class Words:
    """A fixed vocabulary with its idf. `row(text)` gives (column numbers ascending, weights float32)."""

    def __init__(self, terms: Sequence[Sequence[str]], idf: Floats) -> None:
        self.terms = (list(terms[0]), list(terms[1]))
        self.idf = idf
        self.columns = len(idf)
        start = len(self.terms[0])
        assert start + len(self.terms[1]) == self.columns
        self._at = (
            {term: i for i, term in enumerate(self.terms[0])},
            {term: i + start for i, term in enumerate(self.terms[1])},
        )

    @classmethod
    def of(cls, texts: Iterable[str], *, most: int = 60_000) -> Words:
        """The vocabulary of these texts, at most `most` n-grams a half; letter n-grams must be in two texts."""
        seen: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        n = 0
        for text in texts:
            n += 1
            words = _split(text)
            seen[0].update(set(word_grams(words)))
            seen[1].update(set(letter_grams(words)))
        terms, counts = [], []
        for half, least in zip(seen, (1, 2), strict=True):
            ranked = sorted(((-c, term) for term, c in half.items() if c >= least))[:most]
            terms.append([term for _, term in ranked])
            counts += [-c for c, _ in ranked]
        idf = np.log((1 + n) / (1 + np.array(counts, np.float64))) + 1
        return cls(terms, idf.astype(np.float32))

    def row(self, text: str) -> tuple[Indices, Floats]:
        words = _split(text)
        parts = [
            self._half(at, grams) for at, grams in zip(self._at, (word_grams(words), letter_grams(words)), strict=True)
        ]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _half(self, at: dict[str, int], grams: Sequence[str]) -> tuple[Indices, Floats]:
        counts = Counter(map(at.get, grams))
        counts.pop(None, None)
        columns = np.array(sorted(counts), np.int64)  # type: ignore[type-var]  # None has just been taken out
        weights = self.idf[columns]
        if len(columns) < counts.total():
            times = np.array([counts[c] for c in columns.tolist()], np.float32)
            weights = weights * (1 + np.log(times))
        length = np.sqrt(np.dot(weights, weights))
        return columns, weights / length if length > 0 else weights

    def matrix(self, texts: Sequence[str]) -> Any:
        """The rows as a scipy CSR matrix [len(texts), columns] of float32."""
        from scipy.sparse import csr_matrix

        rows = [self.row(text) for text in texts]
        ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        empty = (np.zeros(0, np.int64), np.zeros(0, np.float32))
        columns = np.concatenate([r[0] for r in rows] or [empty[0]])
        weights = np.concatenate([r[1] for r in rows] or [empty[1]])
        return csr_matrix((weights, columns, ends), shape=(len(rows), self.columns))
