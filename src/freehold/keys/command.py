"""freehold keys: who may call this server, for what, and up to how much."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.keys.key import Key, Wanted
    from freehold.project import Project

__all__ = ["HELP", "flags", "run"]

HELP = "Client keys: who may call this server, for what, and up to how much. A key is shown once, when it is made."
PARTS = ("list", "add", "show", "revoke", "rotate", "import")
LIMITS = ("budget_day", "budget_month", "tokens_minute", "requests_minute", "running", "home_share")
ONCE = "This is the key. It is shown this once, and kept nowhere."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", default="list", choices=PARTS, help="what to do (default: list)")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the key; for import, another keys.json")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--role", choices=("admin", "user", "reader"), help="add: what it may do (default user)")
    parser.add_argument("--parent", metavar="NAME", help="add, import: the admin key that it is a child of")
    parser.add_argument("--days", metavar="N", help="add: how many days it holds (default: until it is revoked)")
    parser.add_argument("--budget-day", metavar="USD", help="add: the most it may spend in a day (UTC)")
    parser.add_argument("--budget-month", metavar="USD", help="add: the most it may spend in a month (UTC)")
    parser.add_argument("--tokens-minute", metavar="N", help="add: the most tokens a minute, asked and answered")
    parser.add_argument("--requests-minute", metavar="N", help="add: the most calls a minute")
    parser.add_argument("--running", metavar="N", help="add: the most calls at once")
    parser.add_argument("--home-share", metavar="SHARE", help="add: the most of its calls that are answered at home")
    parser.add_argument("--tasks", metavar="NAMES", help="add: the only tasks that it is for, with commas between")
    parser.add_argument("--models", metavar="NAMES", help="add: the only models that it may ask for")
    parser.add_argument("--only", action="store_true", help="revoke: leave the keys that were minted with it")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.keys import keys
    from freehold.project import Project

    project = Project.open(args.project)
    _check_flags(args)
    if args.what == "list":
        return _list(project, keys(project), args.json)
    name = _one(args)
    if args.what == "add":
        return _add(project, args, name)
    if args.what == "show":
        return _show(project, name, args.json)
    if args.what == "rotate":
        return _rotate(project, name, args.json)
    if args.what == "revoke":
        return _revoke(project, name, args.only, args.json)
    return _import(project, name, args.parent or "", args.json)


def _check_flags(args: argparse.Namespace) -> None:
    """A flag that the part does not read is refused, not ignored."""
    from freehold.errors import BadSetting

    reads = {"add": ("role", "parent", "days", *LIMITS, "tasks", "models"), "import": ("parent",), "revoke": ("only",)}
    for name in ("role", "parent", "days", *LIMITS, "tasks", "models", "only"):
        if getattr(args, name) not in (None, False) and name not in reads.get(args.what, ()):
            part = next(part for part, names in reads.items() if name in names)
            raise BadSetting(f"--{name.replace('_', '-')} is for {part}.", f"freehold keys {part} NAME ...")


def _one(args: argparse.Namespace) -> str:
    from freehold.errors import BadSetting

    if len(args.names) != 1:
        given = " ".join(args.names) or "nothing"
        raise BadSetting(f"{args.what} takes one name, and {given} is given.", f"freehold keys {args.what} NAME")
    return str(args.names[0])


def _add(project: Project, args: argparse.Namespace, name: str) -> int:
    from freehold.keys.change import add, os_user, unknown_tasks

    wanted = _wanted(args, name)
    if unknown := unknown_tasks(project, wanted.tasks):
        print(f"freehold: warning: --tasks names {unknown}", file=sys.stderr)
    return _secret(*add(project, wanted, parent=args.parent or "", by=os_user()), args.json)


def _rotate(project: Project, name: str, as_json: bool) -> int:
    from freehold.keys.change import os_user, rotate

    return _secret(*rotate(project, name, by=os_user()), as_json)


def _secret(key: Key, secret: str, as_json: bool) -> int:
    from freehold.keys.change import shown

    if as_json:
        return _dump({**shown(key), "key": secret})
    print(f"freehold: {ONCE}", file=sys.stderr, flush=True)
    print(secret)
    return 0


def _wanted(args: argparse.Namespace, name: str) -> Wanted:
    """What the flags say. Raises BadSetting for a figure that can't be meant."""
    from datetime import UTC, datetime, timedelta

    import msgspec

    from freehold.errors import BadSetting
    from freehold.keys.key import Wanted, check_name

    check_name(name)
    said: dict[str, Any] = {"name": name} | ({"role": args.role} if args.role else {})
    for field in LIMITS:
        if (text := getattr(args, field)) is not None:
            said[field] = _number(field, text)
    for field in ("tasks", "models"):
        if (text := getattr(args, field)) is not None:
            said[field] = [part.strip() for part in text.split(",") if part.strip()]
    if args.days is not None:
        days = _number("days", args.days)
        if not 0 < days <= 36_500:
            raise BadSetting(f"--days is {args.days!r}.", "Give days, from above 0 to 36500.")
        said["expires"] = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    try:
        return msgspec.convert(said, Wanted)
    except msgspec.ValidationError as error:
        raise BadSetting(f"This can't be a key: {error}.", "freehold keys --help says what each flag takes.") from None


