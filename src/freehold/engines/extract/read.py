"""A text as a tagger reads it: words, their pieces, and how each word is written.

    "Play Björk, twice"    words  Play | Björk | , | twice       (pieces: spans may begin inside a word)
    ids     [CLS] play bjo ##rk , twice [SEP]
    shapes    0    5    5   5   2   3     0                       5: Capital; the tokeniser itself drops the case
    first     1    2    4   5                                     a word's tag is read at its first piece
    places  (0,4) (5,10) ...                                      characters of the text

Half of a surrogate pair is no character: it becomes U+FFFD, and so does the value that is copied from it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.errors import ArtifactDamaged

__all__ = ["SHAPES", "Read", "Reader", "clean", "shape_of"]

SHAPES = 8
CHARS_PER_TOKEN = 64  # a text longer than max_tokens * 64 characters is not tokenised at all: it can't be read whole


@dataclass(frozen=True, slots=True)
class Read:
    """`text` cleaned; `ids`, `shapes` per token; `first` token and `places` (begin, end) in the text per word."""

    text: str
    ids: list[int]
    shapes: list[int]
    first: list[int]
    places: list[tuple[int, int]]


def clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shape_of(word: str) -> int:
    """1 digits, 2 signs, 3 lower, 4 UPPER, 5 Capital, 6 miXed, 7 one capital letter; 0 is for no word."""
    if not any(c.isalpha() for c in word):
        return 1 if any(c.isdigit() for c in word) else 2
    if word.islower():
        return 3
    if word.isupper():
        return 4 if len(word) > 1 else 7
    return 5 if word[0].isupper() and word[1:].islower() else 6


class Reader:
    """`Reader(tokenizer.json's bytes, most=512)`; raises ArtifactDamaged where they are no tokeniser."""

    def __init__(self, tokenizer: bytes, *, most: int, pieces: bool = False) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_str(tokenizer.decode("utf-8"))
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
        except Exception as error:  # tokenizers raises no class of its own
            said = " ".join(str(error).split())[:200]
            raise ArtifactDamaged(f"tokenizer.json can't be used: {said}", "Tune again.") from error
        self.most, self.pieces = most, pieces

    def read(self, text: str) -> Read | None:
        """None where the text has more tokens than the model reads."""
        if len(text) > CHARS_PER_TOKEN * self.most:
            return None
        text = clean(text)
        encoded = self._tokenizer.encode(text)
        return None if len(encoded.ids) > self.most else self._words(text, encoded)

    def read_all(self, texts: Sequence[str]) -> list[Read | None]:
        return [self.read(text) for text in texts]

    def _words(self, text: str, encoded: Any) -> Read:
        shapes, first, places = [0] * len(encoded.ids), list[int](), list[tuple[int, int]]()
        before = None
        for i, (word, (a, b)) in enumerate(zip(encoded.word_ids, encoded.offsets, strict=True)):
            if word is None:
                continue
            if word != before or self.pieces:
                first.append(i)
                places.append((a, b))
            else:
                places[-1] = (places[-1][0], b)
            before = word
        if not text.isascii():  # the tokeniser drops accents, and with them their places
            places = [(a, _with_marks(text, b)) for a, b in places]
        ends = [*first[1:], len(encoded.ids)][: len(first)]
        for i, end, (a, b) in zip(first, ends, places, strict=True):
            shape = shape_of(text[a:b])
            for t in range(i, end):
                shapes[t] = shape if encoded.word_ids[t] is not None else 0
        return Read(text, list(encoded.ids), shapes, first, places)


def _with_marks(text: str, end: int) -> int:
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end
