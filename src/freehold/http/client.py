"""Asks other hosts, over connections that are kept and used again.

    answer = await client.ask(("api.openai.com", 443, True), head + body, until=..., between=30.0, end=...)
    answer.status, answer.raw, await answer.read()

No redirect is followed, no proxy is read from the environment, and no body is unpacked. A name is looked up, each
address is shown to `allowed`, and the connection goes to that very address. A kept connection that the other host had
closed before a byte of the answer came is no failure: the request is sent once more, over a new one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from freehold.http.peer import Answer, AskFailed, Origin, Peer

__all__ = ["Answer", "AskFailed", "Client", "Origin"]

IDLE = 30.0  # seconds that a connection is kept unused
TICK = 0.5  # seconds between looks at the deadlines, at most


class Client:
    """`connect` is in seconds; `allowed(ip)` says whether an address may be asked (default: every one); `tick` is how
    exact deadlines are."""

    def __init__(
        self, *, connect: float = 3.0, allowed: Callable[[str], bool] | None = None, tick: float = TICK
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.waits: set[Answer] = set()
        self._connect = connect
        self._allowed = allowed
        self._tick = min(tick, TICK)
        self._kept: dict[Origin, list[Peer]] = {}
        self._peers: set[Peer] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    async def ask(
        self,
        origin: Origin,
        data: bytes,
        *,
        until: float,
        between: float,
        end: float,
        only_head: bool = False,
        once: bool = False,
    ) -> Answer:
        """Send a request's bytes; returns once the headers of its answer are there. Times are the loop's. `once`: what
        it asks for must not happen twice, so it goes on a fresh connection, where nothing is sent again. Raises
        AskFailed."""
        kept = None if once else self._kept.get(origin)
        peer = kept.pop() if kept else None
        reused = peer is not None
        while True:
            if peer is None:
                peer = await self._open(origin, min(until, end))
            answer = Answer(self, peer, until, between, end)
            peer.ask(data, answer, only_head)
            given = False
            try:
                while not answer.headed and answer.failed is None:
                    await answer.wait()
                given = answer.headed
            finally:
                if not given:  # also where the caller goes in the very moment the head comes
                    answer.close()
            if given:
                return answer
            assert answer.failed is not None
            if not reused or answer.got or answer.failed.kind != "unreachable":
                raise answer.failed
            peer, reused = None, False

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for peer in list(self._peers):
            peer.abort()
        await asyncio.sleep(0)  # the loop tells them

    # connections

    async def _open(self, origin: Origin, until: float) -> Peer:
        host, port, tls = origin
        within = min(self._connect, until - self.loop.time())
        try:
            async with asyncio.timeout(within):
                return await self._connected(host, port, tls)
        except TimeoutError:
            raise AskFailed("timeout", "Connect") from None
        except ssl.SSLError as error:
            raise AskFailed("unreachable", type(error).__name__) from None
        except OSError as error:
            raise AskFailed("unreachable", type(error).__name__) from None

    async def _connected(self, host: str, port: int, tls: bool) -> Peer:
        found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        may = [one for one in addresses if self._allowed is None or self._allowed(one)]
        if not may:
            raise AskFailed("unreachable", "AddressNotAllowed" if addresses else "NoAddress")
        if tls and self._tls is None:
            self._tls = ssl.create_default_context()
        for at, address in enumerate(may):
            try:
                _, peer = await self.loop.create_connection(
                    lambda: Peer(self, (host, port, tls)),
                    address,
                    port,
                    ssl=self._tls if tls else None,
                    server_hostname=host if tls else None,
                )
            except OSError:
                if at == len(may) - 1:
                    raise
            else:
                self._peers.add(peer)
                return peer
        raise AssertionError("a last address either answers or raises")

    def keep(self, peer: Peer) -> None:
        """A connection whose answer is whole."""
        peer.idle_since = self.loop.time()
        self._kept.setdefault(peer.origin, []).append(peer)
        self._arm()

    def forget(self, peer: Peer) -> None:
        """A connection that is gone."""
        self._peers.discard(peer)
        kept = self._kept.get(peer.origin)
        if kept is not None and peer in kept:
            kept.remove(peer)

    # deadlines

    def waiting(self, answer: Answer) -> None:
        self.waits.add(answer)
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._tick, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        for answer in [one for one in self.waits if now >= one.due]:
            peer = answer._peer
            answer.fail("timeout")
            if peer is not None:
                peer.answer = None
                peer.abort()
        for kept in self._kept.values():
            for peer in [one for one in kept if now - one.idle_since > IDLE]:
                kept.remove(peer)
                peer.abort()
        if self.waits or any(self._kept.values()):
            self._arm()
