"""freehold merge: adapters of one base, or models of one shape, as one."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from freehold.nouns import Artifact

if TYPE_CHECKING:
    from freehold.project import Project

__all__ = ["HELP", "flags", "run"]

HELP = "Merge adapters of one base, or whole models of one shape; the result owes what all their licences ask."


def flags(parser: argparse.ArgumentParser) -> None:
    from freehold.merge.nouns import METHODS

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "methods:\n" + "\n".join(f"  {name:<16} {what}" for name, what in METHODS.items())
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[:WEIGHT]",
        help="a task or an artefact of the project, a Hugging Face folder, another project with a model",
    )
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--method", metavar="NAME", help="see below (default: follows from what is given)")
    parser.add_argument(
        "--base", metavar="NAME|DIR", help="the model that whole models were made from, for ties and dare"
    )
    parser.add_argument("--task", metavar="NAME", help="which task a merged adapter answers")
    parser.add_argument("--density", type=float, metavar="SHARE", help="what ties and dare keep (default 0.5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what dare drops (default 0)")
    parser.add_argument(
        "--minutes", type=float, default=60.0, metavar="N", help="the most that it may take (default 60)"
    )
    parser.add_argument("--commercial", action="store_true", help="refuse licences that forbid to earn money with it")
    parser.add_argument("--json", action="store_true", help="the artefact's manifest as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.merge import Asked, merge
    from freehold.project import Project
    from freehold.tell import terminal
    from freehold.wire import dumps

    asked = Asked(
        method=args.method,
        base=args.base,
        task=args.task,
        density=args.density,
        seed=args.seed,
        minutes=args.minutes,
        commercial=args.commercial,
    )
    project = Project.create(args.project)
    with project.lock(), terminal() as tell:
        artifact = merge(args.models, project, asked, tell=tell)
    if args.json:
        print(dumps(artifact).decode())
    else:
        _show(project, artifact)
    return 0


def _show(project: Project, artifact: Artifact) -> None:
    from freehold.facts import facts, union

    how = artifact.recipe["merged"]
    print(f"{artifact.kind} {artifact.sha256[:8]}  {how['method']}  licence {artifact.licence}")
    for part in how["parts"]:
        named = part.get("name") or f"{part['of']} {part['sha256'][:8]}"
        print(f"  {part['weight']:>7.3g}  {named}")
    for duty in union([artifact.licence], facts=facts(project.settings.facts)).said():
        print(f"  owed     {duty}")
    print(f"  {project.artifact_path(artifact.sha256)}")
    where = shlex.quote(str(project.path))
    if artifact.kind == "adapter":
        print(f"  next: freehold shrink --task {shlex.quote(artifact.task)} --project {where}, then freehold prove")
    else:
        print(f"  next: freehold tune --base {where} --project ...")
