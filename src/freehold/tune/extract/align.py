"""Which of several places a value was copied from: the row's other values decide, and what stands around a field.

    "from Oslo to Oslo"    {"from": "Oslo", "to": "Oslo"}
    places of both: (1, 2), (3, 4) → the words before them ("from", "to") in rows without a choice say which is which

No place is used twice unless nothing else is left (then the two fields are tagged in different layers); the values of a
list stand in the list's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from math import log

from freehold.tune.extract.spans import Words

__all__ = ["Context", "Item", "Placed", "place"]

Place = tuple[int, int]
Placed = tuple[int, int, int]
TRIED = 512  # combinations of places a row
AGAIN = 6.0  # nats that a word used by two fields costs
PRIOR = 0.2


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a span field (its index), and the places that it may have been copied from."""

    field: int
    places: tuple[Place, ...]


@dataclass(slots=True)
class Context:
    """How often each word stands before and after each field's values, from rows without a choice."""

    seen: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    fields: Counter[int] = field(default_factory=Counter)

    def add(self, items: Sequence[Item], words: Words) -> None:
        for item in items:
            if len(item.places) == 1:
                self.fields[item.field] += 1
                for side, word in enumerate(_around(words, item.places[0])):
                    self.seen[item.field, side, word] += 1

    def fits(self, item: Item, place: Place, words: Words) -> float:
        """log-likelihood of the words around the place."""
        total = self.fields[item.field] + 1.0
        around = enumerate(_around(words, place))
        return sum(log((self.seen[item.field, side, word] + PRIOR) / total) for side, word in around)


def _around(words: Words, place: Place) -> Iterator[str]:
    for at in (place[0] - 1, place[1]):
        inside = 0 <= at < len(words.places)
        yield words.text[words.places[at][0] : words.places[at][1]].lower() if inside else ""


def place(items: Sequence[Item], words: Words, context: Context) -> list[Placed] | None:
    """The best place of each item; None where the values of a list can't stand in its order."""
    best: tuple[float, tuple[Place, ...]] | None = None
    for tried in islice(product(*(item.places for item in items)), TRIED):
        if not _ordered(items, tried):
            continue
        used = Counter(w for a, b in tried for w in range(a, b))
        score = -AGAIN * sum(n - 1 for n in used.values())
        score += sum(context.fits(item, p, words) for item, p in zip(items, tried, strict=True) if len(item.places) > 1)
        if best is None or score > best[0]:
            best = (score, tried)
    if best is None:
        return None
    return [(item.field, *p) for item, p in zip(items, best[1], strict=True)]


def _ordered(items: Sequence[Item], tried: Sequence[Place]) -> bool:
    last: dict[int, int] = {}
    for item, (begin, end) in zip(items, tried, strict=True):
        if begin < last.get(item.field, 0):
            return False
        last[item.field] = end
    return True
