"""freehold plan: for each task of the audit, try or not, and how many calls a proof asks for."""

from __future__ import annotations

import argparse

from freehold.nouns import Plan

__all__ = ["HELP", "flags", "run", "show"]

HELP = "Per task: try, or how many calls are missing."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--machine-cost", metavar="USD", help="$/h of the machine that serves at home")
    parser.add_argument("--confidence", help="how sure a proof must be, per task (default 0.95)")
    parser.add_argument("--json", action="store_true", help="the plan as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.nouns import Audit
    from freehold.plan import plan
    from freehold.project import Project, check_bar
    from freehold.wire import dumps

    project = Project.open(args.project)
    settings = project.settings
    cost = settings.machine_cost if args.machine_cost is None else _cost(args.machine_cost)
    sure = check_bar(settings.confidence if args.confidence is None else args.confidence, "confidence")
    with project.lock():
        made = plan(project.load(Audit), machine_cost=cost, confidence=sure)
        project.save(made)
    if args.json:
        print(dumps(made).decode())
    else:
        show(made)
    return 0


def _cost(text: str) -> float:
    from freehold.errors import BadSetting

    try:
        cost = float(text)
    except ValueError:
        raise BadSetting(f"--machine-cost is {text!r}, which is not a number.", "Give $/h, such as 0.10.") from None
    if not 0 <= cost < float("inf"):
        raise BadSetting(f"--machine-cost is {text}.", "Give $/h, 0 or more.")
    return cost


def show(plan: Plan) -> None:
    """Print a plan for people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console(highlight=False, soft_wrap=True)
    bars = list(plan.tasks[0].needed) if plan.tasks else []
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("task", "go", "calls", *bars, "minutes"):
        table.add_column(name, justify="left" if name in ("task", "go") else "right", no_wrap=True)
    for t in plan.tasks:
        minutes = "" if t.minutes.value is None else f"{t.minutes.value:.1f}"
        needed = [f"{n:,}" for n in t.needed.values()]
        table.add_row(escape(t.name), t.go.replace("_", " "), f"{t.calls:,}", *needed, minutes)
    out.print("\n[dim]calls needed at each bar, if no kept call is wrong[/]")
    out.print(table)
    for t in plan.tasks:
        out.print(f"\n{escape(t.name)}: {escape(t.reason)}")
    out.print(f"\nbill     {plan.bill}")
    out.print(f"machine  ${plan.machine_cost.value:g} an hour ({escape(plan.machine_cost.method)})")
    for line in plan.assumptions:
        if plan.machine_cost.method not in line:
            out.print(f"[dim]assumed  {escape(line)}[/]")
