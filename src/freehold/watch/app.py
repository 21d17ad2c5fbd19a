"""The one page's server: fixed files and /data.json, on this machine only, to this page only.

    GET /  /watch.js  /watch.css  /base.css  /uplot.js  /uplot.css     as they lie in the package
    GET /data.json                                                    what the project's files say now
Anything else is 404, another method 405, another Host or another site's script 403.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from importlib.resources import files

from aiohttp import web
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
    """Only this page, by its own name, may ask; every answer carries the headers that keep it so."""
    name = request.host.rsplit(":", 1)[0].strip("[]")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if name not in LOCAL or site not in ("none", "same-origin"):
        return web.Response(status=403, text="This page is served to this machine only.\n", headers=HEADERS)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = web.Response(status=error.status, text=f"{error.reason}\n")
    response.headers.update(HEADERS)
    return response


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
    for path, (kind, *parts) in FILES.items():
        app.router.add_get(path, fixed(kind, *parts))
    app.router.add_get("/data.json", data)
    return app


async def start(watcher: Watcher, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Listen, and return the runner and the port (the one the system chose, where `port` is 0)."""
    check_host(host)
    runner = web.AppRunner(application(watcher), access_log=None)
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
