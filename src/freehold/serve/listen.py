"""The socket and the signals: what no handler sees in OpenAI's shape, and a clean stop.

first signal    stop accepting → finish what is under way (up to 30 s) → close
second signal   now
"""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import socket
import sys
from collections.abc import Sequence

from freehold import wire
from freehold.errors import BadSetting, PortInUse, ServeRefused
from freehold.http.request import Handler, Response
from freehold.http.server import Server
from freehold.project.gateway import Limits

__all__ = ["HOSTS", "OWN_HEADERS", "Listener", "Stop", "check_host", "raise_file_limit"]

HOSTS = ("127.0.0.1", "localhost", "::1")
OWN_HEADERS = [("Content-Type", "application/json"), ("Server", "freehold"), ("X-Content-Type-Options", "nosniff")]


def _refuse(status: int, code: str, message: str) -> Response:
    """Of a request that no handler sees. What it said, which may hold a key, stays here."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return Response(status, wire.error(message, kind, code), OWN_HEADERS)


def _complain(error: BaseException) -> None:
    """Say on stderr what went wrong and where; an error's own text may be a user's."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    print(f"freehold: error in serve: {type(error).__name__} at {at}", file=sys.stderr)


class Stop:
    """What signals ask for: `asked` is set by the first, `hurry` by the second. `number` is the first one's. `again` is
    set by SIGUSR1: read the project again."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.again = asyncio.Event()
        self.number = 0

    def __call__(self, number: int) -> None:
        (self.hurry if self.asked.is_set() else self.asked).set()
        self.number = self.number or number

    def on_signals(self) -> None:
        """Needs the main thread."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self, number)
        loop.add_signal_handler(signal.SIGUSR1, self.again.set)


def raise_file_limit(connections: int) -> None:
    """A connection and its upstream take two handles: make room for all that may be open, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * connections if hard == resource.RLIM_INFINITY else min(4 * connections, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_host(host: str, keyed: bool = False) -> None:
    """Raises ServeRefused for any address but this machine's own, unless clients need keys."""
    if host not in HOSTS and not keyed:
        message = f"--host {host} would let others in, and this project has no client keys."
        raise ServeRefused(message, "Make one first: freehold keys add NAME --role user")


class Listener:
    """Accepts connections on `host`:`port`, or on `sockets` that listen already; each request goes to `handler`."""

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        limits: Limits | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self.host = host
        self.port = port
        self.http = Server(handler, limits or Limits(), _refuse, _complain)
        self._sockets = sockets

    async def start(self) -> None:
        """Raises PortInUse or BadSetting."""
        try:
            self.port = await self.http.listen(self.host, self.port, sockets=self._sockets)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                hint = "Stop what listens there, or choose another with --port."
                raise PortInUse(f"Port {self.port} is taken.", hint) from None
            raise BadSetting(f"Can't listen on port {self.port}: {error}.", "Choose another with --port.") from None

    async def stop(self, hurry: asyncio.Event) -> None:
        """Accept nothing more, let what is under way finish, then cancel it."""
        await self.http.stop(hurry)
