"""Do two parts of a log do one job? By what is asked and what is answered, beside what each part shares with itself.

likeness = overlap across the two / overlap within each       1: as alike as two halves of one part
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

__all__ = ["Asked", "alike", "differ"]

WORD = re.compile(r"\w+|[^\w\s]")
MOST = 200  # of each part are looked at
SHORT = 60
ENOUGH = 8
Bag = Counter[str]


class Asked(NamedTuple):
    """One request's own words and its answer (None: none is known)."""

    text: str
    answer: str | None


def alike(one: Sequence[Asked], other: Sequence[Asked], least: float = 0.55) -> bool:
    """The same words are used and the same answers given, as far as a few calls can show it."""
    return not differ(one, other) and _ratio([a.text for a in one], [a.text for a in other], _words) >= least


def differ(one: Sequence[Asked], other: Sequence[Asked]) -> bool:
    """Do the answers show two jobs? Not of the same kind, or not from the same words."""
    first, second = (_answers(part) for part in (one, other))
    if len(first) < ENOUGH or len(second) < ENOUGH:
        return False
    kinds = [Counter(map(_kind, part)).most_common(1)[0][0] for part in (first, second)]
    if kinds[0] != kinds[1]:
        return True
    if kinds[0] == "short":
        if min(_again(first), _again(second)) < 0.5:  # too many labels to tell by these few calls
            return False
        return _foreign(Counter(first), Counter(second)) >= 0.25
    return _ratio(first, second, _words) < 0.6


def _answers(part: Sequence[Asked]) -> list[str]:
    return [said for said in (one.answer for one in _some(part, 2 * MOST)) if said]


def _some(part: Sequence[Asked], most: int) -> Sequence[Asked]:
    """Evenly spread over the part, which is sorted."""
    return part if len(part) <= most else [part[i * len(part) // most] for i in range(most)]


def _kind(answer: str) -> str:
    if answer.lstrip()[:1] in ("{", "["):
        return "json"
    return "short" if len(answer) <= SHORT and "\n" not in answer else "long"


def _again(answers: Sequence[str]) -> float:
    counts = Counter(answers)
    return sum(n for n in counts.values() if n > 2) / max(1, len(answers))


def _foreign(one: Counter[str], other: Counter[str]) -> float:
    """The share of either's answers that the other would give too, and surely doesn't.

    An answer is missing where it is seen less than a quarter as often as expected, and the Poisson chance of so few
    is below 1 in 1,000 (7 expected, none seen).
    """
    worst = 0.0
    for here, there in ((one, other), (other, one)):
        size, scale = here.total(), there.total() / here.total()
        missing = {a: n * scale for a, n in here.items() if there[a] <= n * scale / 4}
        if sum(missing.values()) >= 7 + 3 * sum(there[a] for a in missing):
            worst = max(worst, sum(here[a] for a in missing) / size)
    return worst


def _words(text: str) -> Iterable[str]:
    return set(WORD.findall(text[:4000]))


def _ratio(one: Sequence[str], other: Sequence[str], parts: Callable[[str], Iterable[str]]) -> float:
    """How alike two parts are, 1 where as much as halves of the same one."""
    (a, b), (c, d) = (_halves(texts, parts) for texts in (one, other))
    within = math.sqrt(_cosine(a, b) * _cosine(c, d))
    across = (_cosine(a, c) + _cosine(b, d) + _cosine(a, d) + _cosine(b, c)) / 4
    return across / within if within else 1.0


def _halves(texts: Sequence[str], parts: Callable[[str], Iterable[str]]) -> tuple[Bag, Bag]:
    some = texts if len(texts) <= MOST else [texts[i * len(texts) // MOST] for i in range(MOST)]
    return tuple(Counter(w for text in some[half::2] for w in parts(text)) for half in (0, 1))  # type: ignore[return-value]


def _cosine(one: Bag, other: Bag) -> float:
    size = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return sum(n * other[word] for word, n in one.items()) / size if size else 0.0
