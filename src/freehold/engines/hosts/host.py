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
from freehold.tell import Tell, quiet

__all__ = ["Cleaned", "Host", "Leaves", "Policy", "Sent"]

QUIET = 60.0  # seconds between two incidents of one host that are told


class Cleaned(Protocol):
    """A request as it may leave; `changed`: its body says something else than the client's."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def changed(self) -> bool: ...


class Leaves(Protocol):
    """Takes private data out of (path, headers, body). Raises UpstreamFailed where the request can't leave."""

    async def take(self, path: str, headers: Mapping[str, str], body: bytes, /) -> Cleaned: ...
    async def close(self) -> None: ...


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
    since: float | None = None  # when its breaker opened; None: it is closed, as far as has been noticed
    told: bool = False  # whether that was told
    said: float | None = None  # when one was told last

    def notice(self, now: float, tell: Tell, why: str = "") -> None:
        """Tell once that the breaker has opened (`why` is the failure's code), and once that it has closed again. Of a
        host that comes and goes no more than one opening in QUIET seconds is told."""
        if self.breaker.closed:
            if self.since is not None and self.told:
                tell(f"{self.name} is asked again, after {now - self.since:.0f} s")
            self.since, self.told = None, False
            return
        if self.since is None:
            self.since = now
        if not self.told and (self.said is None or now - self.said >= QUIET):
            self.told, self.said = True, now
            tell(f"{self.name} is left alone for {self.breaker.rests(now):.0f} s: {why}")

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
    of a call take `total` seconds at most. `tell` hears of hosts that are left alone, and asked again.
    """

    leaves: Leaves | None = None
    tell: Tell = quiet
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    retries: Retries = field(default_factory=Retries)
    longest: int = 16 << 20
    held: int = 1 << 20
    patience: float = 60.0
    total: float = 600.0
