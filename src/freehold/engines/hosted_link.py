"""Connections to one host, from several threads: a request, its whole answer, and a call that ends with its client.

post ─→ an idle connection that is young and still open, else a new one ─→ status, body
Lost    it was sent, and no whole answer came: the host may have read it and will bill it, so it is not sent again
Gone    nobody waits any more: the connection is shut, which is how a host learns that it may stop
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

__all__ = ["Gone", "Links", "Lost", "WrongAddress"]

CONNECT = 5.0  # seconds
BETWEEN = 60.0  # seconds without a byte
TOTAL = 120.0  # seconds of a whole answer
IDLE = 3.0  # seconds that a connection may have lain idle: many hosts close it after 5
LOOK = 0.1  # seconds between two looks at whether somebody still waits
LONGEST = 16 << 20  # bytes of an answer
PIECE = 64 << 10

Asked = Callable[[], bool]


class Gone(Exception):
    """Nobody waits for the answer. `sent`: whether the request was out."""

    def __init__(self, sent: bool) -> None:
        super().__init__(sent)
        self.sent = sent


class Lost(Exception):
    """The request was sent, and no whole answer came back. Its text is the name of what broke."""


class WrongAddress(Exception):
    """The host's name leads to an address that may not be connected to."""


class Links:
    """`allowed` says of each address that is connected to whether it may be. `clock` is monotonic, in seconds."""

    def __init__(self, url: str, allowed: Callable[[str], bool], *, clock: Callable[[], float] = time.monotonic):
        self._parts = urlsplit(url)
        self._allowed = allowed
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._under_way: dict[socket.socket, Asked] = {}
        self._watching = False

    def close(self) -> None:
        """End the connections that are idle. May be called again."""
        with self._lock:
            held, self._idle = self._idle, []
        for _, connection in held:
            connection.close()

    def post(self, path: str, headers: dict[str, str], data: bytes, gone: Asked | None = None) -> tuple[int, bytes]:
        """One request, sent once. Raises Gone, Lost, WrongAddress; OSError where nothing was sent."""
        if gone is not None and gone():
            raise Gone(sent=False)
        connection: http.client.HTTPConnection | None = self._kept() or self._connected()
        assert connection is not None
        connection.sock.settimeout(BETWEEN)
        socket_, whole, sent = connection.sock, False, False
        if gone is not None:
            self._watch(socket_, gone)
        try:
            if gone is not None and gone():
                raise Gone(sent=False)
            sent = True  # from the first byte on: a host may have read more of it than it was seen to take
            connection.request("POST", self._parts.path + path, data, headers)
            status, body = _read(connection, self._clock)
            whole = True
        except (OSError, http.client.HTTPException, ValueError) as error:
            if gone is not None and gone():
                raise Gone(sent=sent) from None
            raise Lost(type(error).__name__) from None
        finally:
            with self._lock:
                self._under_way.pop(socket_, None)
                if whole and connection.sock is not None and not (gone is not None and gone()):
                    self._idle.append((self._clock(), connection))
                    connection = None
            if connection is not None:
                connection.close()
        return status, body

    def _kept(self) -> http.client.HTTPConnection | None:
        """The youngest idle connection, if the host has it open still."""
        with self._lock:
            since, connection = self._idle.pop() if self._idle else (0.0, None)
        if connection is None:
            return None
        if self._clock() - since <= IDLE and not _readable(connection.sock):
            return connection
        connection.close()
        return None

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=CONNECT, context=ssl.create_default_context())
            if self._parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=CONNECT)
        )
        connection.connect()
        if not self._allowed(connection.sock.getpeername()[0]):
            connection.close()
            raise WrongAddress
        return connection

    def _watch(self, socket_: socket.socket, gone: Asked) -> None:
        with self._lock:
            self._under_way[socket_] = gone
            if self._watching:
                return
            self._watching = True
        threading.Thread(target=self._look, name="hosted-gone", daemon=True).start()

    def _look(self) -> None:
        """Shut what nobody waits for, for as long as anything is under way. Whoever reads there wakes up."""
        while True:
            with self._lock:
                for socket_ in [one for one, gone in self._under_way.items() if gone()]:
                    del self._under_way[socket_]
                    _shut(socket_)
                if not self._under_way:
                    self._watching = False
                    return
            time.sleep(LOOK)


def _read(connection: http.client.HTTPConnection, clock: Callable[[], float]) -> tuple[int, bytes]:
    until = clock() + TOTAL
    response = connection.getresponse()
    body = bytearray()
    while piece := response.read1(PIECE):
        body += piece
        if len(body) > LONGEST or clock() > until:
            raise http.client.HTTPException("too long an answer")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.read()  # read1 leaves a response that is read to its end open
    return response.status, bytes(body)


def _readable(socket_: socket.socket) -> bool:
    """Of an idle connection: the host has closed it, or says what nobody asked."""
    poll = select.poll()
    poll.register(socket_, select.POLLIN)
    return bool(poll.poll(0))


def _shut(socket_: socket.socket) -> None:
    """The plain socket's own shutdown: TLS's would take its state from under the thread that reads."""
    try:
        socket.socket.shutdown(socket_, socket.SHUT_RDWR)
    except OSError:
        return  # the host was quicker
