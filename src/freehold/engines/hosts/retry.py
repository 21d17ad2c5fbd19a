"""One more try, only where nothing of the answer has come, and only as long as few calls need one.

    may(why, other)   may this failure be tried again, on the same host or on another one?
    delay(random)     0.1 to 2 s, full jitter, before the same host is asked again; another one is asked at once
    Retries           at most 20 % of the calls of the last 10 s, or 3: when everything is down, the load hardly grows

Tries on another host cost of the same budget, so that a total outage of several hosts gets at most 1.2 tries a call.
"""

from __future__ import annotations

from collections.abc import Callable

from freehold.engines.hosts.window import Window

__all__ = ["LONGEST", "TRIES", "Retries", "delay", "may"]

TRIES = 2  # of one call, in all
EVERY = 5  # calls that buy one more try
LEAST = 3
SECONDS = 10
SHORTEST, LONGEST = 0.1, 2.0  # seconds
# What the same host would only say, or do, again: it has asked for time, took all of it, or is not this host.
ELSEWHERE = frozenset({"rate_limited", "upstream_busy", "upstream_timeout", "upstream_redirects", "upstream_too_long"})


class Retries:
    """The budget of all extra tries of a fleet."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(SECONDS)

    def call(self, now: float) -> None:
        """A call begins."""
        self._window.add(now, 1, 0)

    def take(self, now: float) -> bool:
        """Whether there is one more try; if so it is spent."""
        calls, tries = self._window.sums(now)
        if tries >= max(LEAST, calls // EVERY):
            return False
        self._window.add(now, 0, 1)
        return True


def may(why: str, *, other: bool) -> bool:
    """Whether a failure before any content, named `why`, is worth another try: on an `other` host, else the same."""
    return other or why not in ELSEWHERE


def delay(random: Callable[[], float]) -> float:
    """Seconds; `random` is uniform in [0, 1)."""
    return SHORTEST + (LONGEST - SHORTEST) * random()
