"""freehold serve: flags, the upstream's key from the environment, and what is said on stderr."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from freehold import wire
from freehold.errors import BadSetting, StorageFailed

if TYPE_CHECKING:
    from freehold.engines.upstream import HttpUpstream, Upstream
    from freehold.nouns import Artifact, Audit, Student
    from freehold.project import Project
    from freehold.serve.app import App
    from freehold.serve.rungs import Step
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
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="127.0.0.1, localhost or ::1")
    parser.add_argument("--pairs", metavar="SHARE", help="share of home answers also asked upstream (default 0.02)")
    parser.add_argument("--json", action="store_true", help="what is served, as JSON on stdout, once it listens")


def run(args: argparse.Namespace) -> int:
    from freehold.facts import machine_cost
    from freehold.nouns import Audit
    from freehold.project import Project
    from freehold.serve import serve

    project = Project.open(args.folder or args.project)
    audit = project.load(Audit)
    settings = project.settings
    cost = machine_cost(settings.machine_cost).value
    serve(
        project,
        audit,
        _upstream(settings.upstream if args.upstream is None else args.upstream, audit, args.upstream is not None),
        opener=_open_student,
        host=args.host,
        port=settings.port if args.port is None else _port(args.port),
        pairs=settings.pairs if args.pairs is None else _share(args.pairs),
        machine_cost=cost or 0.0,
        limits=settings.limits,
        ready=lambda app: _announce(app, project, args.host, args.json),
        tell=_say,
    )
    return 0


def _open_student(folder: Path, artifact: Artifact) -> Student:
    from freehold.engines.open import open_student

    return open_student(folder, artifact)


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


def _announce(app: App, project: Project, host: str, as_json: bool) -> None:
    """What is served, task by task, whether it is watched, and a line to try."""
    for step in app.steps:
        rung = step.rung
        if rung.open:
            _say(f"home      {rung.task.name}: {rung.model} answers from score {rung.threshold:.4f} up{_how(step)}")
        else:
            _say(f"{'closed ' if rung.student else 'upstream'}  {rung.task.name}: {rung.why}")
    _say(_above(app))
    _say(f"watched: {app.pairs.share:.2%} of home answers are asked upstream too" if app.pairs else UNMONITORED)
    url = f"http://{'[::1]' if host == '::1' else '127.0.0.1'}:{app.port}"
    _say(f"listening on {url}/v1; stop with ctrl-C, read new verdicts with kill -USR1 {os.getpid()}")
    call = _example(app)
    if call is not None:
        try:
            path = project.write("example-request.json", wire.dumps(call) + b"\n")
        except StorageFailed as error:
            _say(error.message)
        else:
            _say(f"try:  curl -si {url}/v1/chat/completions -H 'Content-Type: application/json' -d @{path}")
    if as_json:
        print(wire.dumps({"url": f"{url}/v1", **app.health()}).decode(), flush=True)


def _how(step: Step) -> str:
    """Of a student of a text task: what it is, and how long a call waits for it."""
    if step.rung.task.kind == "labels" or step.seat is None:
        return ""
    from freehold.serve.app import PATIENCE

    return f"; {step.title}; within {step.seat.patience(PATIENCE):.3g} s"


SHAPES = ("response_format", "tools", "tool_choice")  # fields that say what an answer looks like
UNMONITORED = "UNMONITORED: no home answers are asked upstream, so nobody watches the promise"


def _above(app: App) -> str:
    if app.relay is None:
        return "no upstream: what is not answered at home gets a 503 (start with --upstream URL)"
    if app.relay.upstream.kind == "replay":
        return "REPLAY: what goes up is answered from the log, to try this offline; no model is asked"
    return f"upstream  {app.relay.upstream!r}"


def _example(app: App) -> dict[str, Any] | None:
    """A request that an open rung may answer, from the log's own example; None where its text stands in two places."""
    for step in app.steps:
        task = step.rung.task
        if step.rung.open and sum(slot.variable for slot in task.template.slots) == 1:
            texts = [slot.before + (task.example if slot.variable else "") + slot.after for slot in task.template.slots]
            pairs = zip(task.template.slots, texts, strict=True)
            messages = [{"role": slot.role, "content": text} for slot, text in pairs]
            fields = {name: task.params[name][0] for name in SHAPES if task.params.get(name)}
            return {"model": task.models[0] if task.models else "freehold", "messages": messages, **fields}
    return None
