"""freehold facts: what freehold knows of the world outside the log, each row with its source and its date."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.facts.tables import Facts
    from freehold.nouns import Fact

__all__ = ["HELP", "OLD", "flags", "run"]

HELP = "What freehold knows of models, hardware, prices, licences and law: each row with its source and date."
OLD = 90  # days
STALE = 1
LEAST = 40  # columns of what a row says
PARTS = ("list", "search", "show", "check")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", choices=PARTS, help="list a table, search all, show one row, check the dates"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a TABLE to list, WORDS to search, TABLE/ID to show")
    parser.add_argument("--project", metavar="DIR", help="with the rows of this project's freehold.toml")
    parser.add_argument("--days", default=str(OLD), help=f"check: how old a row may be (default {OLD})")
    parser.add_argument("--json", action="store_true", help="the rows as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.facts.tables import TABLES, Facts
    from freehold.project import Project

    facts = Facts(Project.open(args.project).settings.facts if args.project else None)
    if args.what is None or (args.what == "list" and not args.names):
        return _tables(facts, list(TABLES), args.json)
    if args.what == "check":
        return _check(facts, args.names or list(TABLES), _days(args.days), args.json)
    if args.what == "list":
        return _rows([row for table in args.names for row in facts.rows(table)], args.json)
    if args.what == "search":
        return _rows(_search(facts, list(TABLES), args.names), args.json)
    return _show(_named(facts, args.names), args.json)


def _tables(facts: Facts, tables: Sequence[str], as_json: bool) -> int:
    """One line a table: how many rows, the oldest, how many nobody has verified."""
    lines = []
    for table in tables:
        rows = facts.rows(table)
        unsure = sum(row.status == "unverified" for row in rows)
        lines.append({"table": table, "rows": len(rows), "oldest": min(r.as_of for r in rows), "unverified": unsure})
    if as_json:
        return _dump(lines)
    _table(("table", "rows", "oldest", "unverified"), ([str(v) for v in line.values()] for line in lines))
    print("\nfreehold facts list TABLE, search WORDS, show TABLE/ID, check. Token prices by day: genai-prices.")
    return 0


def _rows(rows: Sequence[Fact], as_json: bool) -> int:
    if as_json:
        return _dump([asdict(row) for row in rows])
    _table(("row", "as of", "status", "says"), ([row.ref, row.as_of, row.status, _brief(row)] for row in rows))
    return 0


def _show(rows: Sequence[Fact], as_json: bool) -> int:
    from rich.markup import escape

    if as_json:
        return _dump([asdict(row) for row in rows])
    out = _console()
    for row in rows:
        out.print(f"[bold]{escape(row.ref)}[/]")
        pairs = {**row.values, "source": row.source, "as of": row.as_of, "status": row.status}
        for name, value in pairs.items():
            if value not in (None, "", [], {}):
                out.print(f"  {escape(name)}: {escape(_word(value))}")
    return 0


def _check(facts: Facts, tables: Sequence[str], days: int, as_json: bool) -> int:
    """Which rows are older than `days`, and which nobody has verified; exit code 1 where one is old."""
    today = date.today()
    rows = [row for table in tables for row in facts.rows(table)]
    old = sorted((row for row in rows if _age(row, today) > days), key=lambda row: (row.as_of, row.ref))
    unsure = [row for row in rows if row.status == "unverified"]
    if as_json:
        _dump({"old": [asdict(row) for row in old], "unverified": [asdict(row) for row in unsure], "rows": len(rows)})
        return STALE if old else 0
    _table(("row", "as of", "days", "source"), ([r.ref, r.as_of, str(_age(r, today)), _cut(r.source)] for r in old))
    said = f"{len(old):,} of {len(rows):,} rows are older than {days} days; {len(unsure):,} are unverified"
    print(f'{said}. A row of your own goes into freehold.toml: [facts.TABLE."ID"].')
    return STALE if old else 0


def _age(row: Fact, today: date) -> int:
    """Days since a row was true. A row without a date is as old as can be."""
    return (today - date.fromisoformat(row.as_of)).days if row.as_of else today.toordinal()


def _search(facts: Facts, tables: Sequence[str], words: Sequence[str]) -> list[Fact]:
    """The rows that hold every word, anywhere."""
    from freehold.errors import BadSetting

    if not words:
        raise BadSetting("There is nothing to search for.", "freehold facts search llama-3 licence")
    wanted = [word.lower() for word in words]
    rows = (row for table in tables for row in facts.rows(table))
    return [row for row in rows if all(word in f"{row.ref} {row.values} {row.source}".lower() for word in wanted)]


def _named(facts: Facts, names: Sequence[str]) -> list[Fact]:
    """By TABLE/ID, or by an id that some table has."""
    from freehold.errors import BadSetting
    from freehold.facts.tables import TABLES

    found: list[Fact] = []
    for name in names:
        table, slash, row = name.partition("/")
        if slash and table in TABLES:
            found.append(facts.get(table, row))
            continue
        rows = [fact for each in TABLES if (fact := facts.find(each, name)) is not None]
        if not rows:
            raise BadSetting(f"No table has a row {name!r}.", f"freehold facts search {name}")
        found += rows
    if not found:
        raise BadSetting("There is nothing to show.", "freehold facts show hardware/h100-sxm")
    return found


def _brief(row: Fact) -> str:
    return _cut(", ".join(f"{name} {_word(value)}" for name, value in row.values.items() if value not in (None, "")))


def _word(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= 1e6:
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cut(text: str, most: int = 100) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _days(text: str) -> int:
    from freehold.errors import BadSetting

    if not text.isdecimal():
        raise BadSetting(f"--days is {text!r}.", "Give a whole number of days.")
    return int(text)


def _dump(value: Any) -> int:
    from freehold.wire import dumps

    print(dumps(value).decode())
    return 0


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out, found = _console(), [heads, *rows]
    fixed = sum(max(len(row[i]) for row in found) + 2 for i in range(len(heads) - 1))
    out.width = max(out.width, fixed + LEAST)  # the last column gives way: a row's id is what one types
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in heads:
        table.add_column(head, justify="right" if head in ("rows", "unverified", "days") else "left", no_wrap=True)
    for row in found[1:]:
        table.add_row(*(escape(cell) for cell in (*row[:-1], _cut(row[-1], out.width - fixed))))
    out.print(table)
