"""How uneven the load is: the busiest second, ten seconds, minute and five minutes over the mean one.

    first call                                            last call
    |-- window --|-- window --|-- window --|-- window --|-- the last, cut --|        peak / mean, in calls and in tokens

Windows are laid out from the first call on, and the mean is over all of them, the empty ones and the last, which the
log's end cuts short, among them. On the two Azure traces of 2023 this gives the figures that are known of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.audit.tallies.spill import Rows
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Load, Measure

__all__ = ["AT_ONCE", "ROW", "WINDOWS", "LoadTally", "tokens_of"]

WINDOWS = (1, 10, 60, 300)  # seconds
ROW = np.dtype([("at", "<f8"), ("input", "<i4"), ("output", "<i4")])
AT_ONCE = 2_000_000  # rows in memory
MOST_TOKENS = (1 << 31) - 1  # read or written in a call; a greater count is an error of the log
UNKNOWN = -1
Rowed = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]


def _rows() -> Rows:
    return Rows(ROW.itemsize)


class LoadTally(msgspec.Struct):
    """When each call came and how many tokens it had, 16 bytes a call, in files of `folder` where they are many."""

    folder: str = ""
    rows: Rows = msgspec.field(default_factory=_rows)
    untimed: int = 0
    tokened: int = 0
    first: float = math.inf
    last: float = -math.inf

    def __post_init__(self) -> None:
        self.rows.folder = self.folder

    def add(self, seen: Sequence[Seen], /) -> None:
        kept = [(one.call.at, *_tokens(one)) for one in seen if one.call.at is not None and one.call.why != "pair"]
        self.untimed += sum(one.call.at is None and one.call.why != "pair" for one in seen)
        if kept:
            rows = np.array(kept, ROW)
            self.tokened += int((rows["input"] >= 0).sum())
            self.first = min(self.first, float(rows["at"].min()))
            self.last = max(self.last, float(rows["at"].max()))
            self.rows.add(rows)

    def merge(self, later: LoadTally, /) -> None:
        self.untimed += later.untimed
        self.tokened += later.tokened
        self.first, self.last = min(self.first, later.first), max(self.last, later.last)
        self.rows.merge(later.rows)

    def span(self) -> tuple[float, float] | tuple[None, None]:
        """When the first and the last call came."""
        return (self.first, self.last) if self.first <= self.last else (None, None)

    def load(self) -> tuple[Load, ...]:
        """A Load for each of WINDOWS. Of a window that is longer than the log, nothing is known."""
        span = self.last - self.first
        fitting = [window for window in WINDOWS if span >= window]
        peaks = self._peaks(fitting)
        return tuple(
            self._measured(window, *peaks[window]) if window in peaks else _unknown(window, self._why(window))
            for window in WINDOWS
        )

    def _why(self, window: int) -> str:
        if not self.rows.count:
            return "no call of the log says when it came"
        return f"the log spans {self.last - self.first:,.3g} s, less than the window of {window:,} s"

    def _measured(self, window: int, busiest: tuple[int, int], most: tuple[int, int], calls: int, tokens: int) -> Load:
        windows = int((self.last - self.first) // window) + 1
        method = (
            f"the busiest of {windows:,} windows of {window:,} s, laid out from the first call, over their mean; "
            f"counted, not estimated{f'; {self.untimed:,} calls say no time' if self.untimed else ''}"
        )
        untold = calls - self.tokened
        told = method + (f"; {untold:,} calls say no tokens" if untold else "")
        at = self.first + window * (most[1] if tokens else busiest[1])
        in_tokens = Measure(most[0] * windows / tokens, n=windows, unit="x", method=told) if tokens else None
        return Load(
            window=window,
            calls=Measure(busiest[0] * windows / calls, n=windows, unit="x", method=method),
            tokens=in_tokens or Measure(None, n=0, unit="x", method="no call of the log says its tokens"),
            at=at,
        )

    def _peaks(self, windows: Sequence[int]) -> dict[int, tuple[tuple[int, int], tuple[int, int], int, int]]:
        """Of each window length: (most calls, which window), (most tokens, which window), all calls, all tokens."""
        found: dict[int, tuple[tuple[int, int], tuple[int, int], int, int]] = {}
        for at, calls, tokens in self._seconds() if windows else ():
            for window in windows:
                which, starts = np.unique(at // window, return_index=True)
                summed = np.add.reduceat(calls, starts), np.add.reduceat(tokens, starts)
                here = (_peak(which, summed[0]), _peak(which, summed[1]), int(calls.sum()), int(tokens.sum()))
                before = found.get(window, ((0, 0), (0, 0), 0, 0))
                found[window] = (
                    max(before[0], here[0], key=_busier),
                    max(before[1], here[1], key=_busier),
                    before[2] + here[2],
                    before[3] + here[3],
                )
        return found

    def _seconds(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Every second that has calls, ascending, with its calls and tokens; some of the five minutes at a time, so
        that a long log is not held at once."""
        passes = self.rows.count // AT_ONCE + 1
        for turn in range(passes):
            seconds, tokens = [], []
            for group in self.rows.groups(ROW, AT_ONCE):
                second = (group["at"] - self.first).astype(np.int64)
                mine = second // max(WINDOWS) % passes == turn
                seconds.append(second[mine])
                tokens.append(tokens_of(group[mine]))
            all_seconds, all_tokens = np.concatenate(seconds), np.concatenate(tokens)
            if len(all_seconds):
                order = np.argsort(all_seconds, kind="stable")
                at, starts, counts = np.unique(all_seconds[order], return_index=True, return_counts=True)
                yield at, counts.astype(np.int64), np.add.reduceat(all_tokens[order], starts)


def tokens_of(rows: Rowed) -> Ints:
    """Each call's tokens, read and written; 0 where they aren't known."""
    both: Ints = np.maximum(rows["input"], 0).astype(np.int64) + np.maximum(rows["output"], 0)
    return both


def _tokens(seen: Seen) -> tuple[int, int]:
    said = seen.tokens
    if said is None:
        return UNKNOWN, UNKNOWN
    return min(MOST_TOKENS, said.prompt), min(MOST_TOKENS, said.completion)


def _busier(peak: tuple[int, int]) -> tuple[int, int]:
    return peak[0], -peak[1]  # of equal ones the earlier


def _peak(which: Ints, sums: Ints) -> tuple[int, int]:
    best = int(np.argmax(sums))
    return int(sums[best]), int(which[best])


def _unknown(window: int, why: str) -> Load:
    return Load(window, Measure(None, unit="x", method=why), Measure(None, unit="x", method=why))
