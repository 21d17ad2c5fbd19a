"""The log's busiest hour, call by call, kept for the plan that plays it against machines.

    |- minute -|- minute -|- ... -|          the 60 minutes in a row with the most tokens
               |== at, input, output of each call ==|  ─→ arrivals.safetensors

It is picked from the rows that the load is counted from (load.py), so a call costs nothing more. A log of under an hour
is kept whole. Of more than 200,000 calls every so many-th is kept, and the file says what share that is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from freehold.audit.tallies.load import AT_ONCE, ROW, LoadTally, tokens_of
from freehold.project.arrivals import Arrivals, write_arrivals

__all__ = ["MOST", "busiest", "keep"]

MOST = 200_000  # calls: 3.2 MB
MINUTES = 60
Ints = npt.NDArray[np.int64]


def keep(load: LoadTally, path: Path, source: str) -> None:
    """Write the busiest hour; a log without times or tokens leaves no file, nor one of an earlier log. Raises
    StorageFailed."""
    found = busiest(load, source)
    if found is None:
        path.unlink(missing_ok=True)
    else:
        write_arrivals(path, found)


def busiest(load: LoadTally, source: str = "the log", most: int = MOST) -> Arrivals | None:
    """The hour with the most tokens, of equal ones the earliest; None where no call says both when it came and its
    tokens, or all came at once."""
    if not load.tokened or load.last <= load.first:
        return None
    start, share = _hour(load)
    seconds = min(60.0 * MINUTES, load.last - load.first)
    begins = min(load.first + 60 * start, load.last - seconds)  # at the log's end the quiet before it counts too
    calls, rows = _rows(load, start)
    known = np.sort(rows[rows["input"] >= 0], order=["at", "input", "output"])
    kept = known[_evenly(len(known), most)]
    return Arrivals(
        at=kept["at"] - begins,
        input=kept["input"].copy(),
        output=kept["output"].copy(),
        source=source,
        seconds=seconds,
        kept=len(kept) / calls,
        begins=begins,
        share=share,
        span=load.last - load.first,
    )


def _hour(load: LoadTally) -> tuple[int, float]:
    """The minute in which the busiest hour begins, counted from the first call, and its share of all tokens."""
    minutes, tokens = np.empty(0, np.int64), np.empty(0, np.int64)
    for group in load.rows.groups(ROW, AT_ONCE):
        minutes, tokens = _added(np.append(minutes, _minute(load, group)), np.append(tokens, tokens_of(group)))
    through = np.concatenate(([0], np.cumsum(tokens)))
    ends = np.searchsorted(minutes, minutes + MINUTES)
    sums = through[ends] - through[:-1]
    best = int(np.argmax(sums))
    whole = minutes[-1] < MINUTES  # then nothing is gained by beginning later
    return 0 if whole else int(minutes[best]), float(sums[best] / max(1, through[-1]))


def _added(minutes: Ints, tokens: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(minutes, kind="stable")
    apart, starts = np.unique(minutes[order], return_index=True)
    return apart, np.add.reduceat(tokens[order], starts)


def _rows(load: LoadTally, start: int) -> tuple[int, npt.NDArray[np.void]]:
    """How many calls the hour has, and their rows."""
    found = []
    for group in load.rows.groups(ROW, AT_ONCE):
        minute = _minute(load, group)
        found.append(group[(minute >= start) & (minute < start + MINUTES)])
    rows = np.concatenate(found)
    return len(rows), rows


def _minute(load: LoadTally, rows: npt.NDArray[np.void]) -> Ints:
    found: Ints = ((rows["at"] - load.first) // 60).astype(np.int64)
    return found


def _evenly(count: int, most: int) -> Ints:
    """Places of at most `most` of `count` rows, as far apart as they can be."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)
