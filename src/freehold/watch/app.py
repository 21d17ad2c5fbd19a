"""The one page's server: fixed files and /data.json, on this machine only, to this page only.

    GET /  /watch.js  /watch.css  /base.css  /uplot.js  /uplot.css     as they lie in the package
    GET /data.json                                                    what the project's files say now
Anything else is 404, another method 405, another Host or another site's script 403.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
from importlib.resources import files

from aiohttp import web, web_protocol
from aiohttp.typedefs import Handler

from freehold import wire
from freehold.errors import FreeholdError, PortInUse, ServeRefused
from freehold.tell import Tell, quiet
from freehold.watch.snapshot import Watcher

__all__ = ["LOCAL", "check_host", "serve", "start"]

LOCAL = ("127.0.0.1", "localhost", "::1")
FILES = {
    "/": ("text/html", "watch", "page", "index.html"),
    "/watch.js": ("text/javascript", "watch", "page", "watch.js"),
    "/watch.css": ("text/css", "watch", "page", "watch.css"),
    "/base.css": ("text/css", "assets", "base.css"),
    "/uplot.js": ("text/javascript", "assets", "uplot", "uPlot.iife.min.js"),
    "/uplot.css": ("text/css", "assets", "uplot", "uPlot.min.css"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_host(host: str) -> None:
    """Raises ServeRefused for anything but this machine: there are no keys that would say who may look."""
    if host not in LOCAL:
        hint = "Use 127.0.0.1, and from another machine a tunnel: ssh -L 8081:127.0.0.1:8081 HOST"
        raise ServeRefused(f"watch serves this machine only, and {host!r} is another address.", hint)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only this page, by its own name, may ask."""
    name = request.host.rsplit(":", 1)[0].strip("[]")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if name not in LOCAL or site not in ("none", "same-origin"):
        return web.Response(status=403, text="This page is served to this machine only.\n")
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.Response(status=error.status, text=f"{error.reason}\n")


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer that goes out carries the headers, an error's too."""
    response.headers.update(HEADERS)


class Connection(web_protocol.RequestHandler):
    """aiohttp's, but an error below the handlers carries the headers, and says nothing of what the client sent."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("the answer has begun, or nobody is there")
        if exc is not None and status >= 500:
            print(f"freehold: error in watch: {type(exc).__name__}", file=sys.stderr)
        said = "This is not a request that can be read.\n" if status < 500 else "freehold made an error.\n"
        response = web.Response(status=status, text=said, headers=HEADERS)
        response.force_close()
        return response


class Server(web.Server):
    def __call__(self) -> web_protocol.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Server(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)


def application(watcher: Watcher) -> web.Application:
    turn = asyncio.Lock()  # one reader at a time; a second tab waits and gets the newer figures

    async def data(request: web.Request) -> web.Response:
        async with turn:
            try:
                body, status = wire.dumps(await asyncio.to_thread(watcher.snapshot)), 200
            except FreeholdError as error:
                body, status = wire.dumps({"error": str(error)}), 503
        return web.Response(body=body, status=status, content_type="application/json")

    def fixed(kind: str, *parts: str) -> Handler:
        body = files("freehold").joinpath(*parts).read_bytes()

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, content_type=kind, charset="utf-8")

        return answer

    app = web.Application(middlewares=[guard])
    app.on_response_prepare.append(dress)
    for path, (kind, *parts) in FILES.items():
        app.router.add_get(path, fixed(kind, *parts))
    app.router.add_get("/data.json", data)
    return app


async def start(watcher: Watcher, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Listen, and return the runner and the port (the one the system chose, where `port` is 0)."""
    check_host(host)
    runner = Runner(application(watcher), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"Port {port} on {host} is taken.", "Give another with --port.") from None
        raise ServeRefused(f"Can't listen on {host}:{port}: {error.strerror}.", "Give another with --port.") from None
    return runner, runner.addresses[0][1]


async def serve(watcher: Watcher, host: str, port: int, tell: Tell = quiet) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner, actual = await start(watcher, host, port)
    tell(f"watching {watcher.project.path} at http://{f'[{host}]' if ':' in host else host}:{actual}/")
    try:
        await stop.wait()
    finally:
        await runner.cleanup()
