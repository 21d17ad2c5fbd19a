"""Counts by name, bounded: however many different names a log makes up, some thousand are told apart.

    {"temperature": 812, "tools": 40, ...} + others

Above `most` names only those are kept whose hash begins with a 0 bit, then 00, 000, ... Which they are hangs on the
names alone, not on which came first, and each has its whole count: parts of a log add up alike, however it is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

__all__ = ["OTHERS", "Counts", "outside"]

MOST = 4096
SHOWN = 500
LENGTH = 80
OTHERS = "others"


def outside(name: str, bits: int) -> bool:
    """Is a name outside the sample of those whose hash begins with `bits` zero bits?"""
    if not bits:
        return False
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - bits) != 0


class Counts(msgspec.Struct):
    """How often each name came, in order of first appearance; `others` counts those outside the sample together."""

    most: int = msgspec.field(default_factory=lambda: MOST)
    counts: dict[str, int] = {}
    bits: int = 0
    others: int = 0

    def add(self, name: str, times: int = 1) -> None:
        if name in self.counts:
            self.counts[name] += times
        elif outside(name, self.bits):
            self.others += times
        else:
            self.counts[name] = times
            while len(self.counts) > self.most:
                self._keep(self.bits + 1)

    def add_all(self, names: Iterable[str], each: int = 1) -> None:
        """These names, cut to a length that can be shown; `each` of 0 only makes them known."""
        for name, times in Counter(name[:LENGTH] for name in names).items():
            self.add(name, times * each)

    def merge(self, later: Counts) -> None:
        self.others += later.others
        if later.bits > self.bits:
            self._keep(later.bits)
        for name, times in later.counts.items():
            self.add(name, times)

    def _keep(self, bits: int) -> None:
        self.bits = bits
        for name in [name for name in self.counts if outside(name, bits)]:
            self.others += self.counts.pop(name)

    def ranked(self) -> list[str]:
        """The most frequent first, equal ones in order of first appearance."""
        return sorted(self.counts, key=lambda name: -self.counts[name])

    def shown(self, most: int = SHOWN) -> dict[str, int]:
        """The most frequent names first, equal ones by name; what is beyond them together as "others"."""
        ordered = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
        rest = self.others + sum(times for _, times in ordered[most:])
        return dict(ordered[:most]) | ({OTHERS: rest} if rest else {})
