"""freehold watch: the page on this machine, or with --json what it would show now."""

from __future__ import annotations

import argparse

__all__ = ["HELP", "flags", "run"]

HELP = "Serve one page: share kept home, money saved, agreement, and whether the promise holds for each task."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", metavar="PROJECT", help="the project folder")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the same, as a flag")
    parser.add_argument("--port", type=int, default=8081, help="default 8081; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine (the only ones allowed)")
    parser.add_argument("--show-prompts", action="store_true", help="show users' texts in full; else two words at most")
    parser.add_argument("--json", action="store_true", help="print what the page shows now as JSON, and exit")


def run(args: argparse.Namespace) -> int:
    from freehold.errors import BadSetting
    from freehold.project import Project
    from freehold.watch import watch
    from freehold.watch.snapshot import Watcher
    from freehold.wire import dumps

    project = Project.open(args.folder or args.project)
    if not 0 <= args.port <= 65535:
        raise BadSetting(f"--port is {args.port}.", "Give a port from 1 to 65535, or 0 for a free one.")
    if args.json:
        watcher = Watcher(project, show_prompts=args.show_prompts)
        while (found := watcher.snapshot())["behind"]:
            pass
        print(dumps(found).decode())
        return 0
    watch(project, host=args.host, port=args.port, show_prompts=args.show_prompts, tell=_say)
    return 0


def _say(what: str, done: float | None = None, /) -> None:
    """The address is this command's result."""
    print(what, flush=True)
