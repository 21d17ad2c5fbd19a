"""freehold tune: fit a student for each task that the plan says to try."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import FAILS, STAYS, BadSetting, FreeholdError, NothingToLearn
from freehold.nouns import Artifact, Task
from freehold.tell import Tell

if TYPE_CHECKING:
    from freehold.project import Project

__all__ = ["HELP", "flags", "for_task", "run", "text_flags", "text_given"]

KINDS = ("auto", "extract", "decoder")
DEVICES = ("auto", "cpu", "cuda")
PRIVATE = ("leave-out", "redact", "keep")
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
    parser.add_argument(
        "--hosted",
        metavar="NAME",
        help="the open model of [upstreams.NAME] as the rung after the student (docs/ladder.md)",
    )
    _synthetic_flags(parser)
    text_flags(parser)
    parser.add_argument(
        "--pairs", metavar="FILE|log",
        help="the task's tuned adapter learns which of two answers is preferred, by DPO (docs/preference.md)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the artefacts' manifests as JSON on stdout")


def _synthetic_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows that an open model writes besides (docs/synthetic.md)")
    group.add_argument("--synthetic", type=int, metavar="N", help="ask for N of them; they stay where they help")
    group.add_argument(
        "--teacher", metavar="NAME|DIR|GGUF|URL#MODEL",
        help="the open model that writes them, here or at a server of yours (default smollm2)",
    )  # fmt: skip
    group.add_argument(
        "--teacher-licence",
        metavar="ID",
        help="what it is under, where neither it nor facts say (Apache-2.0, ...)",
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the rows: the same seed, the same rows")
    group.add_argument(
        "--synthetic-weight", type=float, metavar="W",
        help="of one of them beside a logged row, for a decoder (default: all together weigh half of the logged ones)",
    )  # fmt: skip
    group.add_argument("--keep-synthetic", action="store_true", help="they stay even where no help is seen")


def _synthetic(args: argparse.Namespace) -> dict[str, Any]:
    """tune's option out of those flags."""
    from freehold.tune.synthetic import Given

    if args.synthetic is None:
        others = (args.teacher, args.teacher_licence, args.synthetic_weight)
        if args.keep_synthetic or any(one is not None for one in others):
            raise BadSetting("Something is said of rows by a teacher, and none are asked for.", "Give --synthetic N.")
        return {}
    if args.task is None:
        raise BadSetting("--synthetic is for one task.", "Name it: --task NAME.")
    if args.hosted is not None:
        raise BadSetting("Both --hosted and --synthetic are given.", "Give one of them.")
    given = Given(
        args.synthetic, args.teacher, args.seed, args.keep_synthetic, args.teacher_licence, args.synthetic_weight
    )
    return {"synthetic": given}


def _pairs(args: argparse.Namespace) -> dict[str, Any]:
    """tune's option out of --pairs."""
    if args.pairs is None:
        return {}
    if args.task is None:
        raise BadSetting("--pairs is for one task.", "Name it: --task NAME.")
    for name in ("hosted", "student", "finetune", "encoder", "synthetic"):
        if getattr(args, name) is not None:
            raise BadSetting(f"Both --pairs and --{name} are given.", "Give one of them.")
    if args.kind != "auto":
        raise BadSetting(
            f"Both --pairs and --kind {args.kind} are given.", "An adapter learns from pairs: leave it out."
        )
    return {"pairs": args.pairs}


def text_flags(parser: argparse.ArgumentParser) -> None:
    """Flags for students that extract or write, of tune and of switch."""
    group = parser.add_argument_group("students that extract or write (JSON, tool calls, SQL, text)")
    group.add_argument(
        "--kind", choices=KINDS, default="auto", help="auto: a tagger where values are copied from the text"
    )
    group.add_argument(
        "--base", metavar="NAME|DIR|GGUF", help="the open model that a decoder starts from (default smollm2)"
    )
    group.add_argument(
        "--minutes", type=float, metavar="N",
        help="minutes of tuning, a task (default 12): of CPU, or on the clock where a card tunes",
    )  # fmt: skip
    group.add_argument(
        "--device", choices=DEVICES, default="auto", help="of a decoder's tuning; auto: a CUDA card where there is one"
    )
    group.add_argument("--bits", type=int, choices=(16, 4), default=16, help="4: the base in NF4 while tuning (QLoRA)")
    group.add_argument(
        "--permission", metavar="FILE", type=Path, help="the vendor's written consent to train on its answers"
    )
    group.add_argument(
        "--private", choices=PRIVATE, default="leave-out", help="rows with private data (default leave-out)"
    )


