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
BATCH = 512  # texts whose words are hashed together: what a processor's cache holds
SHORT = 64  # bytes of a word
PLAIN = bytes(ord(chr(c).lower()) if c < 128 and (chr(c).isalnum() or c == ord("_")) else ord(" ") for c in range(256))
TABLE = np.array([zlib.crc32(bytes([c ^ 255])) ^ 0xFF000000 for c in range(256)], np.uint32)  # a byte's step of CRC-32
NONE = b"\x9d\x0a\xd9\x6d"  # has the CRC-32 of an empty word
Draws = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Text = tuple[int, int, str]  # its number, its task, itself


class NearTally(msgspec.Struct):
    """Different texts by their number, those with a draw below `limit`: task, text, smallest draw (it travels along, so
    that who merges need not work it out). `calls` counts all calls that have a text."""

    limit: int = FULL
    texts: dict[int, tuple[int, str, int]] = {}
    size: int = 0
    calls: int = 0
    long: int = 0

    def add(self, texts: Sequence[Text]) -> None:
        fitting = [one for one in texts if len(one[2]) <= LONGEST]
        self.calls += len(fitting)
        self.long += len(texts) - len(fitting)
        new = {one[0]: one for one in fitting if one[0] not in self.texts and _least.get(one[0], 0) < self.limit}
        self._take(zip(new, _with_least([*new.values()]), strict=True))

    def merge(self, later: NearTally) -> None:
        self.calls += later.calls
        self.long += later.long
        if later.limit < self.limit:
            self._lower(later.limit)
        self._take(later.texts.items())

    def _take(self, texts: Iterable[tuple[int, tuple[int, str, int]]]) -> None:
        for n, one in texts:
            if one[2] < self.limit and n not in self.texts:
                self.texts[n] = one
                self.size += len(one[1])
        while self.limit and (len(self.texts) > MOST or self.size > MOST_SIZE):
            self._lower(self.limit >> 1)

    def _lower(self, limit: int) -> None:
        self.limit = limit
        self.texts = {n: one for n, one in self.texts.items() if one[2] < limit}
        self.size = sum(len(text) for _, text, _ in self.texts.values())

    def share(self, different: int) -> Measure:
        """The share of calls whose text nearly repeats an earlier one of its task. `different` is how many different
        texts the log has, counted elsewhere; a small log needs none."""
        rule = "word-set Jaccard >= 0.9 within a task, joined transitively"
        if not self.calls:
            return Measure(None, n=0, method="no call belongs to a task")
        left = f"; {self.long:,} calls of more than {LONGEST:,} characters left out" if self.long else ""
        if self.limit == FULL:
            repeating = 1.0 - self._groups([one[:2] for one in self.texts.values()]) / self.calls
            return Measure(repeating, n=self.calls, method=f"{rule}; every call looked at, counted{left}")
        return self._estimated(different, rule, left)

    def _estimated(self, different: int, rule: str, left: str) -> Measure:
        """Groups a text, over the samples together; its error is that between the samples, by the jackknife."""
        texts = [(n, task, text) for n, (task, text, _) in self.texts.items()]
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


def _with_least(texts: Sequence[Text]) -> list[tuple[int, str, int]]:
    if len(_least) > 4 * MOST:
        _least.clear()
    unknown = [one for one in texts if one[0] not in _least]
    _least.update(zip([n for n, _, _ in unknown], draws(unknown).min(axis=1).tolist(), strict=True))
    return [(task, text, _least[n]) for n, task, text in texts]


def draws(texts: Sequence[Text]) -> Draws:
    """A number in [0, 2^32) for each text and sample, [texts, SAMPLES]; equal where both first words are."""
    found = np.empty((len(texts), SAMPLES), np.uint64)
    for start in range(0, len(texts), BATCH):  # what fits the processor's cache
        some = texts[start : start + BATCH]
        hashed, starts = _words([text for _, _, text in some])
        task = np.array([task for _, task, _ in some], np.int64).astype(np.uint64)
        for i in range(SAMPLES):
            one, other = (np.minimum.reduceat(_mixed(hashed, 2 * i + j), starts) for j in (1, 2))
            drawn = _mixed(one ^ _mixed(other, 100 + i) ^ _mixed(task, 200 + i), 300 + i) >> np.uint64(32)
            found[start : start + BATCH, i] = drawn
    return found


def _words(texts: Sequence[str]) -> tuple[Draws, Ints]:
    """The CRC-32 of each word of the normalised texts, one text after the other, and where each text begins."""
    spaced = [_spaced(text) for text in texts]
    data = np.frombuffer(b" ".join([b"", *spaced, b""]), np.uint8)
    edges = np.flatnonzero(np.diff(data != ord(" "))) + 1
    begins, ends = edges[::2], edges[1::2]
    starts = np.cumsum([1, *(len(one) + 1 for one in spaced[:-1])])
    return _crc(data, begins, ends - begins), np.searchsorted(begins, starts)


def _spaced(text: str) -> bytes:
    """The words of the normalised text between spaces."""
    if text.isascii():
        found = text.encode().translate(PLAIN)
        if not found.isspace():
            return found
    return b" ".join([word.encode("utf-8", "surrogatepass") or NONE for word in normalise(text).split(" ")])


def _crc(data: npt.NDArray[np.uint8], begins: Ints, sizes: Ints) -> Draws:
    """zlib.crc32 of many short words at once, a byte of each at a time, longest first."""
    short = np.minimum(sizes, SHORT + 1).astype(np.uint8)
    order = np.argsort(short, kind="stable")[::-1]
    at = begins[order]
    state = np.full(len(at), FULL - 1, np.uint32)
    more = len(at) - np.cumsum(np.bincount(short))  # words of more than 0, 1, 2 ... bytes
    for count in more[:SHORT].tolist():
        some = state[:count]
        some[:] = TABLE[(some ^ data[at[:count]]) & 255] ^ (some >> 8)
        at[:count] += 1
    found = np.empty(len(at), np.uint64)
    found[order] = ~state
    for i in np.flatnonzero(sizes > SHORT).tolist():
        found[i] = zlib.crc32(data[begins[i] : begins[i] + sizes[i]].tobytes())
    return found


def _mixed(values: Draws, salt: int) -> Draws:
    """Each value's bits stirred, for each salt otherwise (the finaliser of SplitMix64: Steele et al. 2014)."""
    z = values + np.uint64(salt * 0x9E3779B97F4A7C15 & (1 << 64) - 1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z
