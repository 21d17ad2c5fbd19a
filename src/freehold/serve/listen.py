"""The socket: deadlines for headers, a cap on connections, and a clean stop.

    first signal    stop accepting → finish what is under way (up to 30 s) → close
    second signal   now

aiohttp's server has no deadline for the first request's headers, so the connection class here keeps one: 10 s from
the connection, and 10 s from the first byte of each later request, or from the end of the call that runs when it
comes. A connection that is idle is closed after 60 s.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from freehold import wire
from freehold.errors import BadSetting, PortInUse, ServeRefused
from freehold.serve import out
from freehold.serve.door import HEADERS

__all__ = ["Listener", "Stop", "check_host", "raise_file_limit"]

HOSTS = ("127.0.0.1", "localhost", "::1")
HEADER_SECONDS = 10.0
IDLE_SECONDS = 60.0
DRAIN_SECONDS = 30.0
CONNECTIONS = 1024
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Connection(RequestHandler):
    """aiohttp's connection with a deadline and a cap for headers."""

    _late: asyncio.TimerHandle | None = None
    _waiting = 0  # bytes of a request whose headers are not whole
    _body: StreamReader | None = None  # of the latest request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._manager is not None
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(0)  # a write waits until the system has it all, under out.py's deadline
        if len(self._manager.connections) > CONNECTIONS:
            self.force_close()
        else:
            self._late = self._loop.call_later(HEADER_SECONDS, self.force_close)

    def data_received(self, data: bytes) -> None:
        count = self._request_count
        between = self._body is None or self._body.is_eof()  # else these bytes belong to a body
        super().data_received(data)
        if self._request_count > count:
            self._body = self._messages[-1][1]
            self._arrived()
        elif between:
            self._waiting += len(data if self._waiting else data.lstrip(b"\r\n"))  # empty lines begin no request
            if self._waiting > HEADERS:
                self.force_close()
            elif self._waiter is not None:
                self._expect()

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: Handler
    ) -> tuple[web.StreamResponse, bool]:
        """The call that runs is not cut off by a next one that comes early; that one's time begins here."""
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            self._expect()

    def _expect(self) -> None:
        if self._waiting and self._late is None:
            self._late = self._loop.call_later(HEADER_SECONDS, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _arrived(self) -> None:
        self._waiting = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """An error below the handlers, in OpenAI's shape. Its text, which may hold the client's headers, stays here."""
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("the answer has begun, or nobody is there")
        if status >= 500 and exc is not None:
            _complain(exc)
        said, kind, code = "This is not a request that can be read.", "invalid_request_error", "bad_http"
        if status >= 500:
            status, said, kind, code = 502, "freehold made an error.", "server_error", "server_error"
        body = wire.error(said, kind, code)
        headers = {"Server": "freehold", "X-Content-Type-Options": "nosniff"}
        response = web.Response(status=status, body=body, content_type="application/json", headers=headers)
        response.force_close()
        if self.transport is not None:  # aiohttp writes this one, and would wait for a reader for ever
            self._loop.call_later(out.STALLED, self.transport.abort)
        return response


def _complain(error: BaseException) -> None:
    """Say on stderr what went wrong and where; an error's own text may be a user's."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    print(f"freehold: error in serve: {type(error).__name__} at {at}", file=sys.stderr)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


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


def raise_file_limit() -> None:
    """A connection and its upstream take two handles: make room for all that may be open, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_host(host: str) -> None:
    """Raises ServeRefused for any address but this machine's own."""
    if host not in HOSTS:
        message = f"--host {host} would let others in, and freehold has no client keys yet."
        raise ServeRefused(message, "It serves 127.0.0.1 until client keys exist; put a proxy that checks in front.")


class Listener:
    """Accepts connections on `host`:`port` and gives each request to `handler`."""

    def __init__(self, handler: Handler, host: str, port: int) -> None:
        if host not in HOSTS:
            message = f"--host {host} would let others in, and freehold has no client keys yet."
            raise ServeRefused(
                message, "It serves 127.0.0.1 until client keys exist; put a proxy that checks in front."
            )
        self.host = "127.0.0.1" if host == "localhost" else host
        self.port = port
        self.draining = False
        self._handler = handler
        self._running: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._http = _Server(
            self._run,
            handler_cancellation=True,  # a client that goes away cancels its handler, and with it the upstream
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=1.0,
            max_headers=64,
            max_field_size=HEADERS,
        )
        self._socket: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises PortInUse or BadSetting."""
        loop = asyncio.get_running_loop()
        try:
            self._socket = await loop.create_server(self._http, self.host, self.port, backlog=CONNECTIONS)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                hint = "Stop what listens there, or choose another with --port."
                raise PortInUse(f"Port {self.port} is taken.", hint) from None
            raise BadSetting(f"Can't listen on port {self.port}: {error}.", "Choose another with --port.") from None
        self.port = self._socket.sockets[0].getsockname()[1]

    async def stop(self, hurry: asyncio.Event, seconds: float = DRAIN_SECONDS) -> None:
        """Accept nothing more, let what is under way finish, then cancel it."""
        self.draining = True
        if self._socket is not None:
            self._socket.close()
        waits = [asyncio.ensure_future(self._idle.wait()), asyncio.ensure_future(hurry.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        left = list(self._running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=2.0)
        self._http.pre_shutdown()
        await self._http.shutdown(timeout=1.0)

    async def _run(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._idle.clear()
        try:
            return await self._handler(request)
        finally:
            # the answer's last bytes are written after this returns, by the same task
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not self._running:
            self._idle.set()
