"""Near-duplicates: texts whose word sets have Jaccard >= 0.9, joined transitively.

    "Where is my card?"          {where, is, my, card}   0
    "where is my card"           {where, is, my, card}   0     the same set
    "what is my balance"         {what, is, my, balance} 1

Exact, without comparing all pairs. Two sets of s and t words reach the limit when they share o = 9 (s + t) / 19 of
them, rounded up. So their sizes are near; with words ordered rarest first they share one of their first few (the
prefix filter: Bayardo, Ma and Srikant 2007); and they differ in at most s + t - 2 o words, so that 128-bit parity
sketches of them differ in no more bits. Only what passes all three, and is not joined yet, is compared.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["near_duplicates", "normalise"]

WORD = re.compile(r"\w+")
Ints = npt.NDArray[np.int64]
Words = frozenset[str]


def normalise(text: str) -> str:
    """Words in order, case folded, punctuation and spacing dropped; a text without words stays, stripped."""
    return " ".join(WORD.findall(text.casefold())) or text.strip()


def near_duplicates(texts: Sequence[str]) -> Ints:
    """A group number per text, counted from 0 in order of first appearance, [len(texts)]."""
    number: dict[Words, int] = {}
    which = [number.setdefault(frozenset(normalise(text).split(" ")), len(number)) for text in texts]
    joined = _join(list(number)).tolist()
    groups: dict[int, int] = {}
    return np.array([groups.setdefault(joined[i], len(groups)) for i in which], dtype=np.int64)


def _join(sets: list[Words]) -> Ints:
    """A component number for each of these different sets, equal where pairs with Jaccard >= 0.9 connect them."""
    order = sorted(range(len(sets)), key=lambda i: len(sets[i]))
    ranked = [sets[i] for i in order]
    sizes = np.array([len(words) for words in ranked], dtype=np.int64)
    index, probes = _prefixes(ranked)
    sketches = _sketches(ranked)
    parts = _Components(len(sets))
    looked = np.full(len(sets), -1, dtype=np.int64)  # by which set each was looked at last
    for i, words in enumerate(ranked):
        least, most = _partners(len(words))
        start = int(np.searchsorted(sizes, least))
        end = min(i, int(np.searchsorted(sizes, most, side="right")))
        for word in probes[i] if start < end else ():
            listed = index[word]
            near = listed[np.searchsorted(listed, start) : np.searchsorted(listed, end)]
            near = near[(parts.of[near] != parts.of[i]) & (looked[near] != i)]
            looked[near] = i
            differing = np.bitwise_count(sketches[near] ^ sketches[i]).sum(axis=1)
            near = near[differing <= _most_differing(len(words), sizes[near])]
            while len(near):
                if 19 * len(words & ranked[near[0]]) >= 9 * (len(words) + sizes[near[0]]):
                    parts.join(i, int(near[0]))
                near = near[1:]
                near = near[parts.of[near] != parts.of[i]]
    found = np.empty(len(sets), dtype=np.int64)
    found[order] = parts.of
    return found


def _overlap(total: Ints) -> Ints:
    """The words that two sets of `total` words together must share."""
    return -(-9 * total // 19)


def _most_differing(size: int, sizes: Ints) -> Ints:
    return size + sizes - 2 * _overlap(size + sizes)


@lru_cache(4096)
def _partners(size: int) -> tuple[int, int]:
    """The smallest and largest size, up to `size`, of another set that can reach the limit; (1, 0) where none can."""
    sizes = np.arange(-(-9 * size // 10), size + 1)
    able = sizes[_most_differing(size, sizes) >= np.maximum(1, size - sizes)]
    return (int(able[0]), int(able[-1])) if len(able) else (1, 0)


def _prefixes(ranked: list[Words]) -> tuple[dict[str, Ints], list[list[str]]]:
    """Which sets each word is among the first of, ascending, and the first words to look up for each set.

    A larger set looks up more words than a smaller one is listed under; sets without possible partners do neither.
    """
    counts = Counter(word for words in ranked for word in words)
    listed: defaultdict[str, list[int]] = defaultdict(list)
    probes: list[list[str]] = []
    for i, words in enumerate(ranked):
        size = len(words)
        rarest = sorted(words, key=lambda word: (counts[word], word))
        for word in rarest[: size - -(-18 * size // 19) + 1]:
            listed[word].append(i)
        probes.append(rarest[: size - -(-9 * size // 10) + 1])
    index = defaultdict(lambda: np.empty(0, np.int64), {word: np.array(at, np.int64) for word, at in listed.items()})
    return index, probes


def _sketches(ranked: list[Words]) -> npt.NDArray[np.uint64]:
    """128 bits a set, [sets, 2]: each word turns one of them over, so sets differ in at least as many words as bits."""
    bits: dict[str, int] = {}
    found = np.zeros((len(ranked), 2), dtype=np.uint64)
    for i, words in enumerate(ranked):
        sketch = 0
        for word in words:
            if word not in bits:
                digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=1).digest()
                bits[word] = 1 << (digest[0] & 127)
            sketch ^= bits[word]
        found[i] = sketch & (2**64 - 1), sketch >> 64
    return found


class _Components:
    """Which component each set is in; joining renumbers the smaller one, so `of` is always right."""

    def __init__(self, count: int) -> None:
        self.of = np.arange(count, dtype=np.int64)
        self._members = [[i] for i in range(count)]

    def join(self, one: int, other: int) -> None:
        small, large = sorted((int(self.of[one]), int(self.of[other])), key=lambda part: len(self._members[part]))
        self.of[self._members[small]] = large
        self._members[large] += self._members[small]
        self._members[small] = []
