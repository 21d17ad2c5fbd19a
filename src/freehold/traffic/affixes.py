"""Which fixed text do texts share: beginnings by a walk down their sorted order, endings by the same walk backwards.

Text: a ... \\n\\nSummarise it.     Text: | a ... | \\n\\nSummarise it.        what `beginning` and `ending` keep of
Text: b ... \\n\\nSummarise it.                                             the shared characters: up to a delimiter
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "LEAST", "LONG", "Branch", "beginning", "branches", "ending", "fixed_beginning", "fixed_ending", "framed",
    "masked",
]  # fmt: skip

LEAST = 5  # different texts that must share a beginning or ending before it counts as fixed
LONG = 8  # words shared by chance hardly ever reach this
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]{2,}")
OPTION = re.compile(r"\s*(?:[-*\u2022]|\(?\w{1,2}[).])\s")
STOPS = (":", "\n", ". ", "? ", "! ", "\uff1a", "\u3002")
NEAR = 500  # characters from either end
NUMBER = re.compile(r"\d+")
LONG_DAYS = (
    "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|January|February|March|April|May|June|July|August|"
    "September|October|November|December"
)
SHORT_NAMES = ("Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sept", "Sep", "Oct", "Nov", "Dec")
SHORT_DAYS = "|".join(name + r"(?=\.? ?\d)" for name in SHORT_NAMES)
# every choice begins with a letter, so that only places with one of those are tried: seven times as fast
DAY = re.compile(rf"(?:{LONG_DAYS}|{SHORT_DAYS})(?=[ ,.\d])")


@lru_cache(4096)
def masked(text: str) -> str:
    """The text with its numbers as 0, and near its ends the names of days and months: a date is the same every day."""
    if len(text) > 4 * NEAR:
        text = DAY.sub("0", text[:NEAR]) + text[NEAR:-NEAR] + DAY.sub("0", text[-NEAR:])
    else:
        text = DAY.sub("0", text)
    return NUMBER.sub("0", text)


@dataclass(frozen=True, slots=True)
class Branch:
    """Texts [low:high] of a sorted list that share `fixed` text, longer than that of all around them."""

    low: int
    high: int
    fixed: str


def branches(
    texts: Sequence[str], low: int, high: int, fixed: str, least: int, strong: int, *, turned: bool = False
) -> list[Branch]:
    """The widest parts of sorted texts[low:high] that share clearly more than `fixed`.

    A part counts from `least` texts on, or from `strong` where it shares LONG words more. `turned`: the texts stand
    backwards, and so does what they share.
    """
    found: list[Branch] = []
    pending = [(low, high)]
    while pending:
        start, end = pending.pop()
        common = _shared(texts[start], texts[end - 1])
        kept = _fixed(common, turned)
        more = kept[len(fixed) :]
        whole = start > low or end < high
        if whole and end - start >= (strong if _long(more, turned) else least) and _clear(more, end - start, turned):
            found.append(Branch(start, end, kept))
            continue
        pending += [kid for kid in _next(texts, start, end, len(common)) if kid[1] - kid[0] >= min(least, strong)]
    return sorted(found, key=lambda branch: branch.low)


def _long(more: str, turned: bool) -> bool:
    """Is it more than people write alike by chance, be there few of them?"""
    words = len(WORD.findall(more))
    return words >= LONG and (words >= 2 * LONG or more.rstrip(" ")[-1:] in (":", "\n", "\uff1a"))


def _clear(more: str, count: int, turned: bool) -> bool:
    """Is it text that a program wrote? Many words, or a few that end in a delimiter; a list of options is data."""
    words = len(WORD.findall(more))
    if turned and _options(more[::-1]):
        return False
    edge = more[:1] if turned else more.rstrip(" ")[-1:]
    return words >= 3 or edge in (":", "\uff1a") or (words >= 2 and edge == "\n" and count >= 4 * LEAST)


def _options(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return 2 * sum(OPTION.match(line) is not None for line in lines) >= len(lines)


def _next(texts: Sequence[str], low: int, high: int, at: int) -> Iterator[tuple[int, int]]:
    """Ranges of texts[low:high] that have the same character after their first `at`."""
    start = low
    for i in range(low + 1, high + 1):
        if i == high or texts[i][at : at + 1] != texts[start][at : at + 1]:
            if start > low or i < high:
                yield start, i
            start = i


def _shared(one: str, other: str) -> str:
    """The longest common beginning of two texts, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return one[:low]


def _fixed(shared: str, turned: bool) -> str:
    return fixed_ending(shared[::-1])[::-1] if turned else fixed_beginning(shared)


def fixed_beginning(shared: str) -> str:
    """What of a shared beginning is fixed text: up to its last delimiter, or whole words where they are many."""
    cut = max((shared.rfind(stop) + len(stop) for stop in STOPS if stop in shared), default=0)
    words = shared.rfind(" ") + 1
    if len(shared[cut:words].split()) >= LONG:
        return shared[:words]
    tail = shared[cut:]
    return shared[: cut + len(tail) - len(tail.lstrip())]


def fixed_ending(shared: str) -> str:
    """What of a shared ending is fixed text: from its first newline or sentence, or whole words where they are many."""
    lines = shared.find("\n")
    stop = min((at for at in (shared.find(mark) for mark in (". ", "? ", "! ")) if at >= 0), default=-1)
    if stop >= 0 and (lines < 0 or stop + 1 < lines) and len(shared[stop + 2 :].split()) >= 4:
        return shared[stop + 1 :]
    if lines >= 0 and shared[lines:].strip():
        return shared[lines:]
    words = shared.find(" ")
    return shared[words:] if words >= 0 and len(shared[words:].split()) >= LONG else ""


def beginning(texts: Sequence[str]) -> str:
    """The fixed beginning that all texts share."""
    return fixed_beginning(_shared(min(texts), max(texts)))


def ending(texts: Sequence[str]) -> str:
    """The fixed ending that all texts share, where enough different ones do."""
    turned = {text[::-1] for text in texts}
    return fixed_ending(_shared(min(turned), max(turned))[::-1]) if len(turned) >= LEAST else ""


def framed(texts: Sequence[str]) -> tuple[str, str]:
    """What all texts begin and end with, cut where no word is cut."""
    turned = [text[::-1] for text in texts]
    before, after = _shared(min(texts), max(texts)), _shared(min(turned), max(turned))[::-1]
    cut = next((i for i in range(len(before), 0, -1) if not before[i - 1].isalnum()), 0)
    start = next((i for i in range(len(after)) if not after[i].isalnum()), len(after))
    return before[:cut], after[start:]