def _number(field: str, text: str) -> float | int:
    from math import isfinite

    from freehold.errors import BadSetting

    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0:
        raise BadSetting(f"--{field.replace('_', '-')} is {text!r}.", "Give a number, 0 or more.")
    return int(value) if value.is_integer() else value


def _revoke(project: Project, name: str, only: bool, as_json: bool) -> int:
    from freehold.keys.change import os_user, revoke, shown

    gone = revoke(project, name, by=os_user(), only=only)
    if as_json:
        return _dump([shown(key) for key in gone])
    children = [key.name for key in gone if key.name != name]
    first = f"{name} is revoked" if len(children) < len(gone) else f"{name} was revoked already"
    took = f"{len(children)} {'key' if len(children) == 1 else 'keys'} minted with it"
    print(f"{first}, and {took}: {', '.join(children)}" if children else first)
    return 0


def _import(project: Project, path: str, parent: str, as_json: bool) -> int:
    from pathlib import Path

    from freehold.keys.change import import_keys, os_user, shown

    found = import_keys(project, Path(path), parent=parent, by=os_user())
    if as_json:
        return _dump([shown(key) for key in found])
    print(f"{len(found):,} keys taken over")
    return 0


def _show(project: Project, name: str, as_json: bool) -> int:
    from freehold.keys import keys
    from freehold.keys.change import KeyUnknown

    found = [key for key in keys(project) if key.name == name]
    if not found:
        raise KeyUnknown(f"There is no key {name[:80]!r}.", "freehold keys list shows all.")
    row = _rows(project, found)[0]
    if as_json:
        return _dump(row)
    for field, value in row.items():
        print(f"{field}: {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _list(project: Project, found: Sequence[Key], as_json: bool) -> int:
    rows = _rows(project, found)
    if as_json:
        return _dump(rows)
    if not rows:
        print("No keys: only this machine may call. Make the first with: freehold keys add NAME --role admin")
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    heads = ("name", "role", "key", "parent", "state", "today", "month", "limits")
    for head in heads:
        table.add_column(head, justify="right" if head in ("today", "month") else "left", no_wrap=head == "name")
    for row in rows:
        limits = ", ".join(f"{name} {_word(row[name])}" for name in (*LIMITS, "tasks", "models") if name in row)
        cells = (row["name"], row["role"], f"{row['prefix']}…", row.get("parent", ""), row["state"])
        money = (_usd(row["spent_today"]), _usd(row["spent_month"]))
        table.add_row(*(escape(cell) for cell in (*cells, *money, limits)))
    Console(highlight=False, soft_wrap=True).print(table)
    return 0


def _usd(amount: float) -> str:
    """Three digits that say something: a call costs hundredths of a cent."""
    from math import floor, log10

    return f"${amount:,.{2 if not amount or amount >= 1 else 2 - floor(log10(amount))}f}"


def _word(value: Any) -> str:
    return "|".join(value) if isinstance(value, list) else f"{value:g}"


def _rows(project: Project, found: Sequence[Key]) -> list[dict[str, Any]]:
    """Each key with its state and what it has spent (USD)."""
    import time

    from freehold.keys.change import shown
    from freehold.keys.spent import FILE, peek

    now, spent = time.time(), peek(project.path / FILE)
    rows = []
    for key in found:
        state = "revoked" if key.revoked else "valid" if key.holds(now) else "expired"
        today, month = spent.get(key.name, (0.0, 0.0))
        rows.append({**shown(key), "state": state, "spent_today": today, "spent_month": month})
    return rows


def _dump(value: Any) -> int:
    from freehold.wire import dumps

    print(dumps(value).decode())
    return 0
