"""freehold prove: may each student answer its task, and where."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from freehold.errors import BadSetting, ProjectMissing
from freehold.nouns import Artifact, Verdict
from freehold.tell import Tell

if TYPE_CHECKING:
    from freehold.nouns import Task
    from freehold.project import Project
    from freehold.traffic import Traffic

__all__ = ["HELP", "flags", "run"]

SECOND = "~2"  # behind a task's name in tuned.json: the artefact of the next rung
TRIES = 5
NO_LABELS = "Its calls to learn from hold one label, or too few texts."
NO_STUDENT = "The last tuning gave it no student, and said why; see: freehold tune"
HELP = "Certify each student on calls it has never seen, and write the verdicts."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--task", metavar="NAME", help="this task only")
    parser.add_argument("--bar", help="agreement the owned model must keep, strictly between 0 and 1")
    parser.add_argument("--confidence", help="how sure of it, per task")
    parser.add_argument("--json", action="store_true", help="the verdicts as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project, check_bar
    from freehold.prove.show import show
    from freehold.tell import terminal
    from freehold.wire import dumps

    project = Project.open(args.project)
    bar = check_bar(project.settings.bar if args.bar is None else args.bar)
    sure = check_bar(project.settings.confidence if args.confidence is None else args.confidence, "confidence")
    with project.lock(), terminal() as tell:
        verdicts = _prove(project, args.task, bar, sure, tell)
    if args.json:
        print(dumps(verdicts).decode())
    else:
        show(verdicts)
    return 0


def _prove(project: Project, name: str | None, bar: float, confidence: float, tell: Tell) -> list[Verdict]:
    from freehold.engines.open import closing, open_student
    from freehold.nouns import Audit, Plan
    from freehold.prove import prove, without_student
    from freehold.traffic import read

    audit, plan = project.load(Audit), project.load(Plan)
    _known(name, [task.name for task in audit.tasks])
    traffic = read(audit.log.paths, until=audit.log.until, tell=tell)
    steps = {step.name: step for step in plan.tasks}
    given: dict[str, Any] = {"bar": bar, "confidence": confidence, "audit": audit, "tell": tell}
    verdicts: list[Verdict] = []
    for task in audit.tasks:
        if name not in (None, task.name) or task.name not in steps:
            continue
        step, chosen = steps[task.name], project.tuned().get(task.name)
        if step.go == "try" and chosen == "":
            step = replace(step, go="not_yet", reason=NO_STUDENT if task.kind != "labels" else NO_LABELS)
        if step.go == "try" and chosen is None and task.kind != "labels":
            step = replace(step, go="not_yet", reason="No student has been tuned for it; see: freehold tune")
        if step.go == "try":
            artifact = project.read_artifact(chosen or newest(project.artifacts(), task.name).sha256)
            with closing(open_student(project.artifact_path(artifact.sha256), artifact)) as own:
                verdicts.append(prove(task, own, artifact, traffic, project, **given))
        else:
            verdicts.append(without_student(task, step, bar=bar, confidence=confidence))
            project.save(verdicts[-1])
        if second := project.tuned().get(task.name + SECOND):
            further = project.read_artifact(second)
            verdicts.append(_further(task, further, verdicts[-1], traffic, project, given))
    return verdicts


def _further(
    task: Task, artifact: Artifact, first: Verdict, traffic: Traffic, project: Project, given: dict[str, Any]
) -> Verdict:
    """The rung after the task's own student, on what that leaves; on all calls where it moves nothing."""
    import os
    from contextlib import ExitStack

    from freehold.engines.hosted import Reach, reach
    from freehold.engines.open import closing, open_student
    from freehold.prove import Before, prove
    from freehold.traffic.private import redact_together

    def hosts(name: str) -> Reach:
        return reach(project.settings, project.path, name, os.environ, redact_together, tries=TRIES, task=task.name)

    with ExitStack() as opened:
        before = None
        if first.decision == "move" and first.student is not None:
            own = project.read_artifact(first.student.sha256)
            student = opened.enter_context(closing(open_student(project.artifact_path(own.sha256), own)))
            before = Before(student, first)
        hosted = opened.enter_context(closing(open_student(project.artifact_path(artifact.sha256), artifact, hosts)))
        return prove(task, hosted, artifact, traffic, project, before=before, **given)


def _known(name: str | None, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        raise BadSetting(f"--task is {name!r}, which the audit does not list.", f"Known: {', '.join(names)}.")


def newest(artifacts: Sequence[Artifact], task: str) -> Artifact:
    """The artefact last made for a task; raises ProjectMissing."""
    found = sorted((a for a in artifacts if a.task == task), key=lambda a: (a.made, a.sha256))
    if not found:
        raise ProjectMissing(f"The project holds no student for {task}.", "Run: freehold tune --project DIR")
    return found[-1]
