"""A circuit breaker: a host that fails is left alone for a while, then one call tries it.

    closed ──5 failures in a row, or more than half of at least 20 in 10 s──→ open for 30 s × n, at most 300 s
      ↑                                                                         │ over
      └──the probe is answered── half open: one call a window ←─────────────────┘
                                  └──the probe fails: open again, n + 1

A 429 that says when to come back (Retry-After) opens it for exactly that time, at most 300 s. Other 4xx and clients
that left count neither way. Pure: every method is told the time (monotonic, in seconds).
"""

from __future__ import annotations

from typing import Literal

from freehold.engines.hosts.window import Window

__all__ = ["BASE", "MOST", "Breaker", "State"]

State = Literal["closed", "open", "half-open"]

ROW = 5  # failures in a row
ENOUGH = 20  # calls in a window before their share of failures says something
SHARE = 0.5
SECONDS = 10
BASE = 30.0
MOST = 300.0


class Breaker:
    """`ask` gives a pass, or 0 where the host is to be left alone; a pass is handed back with what came of it:
    succeeded, failed, limited, or answered. Of a client that left nothing is reported, and a probe so spent is
    followed by the next window's.

    A pass from before the last change of state says nothing about the host as it is now, and changes nothing.
    """

    __slots__ = ("_era", "_opened", "_row", "_until", "_wait", "_window", "by_limit")

    def __init__(self) -> None:
        self._era = 1  # grows with every change of state; a pass is the era it was given in
        self._opened = 0  # n: times it opened by failures since it last was well
        self._row = 0
        self._until = 0.0  # nobody may ask before this time
        self._wait = 0.0  # seconds of its window; 0: closed
        self._window = Window(SECONDS)
        self.by_limit = False  # whether it last opened because the host asked for time

    def state(self, now: float) -> State:
        if not self._wait:
            return "closed"
        return "half-open" if now >= self._until else "open"

    def rests(self, now: float) -> float:
        """Seconds until it may be asked; 0 where it may be now."""
        return max(0.0, self._until - now) if self._wait else 0.0

    @property
    def closed(self) -> bool:
        return not self._wait

    def ask(self, now: float) -> int:
        """A pass for one call, 0 for none. Where it was open, this is the one probe of its window."""
        if self._wait:
            if now < self._until:
                return 0
            self._until = now + self._wait
        return self._era

    def succeeded(self, said: int, now: float) -> int:
        """A whole answer, or the first of its content. Returns the pass with which the rest of it is reported."""
        if said != self._era:
            return said
        if self._wait:
            self._close()
        else:
            self._row = 0
            self._window.add(now, 1, 0)
        return self._era

    def answered(self, said: int) -> None:
        """4xx: the host is there. A probe closes it; else this counts as nothing."""
        if said == self._era and self._wait:
            self._close()

    def failed(self, said: int, now: float) -> None:
        if said != self._era:
            return
        if not self._wait:
            self._row += 1
            self._window.add(now, 1, 1)
            calls, failures = self._window.sums(now)
            if self._row < ROW and not (calls >= ENOUGH and failures > SHARE * calls):
                return
        self._opened += 1
        self.by_limit = False
        self._open(min(BASE * self._opened, MOST), now)

    def limited(self, said: int, now: float, seconds: float | None) -> None:
        """429, and the seconds that the host asks for; without them it is a failure like others."""
        if not seconds:
            self.failed(said, now)
        elif said == self._era or (self._wait and now + min(seconds, MOST) > self._until):
            self.by_limit = True
            self._open(min(seconds, MOST), now)

    def _open(self, wait: float, now: float) -> None:
        self._era += 1
        self._wait = wait
        self._until = now + wait
        self._row = 0
        self._window.clear()

    def _close(self) -> None:
        self._era += 1
        self._opened = self._row = 0
        self._wait = self._until = 0.0
        self._window.clear()
