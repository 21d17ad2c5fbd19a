"""Near-duplicates: texts whose word sets have Jaccard >= 0.9, joined transitively.

    "Where is my card?"          {where, is, my, card}   0
    "where is my card"           {where, is, my, card}   0     the same set
    "what is my balance"         {what, is, my, balance} 1

Exact, without comparing all pairs: the prefix filter of a set-similarity join (Bayardo, Ma and Srikant 2007; Xiao et
al. 2008). With the words of each set ordered rarest first, two sets that reach the limit share one of their first
few words, so only the sets that a short index lists under those words are compared.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["near_duplicates", "normalise"]

WORD = re.compile(r"\w+")


def normalise(text: str) -> str:
    """Words in order, case folded, punctuation and spacing dropped; a text without words stays, stripped."""
    return " ".join(WORD.findall(text.casefold())) or text.strip()


def near_duplicates(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """A group number per text, counted from 0 in order of first appearance, [len(texts)]."""
    number: dict[frozenset[str], int] = {}
    which = [number.setdefault(frozenset(normalise(text).split(" ")), len(number)) for text in texts]
    roots = _join(list(number))
    groups: dict[int, int] = {}
    return np.array([groups.setdefault(roots[i], len(groups)) for i in which], dtype=np.int64)


def _join(sets: list[frozenset[str]]) -> list[int]:
    """The root of each of these different sets after joining all pairs with Jaccard >= 0.9."""
    parent = list(range(len(sets)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    ranked = _rarest_first(sets)
    index: defaultdict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(sets)), key=lambda i: len(sets[i])):
        own, size = sets[i], len(sets[i])
        # x and an earlier, not larger y need |x & y| >= 0.9 |x|: they meet in the first words of x
        for j in {j for word in ranked[i][: size - -(-9 * size // 10) + 1] for j in index[word]}:
            other = len(sets[j])
            if 10 * other >= 9 * size and root(i) != root(j) and 19 * len(own & sets[j]) >= 9 * (size + other):
                parent[root(i)] = root(j)
        for word in ranked[i][: size - -(-18 * size // 19) + 1]:
            index[word].append(i)
    return [root(i) for i in range(len(sets))]


def _rarest_first(sets: list[frozenset[str]]) -> list[list[int]]:
    """Each set as word numbers in ascending order, where a rarer word has a smaller number."""
    counts = Counter(word for words in sets for word in words)
    rank = {word: i for i, (word, _) in enumerate(sorted(counts.items(), key=lambda item: (item[1], item[0])))}
    return [sorted(rank[word] for word in words) for words in sets]
