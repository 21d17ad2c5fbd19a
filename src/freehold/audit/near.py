"""How many calls nearly repeat an earlier one of their task: exactly, or in a log of many texts from a sample of them.

    30,000 texts or fewer  ─near_duplicates→ groups, exactly
    more                   ─eight samples, each by two of a text's words→ groups a text, times the texts there are

A sample of single texts would part near-duplicates from each other. So each of the eight samples takes a text by its
first word in each of two random orders of all words (min-hash: Broder 1997): texts whose word sets have Jaccard J share
both with a chance of J^2, so pairs that just count (0.9) are together in 0.81 of cases. What is taken hangs on the
texts alone, not on how the log is cut.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.measure import share
from freehold.nouns import Measure
from freehold.traffic.groups import near_duplicates, normalise

__all__ = ["NearTally"]

SAMPLES = 8
MOST = 30_000  # texts
MOST_SIZE = 32_000_000  # characters in all
COMPARED = 16_000  # texts in all samples together
LONGEST = 100_000  # characters of a text that is looked at
TOGETHER = 0.81  # least chance that two texts of Jaccard 0.9 are sampled together
T7 = 2.3646  # 97.5 % point of Student's t with SAMPLES - 1 degrees of freedom
FULL = 1 << 32
Draws = npt.NDArray[np.uint64]
Text = tuple[int, int, str]  # its number, its task, itself


class NearTally(msgspec.Struct):
    """Different texts by their number, those with a draw below `limit`; `calls` counts all calls that have a text."""

    limit: int = FULL
    texts: dict[int, tuple[int, str]] = {}
    size: int = 0
    calls: int = 0
    long: int = 0

    def add(self, texts: Sequence[Text]) -> None:
        fitting = [one for one in texts if len(one[2]) <= LONGEST]
        self.calls += len(fitting)
        self.long += len(texts) - len(fitting)
        self._take([one for one in fitting if one[0] not in self.texts])

    def merge(self, later: NearTally) -> None:
        self.calls += later.calls
        self.long += later.long
        if later.limit < self.limit:
            self._lower(later.limit)
        self._take([(n, task, text) for n, (task, text) in later.texts.items() if n not in self.texts])

    def _take(self, texts: Iterable[Text]) -> None:
        for n, task, text in self._drawn(texts):
            if n not in self.texts:
                self.texts[n] = task, text
                self.size += len(text)
        while self.limit and (len(self.texts) > MOST or self.size > MOST_SIZE):
            self._lower(self.limit >> 1)

    def _drawn(self, texts: Iterable[Text]) -> list[Text]:
        """Those that are in any of the samples."""
        found = list(texts)
        if self.limit == FULL:
            return found
        if len(_least) > 4 * MOST:
            _least.clear()
        unknown = [one for one in found if one[0] not in _least]
        if unknown:
            _least.update(zip([n for n, _, _ in unknown], draws(unknown).min(axis=1).tolist(), strict=True))
        return [one for one in found if _least.get(one[0], FULL) < self.limit]

    def _lower(self, limit: int) -> None:
        self.limit = limit
        kept = self._drawn((n, task, text) for n, (task, text) in self.texts.items())
        self.texts = {n: (task, text) for n, task, text in kept}
        self.size = sum(len(text) for _, _, text in kept)

    def share(self, different: int) -> Measure:
        """The share of calls whose text nearly repeats an earlier one of its task. `different` is how many different
        texts the log has, counted elsewhere; a small log needs none."""
        rule = "word-set Jaccard >= 0.9 within a task, joined transitively"
        if not self.calls:
            return Measure(None, n=0, method="no call belongs to a task")
        left = f"; {self.long:,} calls of more than {LONGEST:,} characters left out" if self.long else ""
        if self.limit == FULL:
            repeating = 1.0 - self._groups(self.texts.values()) / self.calls
            return Measure(repeating, n=self.calls, method=f"{rule}; every call looked at, counted{left}")
        return self._estimated(different, rule, left)

    def _estimated(self, different: int, rule: str, left: str) -> Measure:
        """Groups a text, over the samples together; its error is that between the samples, by the jackknife."""
        texts = [(n, task, text) for n, (task, text) in self.texts.items()]
        drawn = draws(texts) if texts else np.zeros((0, SAMPLES), np.uint64)
        limit = self.limit
        while (drawn < limit).sum() > COMPARED:
            limit >>= 1
        inside = drawn < limit
        sizes = inside.sum(axis=0)
        if (sizes == 0).sum() > SAMPLES - 2:
            return Measure(None, n=self.calls, method=f"{rule}; too few texts could be kept")
        groups = np.array([self._groups(texts[i][1:] for i in np.flatnonzero(mine)) for mine in inside.T])
        ratio = float(groups.sum() / sizes.sum())
        without = (groups.sum() - groups) / (sizes.sum() - sizes)
        error = T7 * float(np.sqrt((SAMPLES - 1) / SAMPLES * ((without - without.mean()) ** 2).sum()))
        looked_at = int(inside.any(axis=1).sum())
        joined = share(round((1.0 - ratio) * looked_at), looked_at)  # a floor: where samples don't differ, by chance
        most = max(1.0 - ratio + error, joined.high or 0.0) / TOGETHER  # pairs that belong together may be parted
        least = max(0.0, min(1.0 - ratio - error, joined.low or 0.0))
        again = different / self.calls
        low, high = 1.0 - (1.0 - least) * again, 1.0 - max(1.0 / different, 1.0 - most) * again
        method = (
            f"{rule}; {SAMPLES} samples, {int(sizes.sum()):,} texts in all, that keep near-duplicates together, of "
            f"{different:,} different ones; 95 % by the jackknife over samples, and for pairs that were parted{left}"
        )
        return Measure(1.0 - ratio * again, low, high, self.calls, "share", method)

    @staticmethod
    def _groups(texts: Iterable[tuple[int, str]]) -> int:
        of_task: defaultdict[int, list[str]] = defaultdict(list)
        for task, text in texts:
            of_task[task].append(text)
        return sum(int(near_duplicates(found).max()) + 1 for found in of_task.values())


_least: dict[int, int] = {}
"""The smallest draw of a text by its number: what was worked out a while ago. It changes no figure."""


def draws(texts: Sequence[Text]) -> Draws:
    """A number in [0, 2^32) for each text and sample, [texts, SAMPLES]; equal where both first words are."""
    words = [[*map(_word, {*normalise(text).split(" ")})] for _, _, text in texts]
    starts = np.cumsum([0, *(len(found) for found in words[:-1])])
    hashed = np.array([word for found in words for word in found], np.uint64)
    task = np.array([task for _, task, _ in texts], np.int64).astype(np.uint64)
    found = np.empty((len(texts), SAMPLES), np.uint64)
    for i in range(SAMPLES):
        one, other = (np.minimum.reduceat(_mixed(hashed, 2 * i + j), starts) for j in (1, 2))
        found[:, i] = _mixed(one ^ _mixed(other, 100 + i) ^ _mixed(task, 200 + i), 300 + i) >> np.uint64(32)
    return found


@lru_cache(maxsize=1 << 17)
def _word(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def _mixed(values: Draws, salt: int) -> Draws:
    """Each value's bits stirred, for each salt otherwise (the finaliser of SplitMix64: Steele et al. 2014)."""
    z = values + np.uint64(salt * 0x9E3779B97F4A7C15 & (1 << 64) - 1)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