def text_given(args: argparse.Namespace) -> dict[str, Any]:
    """tune's options out of those flags."""
    if args.minutes is not None and not 0 < args.minutes < 1e5:
        raise BadSetting(f"--minutes is {args.minutes:g}.", "Give minutes above 0.")
    names = ("kind", "base", "minutes", "bits", "device", "permission", "private")
    return {name: getattr(args, name) for name in names}


def for_task(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options for one of many tasks: what is meant for label tasks alone is not said of the others, and `kind` not
    of a label task, for which a decoder is asked by name."""
    others = ("kind",) if task.kind == "labels" else ("finetune", "student")
    return {name: value for name, value in given.items() if name not in others}


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
    options: dict[str, Any] = {"encoder": args.encoder, "finetune": args.finetune, "student": args.student}
    options |= text_given(args) | _synthetic(args) | _pairs(args)
    audit, plan = project.load(Audit), project.load(Plan)
    go = {step.name for step in plan.tasks if step.go == "try"}
    names = [task.name for task in audit.tasks]
    if name is not None and name not in names:
        raise BadSetting(f"--task is {name!r}, which the audit does not list.", f"Known: {', '.join(names)}.")
    chosen = [task for task in audit.tasks if task.name in go and name in (None, task.name)]
    if name is not None and not chosen:
        reason = next((step.reason for step in plan.tasks if step.name == name), "it is not in the plan")
        raise BadSetting(f"The plan does not try {name}: {reason}", "See: freehold plan")
    if not chosen:
        print("The plan has no task to try yet; see: freehold plan", file=sys.stderr)
        return []
    traffic = read(audit.log.paths, until=audit.log.until, tell=tell)
    if args.hosted is not None:
        from freehold.tune.hosted import hosted

        _alone(args)
        return [hosted(task, traffic, project, args.hosted, tell=tell) for task in chosen]
    made: list[Artifact] = []
    failed: list[FreeholdError] = []
    for task in chosen:
        try:
            named = name is not None or (len(chosen) == 1 and task.kind == "labels")
            own = options if named else for_task(task, options)
            made.append(tune(task, traffic, project, **own, tell=tell))
        except (*STAYS, *FAILS) as error:
            if name is not None or (task.kind == "labels" and not isinstance(error, NothingToLearn)):
                raise
            failed += [error] if isinstance(error, FAILS) else []
            print(f"{task.name}: {error}", file=sys.stderr)
    if failed and not made:
        raise failed[0]
    return made


def _alone(args: argparse.Namespace) -> None:
    """A hosted model is asked as it is: nothing that is said of a fit goes with it."""
    for name in ("encoder", "finetune", "student", "base", "minutes", "permission"):
        if getattr(args, name) is not None:
            raise BadSetting(f"Both --hosted and --{name} are given.", "Give one of them.")


def _show(made: Sequence[Artifact], project: Project) -> None:
    if not made:
        print("No student was made.")
    for artifact in made:
        folder = project.artifact_path(artifact.sha256)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        what = f"{artifact.kind} {artifact.sha256[:8]}  {size:.0f} MB"
        print(f"{artifact.task}  {what}  on {artifact.base}, licence {artifact.licence}")
        print(f"  {folder}")
        if artifact.kind == "hosted":
            print(f"  next: freehold prove --project {shlex.quote(str(project.path))}")
        if artifact.kind == "adapter":
            print(f"  next: freehold shrink --project {shlex.quote(str(project.path))}")
        if preference := artifact.recipe.get("preference"):
            print(f"  preferred answers that are the likelier ones, of the held-back pairs: {preference['words']}")
        if tuned := artifact.recipe.get("finetune"):
            print(f"  fine-tuned {tuned['base']['name']}: {tuned['why']}")
