"""Texts that kill a student's engine: after the second death that student isn't asked again about that text.

    killed(student, text, times)   the engine died on it        holds(student, text)   is it one that may not be asked?

What is kept is a SHA-256 of (student, text) and a count, for a day at most and for the latest 1,024 such texts. The
embedded engine tries a call twice by itself, so one call may be enough; the second identical one goes past the student.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

__all__ = ["KILLS", "Quarantine"]

KILLS = 2  # deaths of the engine on one text
MOST = 1024  # texts that are remembered; the one that killed longest ago is forgotten first
SECONDS = 24 * 3600.0


class Quarantine:
    """May be used from any thread. `clock` is monotonic, in seconds."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kills: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kills)

    def killed(self, student: str, text: str, times: int = 1) -> None:
        """The engine died on this text, `times` times."""
        key, now = _key(student, text), self._clock()
        with self._lock:
            count, since = self._kills.pop(key, (0, now))
            self._kills[key] = (times if now - since > self._seconds else count + times, now)
            while len(self._kills) > self._most:
                self._kills.popitem(last=False)

    def holds(self, student: str, text: str) -> bool:
        """Whether this student may not be asked about this text. Costs nothing as long as nothing killed any."""
        if not self._kills:
            return False
        key = _key(student, text)
        with self._lock:
            count, since = self._kills.get(key, (0, 0.0))
            if count and self._clock() - since > self._seconds:
                del self._kills[key]
                return False
            return count >= KILLS


def _key(student: str, text: str) -> bytes:
    return sha256(student.encode() + b"\0" + text.encode("utf-8", "surrogatepass")).digest()
