"""The journey: a log in; a verdict, a report and the command that serves it out.

    read → audit → plan → (per label task) tune → prove → report

Each step leaves its noun in the project folder and is skipped when nothing it rests on has changed, so a killed run
goes on where it stopped, with the same result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.nouns import Measure, Verdict
from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from freehold.project import Project

__all__ = ["HELP", "Journey", "flags", "run", "switch"]

HELP = "From a log of calls to a certified, owned model: audit, plan, tune, prove, report."


@dataclass(frozen=True, slots=True)
class Journey:
    """How a run ended. `kept_home` is over all readable calls; confidence is per task, not joint."""

    project: str
    bar: float
    confidence: float
    kept_home: Measure
    saved_per_month: Measure
    verdicts: tuple[Verdict, ...]
    report: str


def switch(
    paths: Sequence[str | Path],
    project: Project,
    *,
    bar: float | None = None,
    confidence: float | None = None,
    until: float | None = None,
    encoder: str | None = None,
    student: Path | None = None,
    tell: Tell = quiet,
) -> Journey:
    """Run the whole journey on the logs at `paths` and return its verdicts.

    `bar` and `confidence` default to freehold.toml; `until` (epoch seconds) keeps only earlier calls.
    Raises LogError, ProjectError, StorageFailed, BadSetting.
    """
    from freehold.audit import audit
    from freehold.engines.label import open_student
    from freehold.plan import plan
    from freehold.project import check_bar
    from freehold.prove import prove, without_student
    from freehold.report import report
    from freehold.traffic import read
    from freehold.tune import tune

    bar = project.settings.bar if bar is None else check_bar(bar)
    confidence = project.settings.confidence if confidence is None else check_bar(confidence, "confidence")
    traffic = read(paths, until=until, tell=tell)
    project.claim_log(traffic.log.identity)
    found = audit(traffic, tell=tell)
    project.save(found)
    planned = plan(found, machine_cost=project.settings.machine_cost, confidence=confidence)
    project.save(planned)
    project.drop_verdicts(keep=[task.name for task in found.tasks])
    for task, step in zip(found.tasks, planned.tasks, strict=True):
        if step.go == "try":
            artifact = tune(task, traffic, project, encoder=encoder, student=student, tell=tell)
            own = open_student(project.artifact_path(artifact.sha256), artifact)
            prove(task, own, artifact, traffic, project, bar=bar, confidence=confidence, audit=found, tell=tell)
        else:
            project.save(without_student(task, step, found, bar=bar, confidence=confidence))
    verdicts = project.verdicts()
    page = project.write("report.html", report(project, tell=tell).encode())
    return Journey(
        str(project.path), bar, confidence, kept_home(verdicts), saved(verdicts, project), verdicts, str(page)
    )


def kept_home(verdicts: Sequence[Verdict]) -> Measure:
    """Each task's share of calls times the kept share of its certification calls, summed; a task that stays is 0.

    Interval by MOVER (Zou and Donner 2008): the tasks' own distances to their limits, added in quadrature.
    """
    moved = [(v.share, v.kept_home) for v in verdicts if v.decision == "move" and v.kept_home.value is not None]
    value = sum(w * (m.value or 0.0) for w, m in moved)
    down = sum((w * ((m.value or 0.0) - (m.low or 0.0))) ** 2 for w, m in moved) ** 0.5
    up = sum((w * ((m.high or 0.0) - (m.value or 0.0))) ** 2 for w, m in moved) ** 0.5
    n = sum(v.kept_home.n for v in verdicts)
    method = "sum over tasks of share of calls x kept share of certification calls; 95 % by MOVER"
    return Measure(value, max(0.0, value - down), min(1.0, value + up), n, "share", method)


def saved(verdicts: Sequence[Verdict], project: Project) -> Measure:
    """What the kept calls cost at the closed model, less one machine all month. None where the log has no money."""
    return Measure(None, unit="USD/month")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", nargs="+", metavar="LOG", help="JSONL file, .gz, or a folder of them")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--bar", help="agreement the owned model must keep, strictly between 0 and 1 (default 0.95)")
    parser.add_argument("--confidence", help="how sure of it, per task (default 0.95)")
    parser.add_argument("--until", metavar="TIME", help="only calls before this time (ISO 8601; naive means UTC)")
    parser.add_argument("--encoder", metavar="NAME|DIR", help="another sentence encoder for the students")
    parser.add_argument("--student", metavar="DIR", type=Path, help="your own ONNX classifier instead of tuning one")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project, check_bar
    from freehold.tell import terminal

    bar = None if args.bar is None else check_bar(args.bar)
    confidence = None if args.confidence is None else check_bar(args.confidence, "confidence")
    until = _until(args.until)
    _readable(args.log)  # before a folder is made for it
    project = Project.create(args.project)
    options: dict[str, Any] = {"bar": bar, "confidence": confidence, "until": until}
    with project.lock(), terminal() as tell:
        journey = switch(args.log, project, **options, encoder=args.encoder, student=args.student, tell=tell)
    if args.json:
        print(to_json(journey))
    else:
        _show(journey)
    return 0
