"""freehold shrink: a tuned adapter as a file that is served, each hop measured, the smallest that passes taken."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from freehold.errors import BadSetting, ProjectMissing
from freehold.nouns import Artifact
from freehold.tell import Tell

if TYPE_CHECKING:
    from freehold.project import Project

__all__ = ["HELP", "flags", "run", "show"]

HELP = "Turn a tuned adapter into the smallest file that loses nothing of note, each hop measured on your own rows."
FORMATS = "Q4_K_M,Q8_0,BF16"


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--task", metavar="NAME", help="this task only")
    parser.add_argument("--formats", default=FORMATS, metavar="A,B", help=f"what is tried (default: {FORMATS})")
    parser.add_argument(
        "--form", choices=("merged", "adapter"), default="merged", help="one file, or an adapter beside a shared base"
    )
    parser.add_argument("--base", metavar="NAME|PATH", help="where the base is now, if it was moved since the tuning")
    parser.add_argument("--rows", type=int, metavar="N", help="held-back rows to compare (default: 100)")
    parser.add_argument("--all", action="store_true", help="measure every format, also after one has passed")
    parser.add_argument("--draft", type=Path, metavar="FILE", help="a small GGUF model to guess ahead with, tried too")
    parser.add_argument("--no-speculation", action="store_true", help="don't try whether guessing ahead is quicker")
    parser.add_argument("--json", action="store_true", help="the artefacts and their tables as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project
    from freehold.tell import terminal
    from freehold.wire import dumps

    if args.rows is not None and args.rows < 1:
        raise BadSetting(f"--rows is {args.rows}.", "Give 1 or more.")
    if args.draft is not None and args.no_speculation:
        raise BadSetting("--draft asks for what --no-speculation leaves out.", "Give one of them.")
    project = Project.open(args.project)
    with project.lock(), terminal() as tell:
        made = _shrink(project, args, tell)
    tables = [_table(project, artifact) for artifact in made]
    if args.json:
        print(dumps([{"artifact": a, "parity": t} for a, t in zip(made, tables, strict=True)]).decode())
    else:
        for artifact, table in zip(made, tables, strict=True):
            show(project, artifact, table)
    return 0


def _shrink(project: Project, args: argparse.Namespace, tell: Tell) -> list[Artifact]:
    from freehold.engines import bases
    from freehold.nouns import Audit
    from freehold.shrink import shrink

    tasks = {task.name: task for task in project.load(Audit).tasks}
    if args.task is not None and args.task not in tasks:
        raise BadSetting(f"--task is {args.task!r}, which the audit does not list.", f"Known: {', '.join(tasks)}.")
    adapters = _adapters(project, args.task)
    if not adapters:
        where = f"of the task {args.task}" if args.task else f"in {project.path}"
        raise ProjectMissing(f"There is no adapter {where} to shrink.", f"Run: freehold tune --project {project.path}")
    options: dict[str, Any] = {"formats": tuple(filter(None, args.formats.split(","))), "form": args.form}
    options |= {"speculation": not args.no_speculation, "draft": args.draft}
    options |= {"rows": args.rows, "whole": args.all, "base": bases.find(args.base) if args.base else None}
    return [shrink(tasks[a.task], a, project, **options, tell=tell) for a in adapters if a.task in tasks]


def _adapters(project: Project, name: str | None) -> list[Artifact]:
    """The adapter behind each task's chosen artefact: itself, or the parent of one that was shrunk before."""
    by_sha = {artifact.sha256: artifact for artifact in project.artifacts()}
    found = []
    for task, sha256 in sorted(project.tuned().items()):
        chosen = by_sha.get(sha256)
        if chosen is not None and name in (None, task):
            line = [chosen, *(by_sha[p] for p in chosen.parents if p in by_sha)]
            found += [artifact for artifact in line if artifact.kind == "adapter"][:1]
    return found


def _table(project: Project, artifact: Artifact) -> dict[str, Any]:
    import msgspec

    path = project.artifact_path(artifact.sha256) / "parity.json"
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])


def show(project: Project, artifact: Artifact, table: dict[str, Any], file: IO[str] | None = None) -> None:
    """The table on stdout, or in `file`."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=file)
    title = f"{artifact.task}: {table['taken']}, {table['form']}, on {artifact.base}, licence {artifact.licence}"
    console.print(title, highlight=False)
    shown = Table(box=None, pad_edge=False)
    for column in ("format", "MB", "KL mean", "p99", "max", "top-1", "equal", "agree", ""):
        shown.add_column(column, justify="left" if column in ("format", "") else "right", no_wrap=True)
    for line in table["formats"]:
        shown.add_row(*_cells(line, table["taken"]))
    console.print(shown)
    for line in table["formats"]:
        if line["why"]:
            console.print(f"{line['format']} refused: {line['why']}", highlight=False, soft_wrap=True)
    merge, exact, served = table["merge"], table["float32"], table["served"]
    console.print(
        f"merge: a logit moves by {merge['largest_logit_difference']:.1e}; GGUF in float32: by "
        f"{exact['largest_logit_difference']:.1e} at {exact['positions']:,} positions, {exact['same_ids']:,} texts "
        f"with the same ids; served: {_share(served['equal'])} as measured, agreement {_share(served['agreement'])} "
        f"(n = {served['agreement']['n']:,})",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if "speculation" in table:
        console.print(_guessing(table["speculation"]), highlight=False, soft_wrap=True)
    console.print(f"  {project.artifact_path(artifact.sha256)}", highlight=False, soft_wrap=True)


def _guessing(said: dict[str, Any]) -> str:
    """Speculation in one line."""
    speed = ""
    if "with" in said:
        speed = f", {said['without']['value']:.1f} tokens/s without it, {said['with']['value']:.1f} with it"
    return f"speculation {'on' if said['on'] else 'off'}{speed}: {said['why']}"


def _cells(line: dict[str, Any], taken: str) -> Sequence[str]:
    verdict = "taken" if line["format"] == taken else "refused" if line["why"] else "passes"
    if line["format"] == "F32":
        verdict = "as tuned"
    return (
        line["format"], f"{line['bytes'] / 1e6:,.1f}", f"{line['kl']['value']:.2g}", f"{line['p99']:.2g}",
        f"{line['max']:.2g}", _share(line["top1"]), _share(line["equal"]), _share(line["agreement"]), verdict,
    )  # fmt: skip


def _share(said: dict[str, Any]) -> str:
    return "-" if said["value"] is None else f"{100 * said['value']:.1f} %"
