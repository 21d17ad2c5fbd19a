"""The words that a fleet speaks: a host, its answer, a request as it may leave, and what holds for every call."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from freehold.engines.hosts.breaker import Breaker
from freehold.engines.hosts.counts import Counts
from freehold.engines.hosts.retry import Retries
from freehold.engines.upstream import Reply, Upstream

__all__ = ["Cleaned", "Host", "Leaves", "Policy", "Sent"]


class Cleaned(Protocol):
    """A request as it may leave; `changed`: its body says something else than the client's."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def changed(self) -> bool: ...


Leaves = Callable[[str, Mapping[str, str], bytes], Cleaned]
"""Takes private data out of (path, headers, body). Raises UpstreamFailed where the request can't leave."""


@dataclass(slots=True)
class Host:
    """One upstream. `open`: an open model's, which only `Fleet.one` asks. `model` is the name it is asked under ("":
    the client's), put in by `rename`. `private`: private data is taken out before anything goes there. `left` is what
    is left of its budget today, in USD (None: it has none)."""

    name: str
    upstream: Upstream
    open: bool = False
    model: str = ""
    private: bool = False
    rename: Callable[[bytes], bytes] | None = None
    left: Callable[[], float] | None = None
    breaker: Breaker = field(default_factory=Breaker)
    counts: Counts = field(default_factory=Counts)

    def rests(self, now: float) -> bool:
        """Whether nothing may go there now: its breaker is open, or its budget spent."""
        if not self.breaker.closed and self.breaker.rests(now) > 0:
            return True
        return self.left is not None and self.left() <= 0


@dataclass(slots=True)
class Sent(Reply):
    """A Reply, and which `host` it is from ("": none was asked), after how many `tries`. `redacted`: what that host
    read is not what the client said, so its answer is no evidence about the client's question."""

    host: str = ""
    tries: int = 0
    redacted: bool = False


@dataclass(slots=True)
class Policy:
    """What holds for every call. `clock` is monotonic, in seconds; `draw` is uniform in [0, 1).

    `longest` bytes of a whole answer and `held` bytes of a stream before its content are kept at most; events without
    content are passed on after `patience` seconds, so that a host that thinks for long shows that it lives; all tries
    of a call take `total` seconds at most.
    """

    leaves: Leaves | None = None
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    retries: Retries = field(default_factory=Retries)
    longest: int = 16 << 20
    held: int = 1 << 20
    patience: float = 60.0
    total: float = 600.0
