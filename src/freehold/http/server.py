"""Listens, and holds what all connections share: caps, one timer for every deadline, a clean stop.

over the cap     the connection that waits longest for its next request, its head, a slow body or a slow reader is
                 closed; where all are at work the new one gets a 503. Nobody who asks is refused for those who don't
one address      may not hold more than Limits.connections_address; this machine's own may (a proxy in front)
stop             accept nothing more → close what is idle → let what runs finish → cancel it
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from freehold.http.connection import Connection
from freehold.http.limits import Limits, Line
from freehold.http.request import Handler, Refuse, Response

__all__ = ["Server"]

ORDER = ("linger", "idle", "head", "body")  # who goes first where there are too many
TICKS = 4  # looks at each deadline while it runs
YOUNG = 1.0  # seconds that a body or a reader has before it counts as slow
AT_ONCE, BREATH = 1, 0.01  # stalled readers that are closed in one look, and seconds until the next: each costs a row


def _plain(status: int, code: str, message: str) -> Response:
    return Response(status, message.encode() + b"\n", [("Content-Type", "text/plain; charset=utf-8")])


class Server:
    """Gives each request to `handler`. `refuse` words what no handler sees (bad HTTP, too many connections), `defect`
    is told of an error that a handler raises."""

    def __init__(
        self, handler: Handler, limits: Limits, refuse: Refuse = _plain, defect: Callable[[Exception], object] = id
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.limits = limits
        self.refuse = refuse
        self.defect = defect
        self.draining = False
        self.head = limits.header_kib << 10
        self.connections: dict[Connection, None] = {}  # as they came: of those that wait equally long the first goes
        self.running: set[asyncio.Task[None]] = set()
        self._addresses: Counter[str] = Counter()
        self._listening: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unseen: list[Connection] = []  # of one round of looks
        waits = (limits.header_seconds, limits.body_seconds, limits.write_seconds, limits.idle_seconds)
        self._tick = min(0.5, *(wait / TICKS for wait in waits))

    async def listen(
        self, host: str = "", port: int = 0, *, sockets: Sequence[socket.socket] = (), reuse_port: bool = False
    ) -> int:
        """Accept connections on `host`:`port` (0: a free one), or on `sockets`; gives the port. Raises OSError."""
        backlog = self.limits.connections
        for one in sockets:
            self._listening.append(await self.loop.create_server(self.connection, sock=one, backlog=backlog))
        if not sockets:
            made = await self.loop.create_server(
                self.connection, host, port, backlog=backlog, reuse_port=reuse_port or None
            )
            self._listening.append(made)
        found: int = self._listening[0].sockets[0].getsockname()[1]
        return found

    async def stop(self, hurry: asyncio.Event | None = None, seconds: float | None = None) -> None:
        """Let what runs finish within `seconds` (Limits.drain_seconds), or until `hurry`; then cancel it."""
        self.draining = True
        for one in self._listening:
            one.close()
        for connection in list(self.connections):
            connection.hang_up()
        await self._until_idle(hurry, self.limits.drain_seconds if seconds is None else seconds)
        left = list(self.running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=2.0)
        await self._until_closed(1.0)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()

    async def _until_idle(self, hurry: asyncio.Event | None, seconds: float) -> None:
        until = self.loop.time() + seconds
        asked = asyncio.ensure_future(hurry.wait()) if hurry is not None else None
        try:
            while (left := until - self.loop.time()) > 0:
                if not self.running or (asked is not None and asked.done()):
                    return
                waits: list[asyncio.Future[Any]] = [*self.running, *([asked] if asked else [])]
                await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if asked is not None:
                asked.cancel()

    async def _until_closed(self, seconds: float) -> None:
        """The last bytes of the last answers."""
        until = self.loop.time() + seconds
        while self.connections and self.loop.time() < until:  # noqa: ASYNC110 (many connections, each with its own end)
            await asyncio.sleep(0.01)

    # what connections tell

    def connection(self) -> Connection:
        """One for a socket that was accepted."""
        return Connection(self)

    def admit(self, new: Line) -> None:
        """Count a connection; where it is one too many, another goes or it does."""
        assert isinstance(new, Connection)
        self.connections[new] = None
        self._addresses[new.address] += 1
        if self._timer is None:
            self._timer = self.loop.call_later(self._tick, self._look)
        if self.draining:
            new.hang_up()
        elif len(self.connections) > self.limits.connections:
            self._make_room(new, list(self.connections))
        elif self._addresses[new.address] > self.limits.connections_address and not _own(new.address):
            self._make_room(new, [c for c in self.connections if c.address == new.address])

    def forget(self, gone: Line) -> None:
        if isinstance(gone, Connection) and gone in self.connections:
            del self.connections[gone]
            self._addresses[gone.address] -= 1
            if not self._addresses[gone.address]:
                del self._addresses[gone.address]

    def _make_room(self, new: Connection, among: list[Connection]) -> None:
        now = self.loop.time()

        def rank(one: Connection) -> tuple[int, float]:
            """Lowest first: what it waits for, then since when; of bodies the slowest."""
            if one.waits == "body":
                return ORDER.index("body"), one.got / (now - one.since)
            return (ORDER.index(one.waits), one.since) if one.waits else (len(ORDER), 0.0)

        def may_go(one: Connection) -> bool:
            young = now - one.since < YOUNG
            return one is not new and (one.waits in ORDER[:3] or (not young and (one.waits == "body" or one.stalled)))

        found = min((one for one in among if may_go(one)), key=rank, default=None)
        if found is None:
            new.turn_away()
        else:
            found.abort()
            self.forget(found)

    def _look(self) -> None:
        """Check every connection; where many readers stalled together, a few at a time: others are served between."""
        now, ended = self.loop.time(), 0
        if not self._unseen:
            self._unseen = list(reversed(self.connections))
        while self._unseen and ended < AT_ONCE:
            ended += self._unseen.pop().check(now)
        if self.connections:
            self._timer = self.loop.call_later(BREATH if self._unseen else self._tick, self._look)
        else:
            self._timer, self._unseen = None, []


def _own(address: str) -> bool:
    """Whether a client is on this machine."""
    try:
        return not address or ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
