"""freehold tune: fit a student for each task that the plan says to try."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import BadSetting, NothingToLearn
from freehold.nouns import Artifact
from freehold.tell import Tell

if TYPE_CHECKING:
    from freehold.project import Project

__all__ = ["HELP", "flags", "run"]

HELP = "Fit a student for each task on its own calls, and store it with its lineage."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--task", metavar="NAME", help="this task only")
    parser.add_argument(
        "--encoder",
        metavar="NAME|DIR",
        action="append",
        help="another sentence encoder; again: a further one beside it",
    )
    parser.add_argument(
        "--finetune", metavar="DIR", type=Path, help="also fine-tune the BERT in this folder, as a further member"
    )
    parser.add_argument("--student", metavar="DIR", type=Path, help="your own ONNX classifier instead of a fitted one")
    parser.add_argument("--json", action="store_true", help="the artefacts' manifests as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project
    from freehold.tell import terminal
    from freehold.wire import dumps

    project = Project.open(args.project)
    with project.lock(), terminal() as tell:
        made = _tune(project, args, tell)
    if args.json:
        print(dumps(made).decode())
    else:
        _show(made, project)
    return 0


def _tune(project: Project, args: argparse.Namespace, tell: Tell) -> list[Artifact]:
    from freehold.nouns import Audit, Plan
    from freehold.traffic import read
    from freehold.tune import tune

    name: str | None = args.task
    audit, plan = project.load(Audit), project.load(Plan)
    go = {step.name for step in plan.tasks if step.go == "try"}
    names = [task.name for task in audit.tasks]
    if name is not None and name not in names:
        raise BadSetting(f"--task is {name!r}, which the audit does not list.", f"Known: {', '.join(names)}.")
    chosen = [task for task in audit.tasks if task.name in go and name in (None, task.name)]
    if name is not None and not chosen:
        reason = next((step.reason for step in plan.tasks if step.name == name), "it is not in the plan")
        raise BadSetting(f"The plan does not try {name}: {reason}", "See: freehold plan")
    traffic = read(audit.log.paths, until=audit.log.until, tell=tell)
    options: dict[str, Any] = {"encoder": args.encoder, "finetune": args.finetune, "student": args.student}
    made: list[Artifact] = []
    for task in chosen:
        try:
            made.append(tune(task, traffic, project, **options, tell=tell))
        except NothingToLearn as error:
            if name is not None:
                raise
            print(f"{task.name}: {error.message}", file=sys.stderr)
    return made


def _show(made: Sequence[Artifact], project: Project) -> None:
    if not made:
        print("The plan has no task to try yet; see: freehold plan")
    for artifact in made:
        folder = project.artifact_path(artifact.sha256)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        what = f"{artifact.kind} {artifact.sha256[:8]}  {size:.0f} MB"
        print(f"{artifact.task}  {what}  on {artifact.base}, licence {artifact.licence}")
        print(f"  {folder}")
        if tuned := artifact.recipe.get("finetune"):
            print(f"  fine-tuned {tuned['base']['name']}: {tuned['why']}")
