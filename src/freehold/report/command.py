"""freehold report: write report.html from whatever the project holds, and say where it is."""

from __future__ import annotations

import argparse

__all__ = ["HELP", "flags", "run"]

HELP = "Write report.html: verdict, plot, tables, evidence, sources; one file, no outside request."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--json", action="store_true", help="the path as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project
    from freehold.report.gather import write_report
    from freehold.tell import terminal
    from freehold.wire import dumps

    with terminal() as tell:
        path = write_report(Project.open(args.project), tell=tell)
    print(dumps({"report": str(path)}).decode() if args.json else path)
    return 0
