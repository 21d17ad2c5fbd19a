"""Progress, as one callback.

A stage calls `tell("fit the members", 0.4)`: what it is doing, and how far that is (0 to 1, or None when unknown).
`quiet` drops it, `terminal()` draws it on stderr. stdout belongs to results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Tell", "quiet", "terminal"]


class Tell(Protocol):
    def __call__(self, what: str, done: float | None = None, /) -> None: ...


def quiet(what: str, done: float | None = None, /) -> None:
    """Say nothing."""


@contextmanager
def terminal() -> Iterator[Tell]:
    """A bar with the time left on a terminal; one line a stage where stderr is a file or a pipe."""
    if sys.stderr.isatty():
        yield from _bars()
    else:
        yield _lines()


def _lines() -> Tell:
    said: set[str] = set()

    def tell(what: str, done: float | None = None, /) -> None:
        if what not in said:
            said.add(what)
            print(f"· {what}", file=sys.stderr, flush=True)

    return tell


def _bars() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), Left())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars: dict[str, TaskID] = {}

        def tell(what: str, done: float | None = None, /) -> None:
            if what not in bars:
                for bar in bars.values():
                    progress.update(bar, total=1.0, completed=1.0)
                bars[what] = progress.add_task(what, total=1.0 if done is not None else None)
            progress.update(bars[what], total=1.0 if done is not None else None, completed=done or 0.0)

        yield tell
        for bar in bars.values():
            progress.update(bar, total=1.0, completed=1.0)
