"""freehold ledger: what the ledger holds, whether it is whole, a person erased, backups and back again."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.ledger.copies import Backup
    from freehold.ledger.erase import Receipt
    from freehold.ledger.verify import Problem
    from freehold.project import Project

__all__ = ["HELP", "flags", "run"]

HELP = "The ledger's files: list them, verify every row, erase a person, back up a running one, restore."
PARTS = ("list", "verify", "erase", "backup", "restore")
NEEDS = {"erase": "PERSON", "backup": "DEST", "restore": "SRC"}
SHOWN = 20  # problems


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=PARTS, default="list", help="default: list")
    parser.add_argument(
        "name", nargs="?", metavar="PERSON|DEST|SRC", help="whom to erase; the folder to back up to, or to restore from"
    )
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--verify", action="store_true", help="restore: check the backup, and restore nothing")
    parser.add_argument("--force", action="store_true", help="restore: move a folder that holds data aside first")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.errors import BadSetting
    from freehold.project import Project

    if args.what in NEEDS and not args.name:
        raise BadSetting(f"freehold ledger {args.what} needs {NEEDS[args.what]}.", "freehold ledger --help")
    if args.what not in NEEDS and args.name:
        raise BadSetting(f"freehold ledger {args.what} takes no {args.name!r}.", "Name the project with --project DIR.")
    if args.what == "restore":
        return _restore(Path(args.name), Path(args.project), args)
    project = Project.open(args.project)
    if args.what == "verify":
        return _verify(project, args.json)
    if args.what == "erase":
        return _erase(project, args.name, args.json)
    if args.what == "backup":
        return _backup(project, Path(args.name), args.json)
    return _list(project, args.json)


def _list(project: Project, as_json: bool) -> int:
    from freehold.ledger import ledger

    files = ledger(project)
    if as_json:
        return _dump([asdict(file) for file in files])
    for file in files:
        rows = "" if file.rows is None else f"{file.rows:>12,} rows"
        print(f"{file.name:<48} {file.state:<8} {file.bytes:>16,} bytes {rows}".rstrip())
    print(f"{len(files):,} files" if files else "The ledger is empty: freehold serve writes it.")
    return 0


def _verify(project: Project, as_json: bool) -> int:
    from freehold.ledger import verify

    found = verify(project)
    if as_json:
        _dump({"rows": found.rows, "files": found.files, "unchained": found.unchained, "problems": found.problems})
        return _damaged(found.problems, silent=True)
    old = f"; {found.unchained:,} rows are from before rows held a chain" if found.unchained else ""
    print(f"{found.rows:,} rows in {found.files:,} files, {len(found.problems):,} problems{old}")
    return _damaged(found.problems)


def _erase(project: Project, person: str, as_json: bool) -> int:
    from freehold.ledger import erase

    told = erase(project, person)
    if as_json:
        return _dump(asdict(told))
    if not told.path:
        print(f"No rows of {person} found; nothing was changed.")
    else:
        print(f"{told.rows:,} rows in {len(told.files):,} files were emptied. Receipt: {told.path}")
        _fitted(told)
    for what, names in (("Still hold the name", told.holds), ("Backups that hold the person", told.backups)):
        if names:
            print(f"{what}: {', '.join(names)}")
    for note in told.notes if told.path else ():
        print(note)
    return 0


def _fitted(told: Receipt) -> None:
    print(f"Artefacts whose fit may have seen them: {len(told.artifacts)} ({told.artifacts_known})")
    for one in told.artifacts:
        print(f"  {one['sha256'][:12]} {one['kind']} of {one['task']}, made {one['made']}")


def _backup(project: Project, dest: Path, as_json: bool) -> int:
    from freehold.ledger import backup

    return _told("Backed up to", backup(project, dest), as_json)


def _restore(src: Path, dest: Path, args: argparse.Namespace) -> int:
    from freehold.ledger import check_backup, restore

    if args.verify:
        return _told("Whole:", check_backup(src), args.json)
    return _told(f"Restored to {dest} from", restore(src, dest, force=args.force), args.json)


def _told(what: str, found: Backup, as_json: bool) -> int:
    if as_json:
        _dump({**asdict(found), "rows": found.rows, "bytes": found.bytes})
        return _damaged(found.problems, silent=True)
    print(f"{what} {found.path}: {len(found.files):,} files, {found.rows:,} rows of the ledger, {found.bytes:,} bytes.")
    if not what.startswith("Whole"):
        print("Artefacts are not in a backup: copy the project's artifacts folder beside it, or tune again.")
    return _damaged(found.problems)


def _damaged(problems: tuple[Problem, ...], *, silent: bool = False) -> int:
    """The exit code, and on stderr what is wrong."""
    from freehold.errors import LedgerDamaged

    for problem in problems[: 0 if silent else SHOWN]:
        print(f"freehold: {problem}", file=sys.stderr)
    if len(problems) > SHOWN and not silent:
        print(f"freehold: and {len(problems) - SHOWN:,} more", file=sys.stderr)
    return LedgerDamaged.exit_code if problems else 0


def _dump(value: Any) -> int:
    from freehold.wire import dumps

    print(dumps(value).decode())
    return 0
