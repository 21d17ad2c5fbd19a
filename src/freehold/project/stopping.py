"""Asked to stop, a long run keeps what it has first; then the signal does what it always does.

with listening() as heard:
    for step in steps:
        ...
        if number := heard():
            keep(step)
            raise Stopped(number)
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopped", "listening"]


class Stopped(Exception):
    """A signal came, and all that was done is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


@contextmanager
def listening() -> Iterator[Callable[[], int]]:
    """A function that says which signal asked to stop (0: none); the second one is no longer waited for. After a
    Stopped, or an end that came all the same, the first one is raised again as if nobody had listened."""
    heard = 0

    def hear(number: int, frame: Any) -> None:
        nonlocal heard
        if heard:
            signal.signal(number, before[signal.Signals(number)])
            _raise(number)
        heard = number

    before = {number: signal.signal(number, hear) or signal.SIG_DFL for number in _meant()}
    stopped = 0
    try:
        yield lambda: heard
        stopped = heard  # after the last step
    except Stopped as error:
        stopped = error.number
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        _raise(stopped)


def _raise(number: int) -> None:
    signal.raise_signal(number)
    raise SystemExit(128 + number)  # it was ignored before


def _meant() -> list[signal.Signals]:
    """Signals that ask this process to stop; python hands them to its first thread alone. Those of a terminal are not
    meant for one that was started without them (`nohup`, or `&` in a script, which shares the Ctrl-C of what it leaves
    behind); SIGTERM always is."""
    if threading.current_thread() is not threading.main_thread():
        return []
    terminal = [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    return [signal.SIGTERM, *terminal]
