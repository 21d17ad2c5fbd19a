"""May a host be asked now? One gate for all students of a host: its day's budget, and a breaker.

ask ─→ a pass, or why not: the budget of the day is spent, or the host failed 5 times in a row and rests
the answer ─→ succeeded | answered (4xx) | failed; nothing where the client left
bill ←─ what the answer took, by its own usage; else the most that it may have taken
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from freehold.engines.hosts.breaker import Breaker
from freehold.nouns import Tokens

__all__ = ["Gate"]


@dataclass
class Gate:
    """`left` tells how many USD of the host's day are left (None: it has no budget), `bill(model, tokens)` counts what
    was used. Both are called in the students' threads. `clock` is monotonic, in seconds."""

    left: Callable[[], float] | None = None
    bill: Callable[[str, Tokens], object] | None = None
    clock: Callable[[], float] = time.monotonic
    _breaker: Breaker = field(default_factory=Breaker)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self) -> tuple[int, str]:
        """A pass for one request; 0, and in words why not."""
        if self.left is not None and self.left() <= 0.0:
            return 0, "has used up its budget of the day"
        with self._lock:
            said = self._breaker.ask(self.clock())
        return said, "" if said else "failed lately and is left alone for a while"

    def answered(self, said: int, status: int) -> None:
        """What the host answered to the request of this pass: 408, 429 and 5xx are failures."""
        with self._lock:
            if status in (408, 429) or status >= 500:
                self._breaker.failed(said, self.clock())
            elif status == 200:
                self._breaker.succeeded(said, self.clock())
            else:
                self._breaker.answered(said)

    def failed(self, said: int) -> None:
        """No answer came."""
        with self._lock:
            self._breaker.failed(said, self.clock())

    def used(self, model: str, tokens: Tokens) -> None:
        if self.bill is not None:
            self.bill(model, tokens)
