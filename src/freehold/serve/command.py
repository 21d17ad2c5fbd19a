"""freehold serve: flags, the upstream's key from the environment, and what is said on stderr."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from freehold import wire
from freehold.errors import BadSetting

if TYPE_CHECKING:
    from freehold.engines.hosted import Reach
    from freehold.engines.upstream import HttpUpstream, Upstream
    from freehold.nouns import Artifact, Audit, Student
    from freehold.project import Project
    from freehold.serve.app import App
    from freehold.serve.workers import Worker
    from freehold.tell import Tell

__all__ = ["HELP", "flags", "run"]

HELP = "An OpenAI-compatible server: your own model answers where its promise holds, everything else goes upstream."
OWN_KEY, OPENAI_KEY = "FREEHOLD_UPSTREAM_KEY", "OPENAI_API_KEY"


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", metavar="PROJECT", help="the project folder (the same as --project)")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument(
        "--upstream",
        metavar="URL|replay",
        help="the closed API, or any OpenAI-compatible host; its key is read from FREEHOLD_UPSTREAM_KEY, "
        'else OPENAI_API_KEY. "replay" answers from the log',
    )
    parser.add_argument("--port", metavar="N", help="port to listen on (default 8080; 0 finds a free one)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="127.0.0.1, localhost or ::1; with client keys any other too",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that share the port (default 1)")
    parser.add_argument(
        "--check", action="store_true", help="which rung honours what the logged requests ask for; serves nothing"
    )
    parser.add_argument("--pairs", metavar="SHARE", help="share of home answers also asked upstream (default 0.02)")
    parser.add_argument("--json", action="store_true", help="what is served, as JSON on stdout, once it listens")


def run(args: argparse.Namespace) -> int:
    from freehold.facts import machine_cost
    from freehold.nouns import Audit
    from freehold.project import Project
    from freehold.serve import serve
    from freehold.serve.seats.thread import leave
    from freehold.serve.workers import inherited

    place = inherited()
    project = Project.open(args.folder or args.project)
    audit = project.load(Audit)
    settings = project.settings
    if args.check:
        from freehold.serve import check

        up = settings.upstream if args.upstream is None else args.upstream
        return check.run(project, upstream=bool(up), as_json=args.json)
    port = settings.port if args.port is None else _port(args.port)
    if args.workers < 1:
        raise BadSetting(f"--workers is {args.workers}.", "Give 1 or more.")
    if args.workers > 1 and place is None:
        return _parent(project, args, port)
    cost = machine_cost(settings.machine_cost).value
    stopped = functools.partial(
        serve,
        project,
        audit,
        _upstream(settings.upstream if args.upstream is None else args.upstream, audit, args.upstream is not None),
        opener=lambda folder, artifact: _open_student(project, folder, artifact),
        host=args.host,
        port=port,
        pairs=settings.pairs if args.pairs is None else _share(args.pairs),
        machine_cost=cost or 0.0,
        environ=os.environ,
        worker=place,
        workers=args.workers,
        ready=lambda app: _ready(app, project, args, place),
        tell=_say,
    )
    try:
        stopped()
    except KeyboardInterrupt:
        leave(130)
        raise
    return leave(0)


def _ready(app: App, project: Project, args: argparse.Namespace, place: Worker | None) -> None:
    from freehold.serve.announce import announce

    quiet = place is not None and (place.index > 0 or place.again)
    pid = os.getpid() if place is None else os.getppid()
    found = announce(app, project, args.host, _silent if quiet else _say, pid)
    line = wire.dumps(found) if args.json and not quiet else b""
    if place is not None:
        place.ready(line)
    elif args.json:
        print(line.decode(), flush=True)


def _silent(what: str, done: float | None = None, /) -> None:
    """The other workers serve the same as the first, and one that starts again has nothing new to say."""


def _parent(project: Project, args: argparse.Namespace, port: int) -> int:
    """The process that holds the sockets of several workers."""
    from freehold.keys import Keys
    from freehold.serve.listen import check_host, raise_file_limit
    from freehold.serve.workers import bind, work

    check_host(args.host, Keys.open(project).required)
    limits = project.settings.limits
    raise_file_limit(limits.connections)
    listen = bind(args.host, port, args.workers)
    said = _print if args.json else _no_line
    command = [sys.executable, "-P", "-m", "freehold", *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="freehold-") as folder:
        return work(lambda index: command, listen, Path(folder), said=said, tell=_say, drain=limits.drain_seconds)


def _print(line: bytes) -> None:
    print(line.decode(), flush=True)


def _no_line(line: bytes) -> None:
    """Nobody asked for it."""


def _open_student(project: Project, folder: Path, artifact: Artifact) -> Student:
    from freehold.engines.hosted import reach
    from freehold.engines.open import open_student
    from freehold.traffic.private import redact_together

    def hosts(name: str) -> Reach:
        return reach(project.settings, project.path, name, os.environ, redact_together)

    return open_student(folder, artifact, hosts)


def _say(what: str, done: float | None = None, /) -> None:
    """One line each: a server's talk is read in a log."""
    print(f"freehold: {what}", file=sys.stderr, flush=True)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise BadSetting(f"--port is {text!r}.", "Give a port from 1 to 65535, or 0 for a free one.")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise BadSetting(f"--pairs is {text!r}.", "Give a share from 0 (off: the promise is not watched) to 1.")
    return share


def _upstream(text: str, audit: Audit, named: bool) -> Upstream | None:
    """`named`: on the command line, not only in the project's own settings."""
    if not text:
        return None
    if text == "replay":
        from freehold.engines.replay import Replay
        from freehold.traffic import read

        return Replay(read(audit.log.paths, tell=_say_once()).calls)
    from freehold.engines.upstream import HttpUpstream

    key = _key(HttpUpstream(text), named)
    upstream = HttpUpstream(text, key)
    if key and upstream.url.startswith("http://") and not upstream.local:
        _say(f"the key for {upstream.url} travels unencrypted; use https where that is not your own network")
    return upstream


def _key(upstream: HttpUpstream, named: bool) -> str:
    """A folder from elsewhere can name a host in its settings: OpenAI's own key goes there only if you say so."""
    own, openai = os.environ.get(OWN_KEY, ""), os.environ.get(OPENAI_KEY, "")
    host = urlsplit(upstream.url)
    if own or not openai or named or (host.scheme, host.hostname) == ("https", "api.openai.com"):
        return own or openai
    _say(
        f"{OPENAI_KEY} is not sent to {upstream.url}, which only freehold.toml names; set {OWN_KEY} for it, "
        f"or start with --upstream {upstream.url}"
    )
    return ""


def _say_once() -> Tell:
    said: set[str] = set()

    def tell(what: str, done: float | None = None, /) -> None:
        if what not in said:
            said.add(what)
            _say(what)

    return tell
