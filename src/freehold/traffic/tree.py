"""Requests parted where their texts begin alike, unless what they share is a value and not a template.

    sorted texts  "Label: a..", "Label: b..", "Sum up: c..", "Sum up: d.."   → Group "Label: " | Group "Sum up: " | rest

A shared beginning is either a template or a value that comes again (a date, a retrieved passage, the opening words of a
puzzle); `Tree._values` says which: values are many, or stand where a field was announced ("Q:"), and what is asked and
answered under them is alike. Two parts whose answers differ are never joined. Endings are the same walk backwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from freehold.traffic.affixes import LEAST, LONG, Branch, branches, fixed_beginning, fixed_ending
from freehold.traffic.alike import Asked, alike, differ

__all__ = ["COVER", "MARK", "Group", "Row", "Texts", "Tree", "asked_of", "like"]

Texts = tuple[str, ...]
FEW = 12  # templates below one shared text; more are values of a field
TINY = 20  # so many small parts are values: passages that each came a few times
COVER = 0.9
FIELD = re.compile(r"^\W{0,4}\w[\w ()'-]{0,40}:|[\"'`]{3}\s*$")
MARK = re.compile(r"(?m)^\W{0,4}\w[\w ()'-]{0,40}:")


class Row(NamedTuple):
    """A request's texts and the answer that it got first."""

    texts: Texts
    answer: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share a beginning, an ending, or lines in between. Where they share nothing, no text is fixed.

    `around` are all the rows that share the beginning, those of narrower groups too.
    """

    rows: tuple[Row, ...]
    begins: bool = False
    ends: bool = False
    framed: bool = False
    around: tuple[Row, ...] = ()
    inside: tuple[str, ...] = ()


Found = tuple[list[Row], str, Sequence[Row]]  # rows, what they begin with, all rows that do


class Tree:
    """Rows sorted by a text of theirs, and parted where it begins alike."""

    def __init__(
        self,
        rows: Sequence[Row],
        key: Callable[[Row], str],
        *,
        known: bool = False,
        turned: bool = False,
        system: bool = False,
    ) -> None:
        pairs = sorted(((key(row), i) for i, row in enumerate(rows)))
        self.texts = [text for text, _ in pairs]
        self.rows = [rows[i] for _, i in pairs]
        self.known, self.turned, self.system = known, turned, system

    def parts(self) -> tuple[list[Group], list[Row]]:
        """Groups that share a beginning, and the rows that share none."""
        total = len(self.rows)
        if total < LEAST:
            return [], self.rows
        found, loose = self._explore(0, total, "", self.known)
        return [self._group(part) for part in found], loose

    def _group(self, part: Found) -> Group:
        rows, fixed, around = part
        pieces = tuple(piece for piece in fixed.split("0")[1:] if len(piece.split()) >= 2)
        inside = () if self.turned or self.system else pieces
        return Group(tuple(rows), begins=True, around=tuple(around), inside=inside)

    def _explore(self, low: int, high: int, fixed: str, known: bool) -> tuple[list[Found], list[Row]]:
        """Groups inside [low:high], whose texts all begin with `fixed`, and what is left over."""
        size = high - low
        if not fixed:
            shared = self._shared(low, high)
            fixed = shared if len(shared.split()) >= 2 or shared.strip().endswith(":") else ""
        weak = max(LEAST, round((0.05 if fixed or known else 0.005) * size))
        strong = max(LEAST, round(0.02 * size)) if fixed or known else LEAST
        if self.system:
            weak = strong = LEAST
        elif self.turned:
            strong = max(2 * LEAST, strong)
        parts = branches(self.texts, low, high, fixed, weak, strong, turned=self.turned)
        if not (fixed or known):
            parts = self._large(parts, size)
        elif self._values(parts, low, high, fixed):
            parts = []
        groups: list[Found] = []
        rest: list[Row] = []
        at = low
        for part in parts:
            rest += self.rows[at : part.low]
            below, left = self._explore(part.low, part.high, part.fixed, True)
            groups += below
            rest += left
            at = part.high
        rest += self.rows[at:high]
        if fixed and rest:
            return [*groups, (rest, fixed, self.rows[low:high])], []
        return groups, rest

    def _shared(self, low: int, high: int) -> str:
        one, other = self.texts[low], self.texts[high - 1]
        least = min(len(one), len(other))
        common = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), least)
        return fixed_ending(one[:common][::-1])[::-1] if self.turned else fixed_beginning(one[:common])

    def _large(self, parts: list[Branch], size: int) -> list[Branch]:
        """Where many small parts stand side by side, they are values."""
        large = [part for part in parts if part.high - part.low >= max(2 * LEAST, size / 100)]
        return large if len(parts) - len(large) > TINY else parts

    def _values(self, parts: list[Branch], low: int, high: int, fixed: str) -> bool:
        """Are these shared beginnings values of a field, not templates of their own?"""
        if not parts:
            return True
        asked = [self._own(part.low, part.high, len(fixed)) for part in parts]
        covered = sum(part.high - part.low for part in parts)
        size = high - low
        if len(parts) == 1:
            inside = {*range(parts[0].low, parts[0].high)}
            asked.append([a for i, a in enumerate(self._own(low, high, len(fixed)), low) if i not in inside])
        again = self._in_field(fixed, parts)
        few = len(parts) <= FEW if again < 2 else len(parts) <= 4 and min(map(len, asked)) >= 0.15 * size
        if few and _mostly(asked, differ):
            return False
        if len(parts) == 1:
            return bool(fixed) or like(asked)
        if len(parts) > FEW:
            return like(asked, 0.4)
        if not fixed:
            return like(asked)
        if covered < COVER * size:
            return True
        if self.known and not self.turned and like(asked, 0.4):
            return True
        return again == 2 or (again == 1 and like(asked, 0.4 if len(fixed.split()) > 2 * LONG else 0.6))

    def _own(self, low: int, high: int, cut: int) -> list[Asked]:
        if self.system:
            return asked_of(self.rows[low:high])
        texts = (text[cut:] for text in self.texts[low:high])
        return [
            Asked(text[::-1] if self.turned else text, row.answer)
            for text, row in zip(texts, self.rows[low:high], strict=True)
        ]

    def _in_field(self, fixed: str, parts: list[Branch]) -> int:
        """Does the fixed text end inside a field ("Q: ...") while the parts announce no further one? 2: that field came
        before, as it does where examples stand inside."""
        field = None if self.turned else FIELD.match(fixed.rstrip(" ").rsplit("\n", 1)[-1])
        if not field:
            return 0
        name = field.group().strip()
        earlier = [match.group().strip() for match in MARK.finditer(fixed)]
        later = [[mark.strip() for mark in MARK.findall(part.fixed[len(fixed) :])] for part in parts]
        if earlier.count(name) > 1 or all(name in marks for marks in later):
            return 2
        return 1 if all(mark in earlier for marks in later for mark in marks) else 0


def _mostly(parts: list[list[Asked]], test: Callable[[list[Asked], list[Asked]], bool]) -> bool:
    """Does the test hold for most pairs of the largest parts?"""
    largest = sorted(parts, key=len, reverse=True)[:5]
    pairs = [(a, b) for i, a in enumerate(largest) for b in largest[:i]]
    return sum(test(a, b) for a, b in pairs) > len(pairs) / 2


def like(parts: list[list[Asked]], least: float = 0.55) -> bool:
    return max(map(len, parts)) < 3 * LEAST or _mostly(parts, partial(alike, least=least))


def asked_of(rows: Sequence[Row]) -> list[Asked]:
    return [Asked(row.texts[-1], row.answer) for row in rows]
