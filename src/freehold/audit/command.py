"""freehold audit: what a log holds, as tables or JSON, saved into the project."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.nouns import Audit

if TYPE_CHECKING:
    from rich.table import Table

    from freehold.project import Settings

__all__ = ["HELP", "flags", "run", "show"]

HELP = "What the log holds: tasks, tokens, money, repeats, retirement dates."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", nargs="+", metavar="LOG", help="JSONL file, .gz, or a folder of them")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--until", metavar="TIME", help="only calls before this time (ISO 8601; naive means UTC)")
    parser.add_argument("--json", action="store_true", help="the audit as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.audit import audit
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
        show(found)
    return 0


def _settings(folder: str) -> Settings | None:
    """Of a project that is there already: it may name a task's rule."""
    from freehold.project.settings import read_settings

    path = Path(folder) / "freehold.toml"
    return read_settings(path) if path.is_file() else None


def show(audit: Audit) -> None:
    """Print an audit for people."""
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False)
    days = [datetime.fromtimestamp(t, UTC).date().isoformat() for t in (audit.first, audit.last) if t is not None]
    bad = f", {audit.bad_rows:,} bad rows" if audit.bad_rows else ""
    out.print(f"\n[bold]{audit.calls:,} calls[/]{bad}{', ' + ' to '.join(days) if days else ''}\n")
    out.print(_tasks(audit))
    out.print()
    out.print(_models(audit))
    repeats = audit.repeats
    out.print(f"\nmoney    {audit.money}; at this pace {audit.per_month}")
    out.print(f"         [dim]{escape(audit.per_month.method)}[/]")
    out.print(f"repeats  {repeats.texts:,} requests asked again ({repeats.calls:,} calls)", end="")
    out.print(f"; the model agrees with itself on {repeats.self_agreement}" if repeats.texts else "")
    for task in audit.tasks:
        if task.kind != "labels":
            out.print(f"agree    {escape(task.name)}: {escape(task.why)}")
    for warning in audit.warnings:
        out.print(f"[yellow]note[/]     {escape(warning)}")


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="left" if name in ("task", "kind", "model", "switched off") else "right")
    return table


def _tasks(audit: Audit) -> Table:
    from rich.markup import escape

    table = _table("task", "kind", "calls", "share", "labels", "tokens in", "out", "money")
    for t in audit.tasks:
        labels = f"{len(t.labels):,}" if t.labels else ""
        money = "not known" if t.money.value is None else f"${t.money.value:,.2f}"
        tokens = (f"{t.tokens.prompt:,}", f"{t.tokens.completion:,}")
        table.add_row(escape(t.name), t.kind, f"{t.calls:,}", f"{t.share:.1%}", labels, *tokens, money)
    return table


def _models(audit: Audit) -> Table:
    from rich.markup import escape

    table = _table("model", "calls", "money", "switched off")
    for m in audit.models:
        money = "not known" if m.money.value is None else f"${m.money.value:,.2f}"
        off = "no date known" if m.retires is None else f"{m.retires} ({m.days_left:,} days)"
        table.add_row(escape(m.model), f"{m.calls:,}", money, off)
    return table
