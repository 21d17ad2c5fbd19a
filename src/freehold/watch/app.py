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
from collections.abc import Awaitable, Callable
from importlib.resources import files

from freehold import wire
from freehold.errors import FreeholdError, PortInUse, ServeRefused
from freehold.http.request import Request, Response
from freehold.http.server import Server
from freehold.project.gateway import Limits
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
HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
]


def check_host(host: str) -> None:
    """Raises ServeRefused for anything but this machine: there are no keys that would say who may look."""
    if host not in LOCAL:
        hint = "Use 127.0.0.1, and from another machine a tunnel: ssh -L 8081:127.0.0.1:8081 HOST"
        raise ServeRefused(f"watch serves this machine only, and {host!r} is another address.", hint)


def _answer(status: int, kind: str, body: bytes) -> Response:
    """Every answer carries the headers, an error's too."""
    return Response(status, body, [("Content-Type", kind), ("Server", "freehold"), *HEADERS])


def _says(status: int, text: str) -> Response:
    return _answer(status, "text/plain; charset=utf-8", text.encode() + b"\n")


def _refuse(status: int, code: str, message: str) -> Response:
    """What no handler sees; nothing of what the client sent is said again."""
    return _says(status, message)


def _complain(error: Exception) -> None:
    print(f"freehold: error in watch: {type(error).__name__}", file=sys.stderr)


def handler(watcher: Watcher) -> Callable[[Request], Awaitable[Response]]:
    """What answers the page's requests. Only this page, by its own name, may ask."""
    turn = asyncio.Lock()  # one reader at a time; a second tab waits and gets the newer figures
    fixed = {
        path: _answer(200, f"{kind}; charset=utf-8", files("freehold").joinpath(*parts).read_bytes())
        for path, (kind, *parts) in FILES.items()
    }

    async def data() -> Response:
        async with turn:
            try:
                body, status = wire.dumps(await asyncio.to_thread(watcher.snapshot)), 200
            except FreeholdError as error:
                body, status = wire.dumps({"error": str(error)}), 503
        return _answer(status, "application/json", body)

    async def answer(request: Request) -> Response:
        name = request.headers.first("host").rsplit(":", 1)[0].strip("[]")
        if name not in LOCAL or request.headers.first("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _says(403, "This page is served to this machine only.")
        if request.path not in fixed and request.path != "/data.json":
            return _says(404, "Not Found")
        if request.method not in ("GET", "HEAD"):
            return _says(405, "Method Not Allowed")
        return fixed.get(request.path) or await data()

    return answer


async def start(watcher: Watcher, host: str, port: int) -> tuple[Server, int]:
    """Listen, and return the server and the port (the one the system chose, where `port` is 0)."""
    check_host(host)
    server = Server(handler(watcher), Limits(), _refuse, _complain)
    try:
        return server, await server.listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"Port {port} on {host} is taken.", "Give another with --port.") from None
        raise ServeRefused(f"Can't listen on {host}:{port}: {error.strerror}.", "Give another with --port.") from None


async def serve(watcher: Watcher, host: str, port: int, tell: Tell = quiet) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server, actual = await start(watcher, host, port)
    tell(f"watching {watcher.project.path} at http://{f'[{host}]' if ':' in host else host}:{actual}/")
    try:
        await stop.wait()
    finally:
        await server.stop(seconds=2.0)
