"""freehold audit: what a log holds, as tables or JSON, saved into the project."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.project import Settings

__all__ = ["HELP", "flags", "run"]

HELP = "What the log holds: tasks, tokens, money, repeats, retirement dates."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", nargs="+", metavar="LOG", help="JSONL file, .gz, or a folder of them")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--until", metavar="TIME", help="only calls before this time (ISO 8601; naive means UTC)")
    parser.add_argument("--json", action="store_true", help="the audit as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.audit import audit
    from freehold.audit.show import show
    from freehold.project import Project
    from freehold.tell import terminal
    from freehold.traffic import read
    from freehold.wire import dumps, time_given

    until = time_given(args.until)
    with terminal() as tell:
        traffic = read(args.log, until=until, tell=tell)
        found = audit(traffic, _settings(args.project), tell=tell)
    project = Project.create(args.project)
    with project.lock():
        project.claim_log(traffic.log.identity)
        project.save(found)
    if args.json:
        print(dumps(found).decode())
    else:
        show(found, args.project)
    return 0


def _settings(folder: str) -> Settings | None:
    """Of a project that is there already: it may name a task's rule."""
    from freehold.project.settings import read_settings

    path = Path(folder) / "freehold.toml"
    return read_settings(path) if path.is_file() else None
