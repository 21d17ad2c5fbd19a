"""Where a value stands in its input: every run of whole words that a rule turns into exactly this value.

"a table for two, two of us vegan"   2   rule number →  (3, 4), (5, 6)      words, end exclusive
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from freehold.engines.extract.read import Read
from freehold.engines.extract.rules import TEXTUAL, Value, value

__all__ = ["Words", "found"]

LONGEST = 8  # words of a number or a date
SPELT = 3  # words of a number without a digit (forty - two)
SPACE = r"\s+"
MOST = 12  # places of one value that are looked at
Places = tuple[tuple[int, int], ...]


class Words:
    """A text's words by their characters."""

    def __init__(self, read: Read) -> None:
        self.text = read.text
        self.places = read.places
        self.begins = {a: i for i, (a, _) in enumerate(read.places)}
        self.ends = {b: i + 1 for i, (_, b) in enumerate(read.places)}
        self._made: dict[str, dict[tuple[type, Value], list[tuple[int, int]]]] = {}
        self._digits = [any(c.isdigit() for c in read.text[a:b]) for a, b in read.places]

    def between(self, begin: int, end: int) -> tuple[int, int] | None:
        first, last = self.begins.get(begin), self.ends.get(end)
        return None if first is None or last is None or last <= first else (first, last)

    def made(self, rule: str) -> dict[tuple[type, Value], list[tuple[int, int]]]:
        """What the rule makes of each short run of words, and where."""
        if rule not in self._made:
            found: dict[tuple[type, Value], list[tuple[int, int]]] = {}
            for i, j in self._runs():
                v = value(rule, self.text[self.places[i][0] : self.places[j - 1][1]])
                if v is not None:
                    found.setdefault((type(v), v), []).append((i, j))
            self._made[rule] = found
        return self._made[rule]

    def _runs(self) -> Iterator[tuple[int, int]]:
        n = len(self.places)
        for i in range(n):
            for j in range(i + 1, min(n, i + LONGEST) + 1):
                if j - i <= SPELT or any(self._digits[i:j]):
                    yield i, j


def found(rule: str, wanted: Any, words: Words) -> Places:
    """Every place of `wanted`, in order; none where it can't be copied by this rule."""
    if isinstance(wanted, bool) or not isinstance(wanted, str | int | float) or wanted == "":
        return ()
    if isinstance(wanted, str) != (rule not in ("number", "float")):
        return ()
    if rule in TEXTUAL:
        return _textual(rule, str(wanted), words)
    return _shortest(words.made(rule).get((type(wanted), wanted), []))[:MOST]


def _textual(rule: str, wanted: str, words: Words) -> Places:
    places: list[tuple[int, int]] = []
    for begin, end in _exactly(wanted, words.text) if rule == "exact" else _loosely(wanted, words.text):
        place = words.between(begin, end)
        if place is not None and value(rule, words.text[begin:end]) == wanted:
            places.append(place)
        if len(places) == MOST:
            break
    return tuple(places)


def _exactly(wanted: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(wanted)
    while at >= 0:
        yield at, at + len(wanted)
        at = text.find(wanted, at + 1)


def _loosely(wanted: str, text: str) -> Iterator[tuple[int, int]]:
    """Whatever the case and the white space."""
    parts = wanted.split()
    for match in re.finditer(f"(?=({SPACE.join(map(re.escape, parts))}))", text, re.IGNORECASE) if parts else ():
        yield match.span(1)


def _shortest(places: Sequence[tuple[int, int]]) -> Places:
    """Of places that hold one another, the shortest (digits of "1999," are those of "1999")."""
    return tuple(p for p in places if not any(q != p and p[0] <= q[0] and q[1] <= p[1] for q in places))
