"""Counts by name, bounded: however many different names a log makes up, some thousand are told apart.

    {"temperature": 812, "tools": 40, ...} + others

Which names are told apart hangs on their own hashes, not on which came first, so that parts of a log add up alike.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable

import msgspec

__all__ = ["OTHERS", "Names"]

MOST = 4096
SHOWN = 500
LENGTH = 80
OTHERS = "others"


class Names(msgspec.Struct):
    """`counts` has the names whose hash is below `limit`; `others` counts the rest together."""

    counts: dict[str, int] = {}
    limit: int = 1 << 32
    others: int = 0

    def add(self, names: Iterable[str], times: int = 1) -> None:
        for name in names:
            name = name[:LENGTH]
            if name in self.counts:
                self.counts[name] += times
            else:
                self._new(name, times)

    def count(self, names: Iterable[str]) -> None:
        for name, times in Counter(names).items():
            self.add([name], times)

    def _new(self, name: str, times: int) -> None:
        if _hash(name) >= self.limit:
            self.others += times
            return
        self.counts[name] = times
        while len(self.counts) > MOST:
            self._lower(self.limit >> 1)

    def _lower(self, limit: int) -> None:
        self.limit = limit
        for name in [name for name in self.counts if _hash(name) >= limit]:
            self.others += self.counts.pop(name)

    def merge(self, later: Names) -> None:
        self.others += later.others
        if later.limit < self.limit:
            self._lower(later.limit)
        for name, times in later.counts.items():
            self.add([name], times)

    def shown(self, most: int = SHOWN) -> dict[str, int]:
        """The most frequent names first; what is beyond them together as "others"."""
        ordered = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
        rest = self.others + sum(times for _, times in ordered[most:])
        return dict(ordered[:most]) | ({OTHERS: rest} if rest else {})


def _hash(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))
