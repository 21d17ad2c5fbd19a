"""Counts over the last seconds, in slots of one second: the present one and those before it."""

from __future__ import annotations

__all__ = ["Window"]


class Window:
    """Two counts a slot over `seconds` slots. `now` is monotonic, in seconds; a clock that steps back counts into the
    newest slot."""

    __slots__ = ("_first", "_newest", "_second", "_seconds", "_slots")

    def __init__(self, seconds: int = 10) -> None:
        self._seconds = seconds
        self._slots = [[0, 0] for _ in range(seconds)]
        self._newest: int | None = None
        self._first = self._second = 0

    def add(self, now: float, first: int = 0, second: int = 0) -> None:
        slot = self._at(now)
        slot[0] += first
        slot[1] += second
        self._first += first
        self._second += second

    def sums(self, now: float) -> tuple[int, int]:
        self._at(now)
        return self._first, self._second

    def clear(self) -> None:
        for slot in self._slots:
            slot[0] = slot[1] = 0
        self._first = self._second = 0

    def _at(self, now: float) -> list[int]:
        """The slot of `now`, the ones in between emptied."""
        second = int(now)
        if self._newest is None:
            self._newest = second
        elif second > self._newest:
            for passed in range(self._newest + 1, min(second, self._newest + self._seconds) + 1):
                slot = self._slots[passed % self._seconds]
                self._first -= slot[0]
                self._second -= slot[1]
                slot[0] = slot[1] = 0
            self._newest = second
        return self._slots[self._newest % self._seconds]
