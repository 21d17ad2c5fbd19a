"""The journey: a log in; a verdict, a report and the command that serves it out.

    read → audit → plan → (per task) tune → shrink → prove → report

Each step leaves its noun in the project folder and is skipped when nothing it rests on has changed, so a killed run
goes on where it stopped, with the same result.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import FAILS, QUOTING, STAYS, FreeholdError, NothingToLearn
from freehold.nouns import Audit, Measure, Plan, Task, Verdict
from freehold.tell import Tell, quiet
from freehold.tune.command import for_task, text_flags, text_given

if TYPE_CHECKING:
    from freehold.project import Project
    from freehold.traffic import Traffic

__all__ = ["HELP", "Journey", "flags", "run", "switch"]

BARS = (0.9, 0.95, 0.98, 0.99)
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
    warnings: tuple[str, ...] = ()


def switch(
    paths: Sequence[str | Path],
    project: Project,
    *,
    bar: float | None = None,
    confidence: float | None = None,
    until: float | None = None,
    encoder: str | Sequence[str] | None = None,
    finetune: Path | None = None,
    student: Path | None = None,
    text: Mapping[str, Any] | None = None,
    tell: Tell = quiet,
) -> Journey:
    """Run the whole journey on the logs at `paths` and return its verdicts.

    `bar` and `confidence` default to freehold.toml; `until` (epoch seconds) keeps only earlier calls. `text` holds
    tune's options for students that extract or write: kind, base, minutes, bits, permission, private.
    Raises LogError, ProjectError, StorageFailed, BadSetting; where no task gets a student, what kept the first from it.
    """
    from freehold.audit import audit
    from freehold.plan import plan
    from freehold.project import check_bar
    from freehold.project.arrivals import NAME
    from freehold.report.gather import write_report
    from freehold.totals import kept_home, saved
    from freehold.traffic import read

    bar = project.settings.bar if bar is None else check_bar(bar)
    confidence = project.settings.confidence if confidence is None else check_bar(confidence, "confidence")
    traffic = read(paths, until=until, tell=tell)
    project.claim_log(traffic.log.identity)
    found = audit(traffic, project.settings, arrivals=project.path / NAME, tell=tell)
    project.save(found)
    bars = sorted({*BARS, bar})
    planned = plan(found, machine_cost=project.settings.machine_cost, bars=bars, confidence=confidence)
    project.save(planned)
    project.drop_verdicts(keep=[task.name for task in found.tasks])
    given = {"encoder": encoder, "finetune": finetune, "student": student, **(text or {})}
    failed = _each_task(found, planned, traffic, project, bar, confidence, given, tell)
    verdicts = project.verdicts()
    page = write_report(project, tell=tell)
    if failed is not None:
        raise failed
    money = saved(verdicts, planned.machine_cost)
    return Journey(str(project.path), bar, confidence, kept_home(verdicts), money, verdicts, str(page), found.warnings)


def _each_task(
    found: Audit, planned: Plan, traffic: Traffic, project: Project, bar: float, confidence: float,
    given: Mapping[str, Any], tell: Tell,
) -> FreeholdError | None:  # fmt: skip
    """A verdict for each task; what went wrong first, where no task got a student and not all stay by themselves."""
    from freehold.prove import without_student

    errors: list[FreeholdError] = []
    students = 0
    for task, step in zip(found.tasks, planned.tasks, strict=True):
        if step.go == "try":
            try:
                _one(task, found, traffic, project, bar, confidence, given, tell)
                students += 1
                continue
            except (*STAYS, *FAILS) as error:
                if task.kind == "labels" and not isinstance(error, NothingToLearn):
                    raise
                tell(f"{task.name}: {error}")
                errors += [error] if isinstance(error, FAILS) else []
                step = replace(step, go="not_yet", reason=_reason(error))
        project.save(without_student(task, step, bar=bar, confidence=confidence))
    return errors[0] if errors and not students else None


def _one(
    task: Task, found: Audit, traffic: Traffic, project: Project, bar: float, confidence: float,
    given: Mapping[str, Any], tell: Tell,
) -> None:  # fmt: skip
    """A student in the form in which it is served, and its verdict."""
    from freehold.engines.open import closing, open_student
    from freehold.prove import prove
    from freehold.shrink import shrink
    from freehold.tune import tune

    artifact = tune(task, traffic, project, **for_task(task, given), tell=tell)
    if artifact.kind == "adapter":
        artifact = shrink(task, artifact, project, tell=tell)
    with closing(open_student(project.artifact_path(artifact.sha256), artifact)) as own:
        prove(task, own, artifact, traffic, project, bar=bar, confidence=confidence, audit=found, tell=tell)


def _reason(error: FreeholdError) -> str:
    """What the verdict says, which goes onto pages: nothing that a user wrote."""
    if not isinstance(error, QUOTING):
        return str(error)
    return f"It got no student ({type(error).__name__}, exit code {error.exit_code}); freehold tune and shrink say why."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", nargs="+", metavar="LOG", help="JSONL file, .gz, or a folder of them")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--bar", help="agreement the owned model must keep, strictly between 0 and 1 (default 0.95)")
    parser.add_argument("--confidence", help="how sure of it, per task (default 0.95)")
    parser.add_argument("--until", metavar="TIME", help="only calls before this time (ISO 8601; naive means UTC)")
    parser.add_argument(
        "--encoder",
        metavar="NAME|DIR",
        action="append",
        help="another sentence encoder; again: a further one beside it",
    )
    parser.add_argument(
        "--finetune", metavar="DIR", type=Path, help="also fine-tune the BERT in this folder, as a further member"
    )
    parser.add_argument("--student", metavar="DIR", type=Path, help="your own ONNX classifier instead of tuning one")
    text_flags(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project, check_bar
    from freehold.tell import terminal
    from freehold.wire import dumps, time_given

    bar = None if args.bar is None else check_bar(args.bar)
    confidence = None if args.confidence is None else check_bar(args.confidence, "confidence")
    until = time_given(args.until)
    _readable(args.log)  # before a folder is made for it
    project = Project.create(args.project)
    options: dict[str, Any] = {"bar": bar, "confidence": confidence, "until": until}
    options |= {"encoder": args.encoder, "finetune": args.finetune, "student": args.student, "text": text_given(args)}
    with project.lock(), terminal() as tell:
        journey = switch(args.log, project, **options, tell=tell)
    if args.json:
        print(dumps(to_json(journey)).decode())
    else:
        _show(journey)
    return 0


def to_json(journey: Journey) -> dict[str, Any]:
    """The shape that `--json` prints."""

    def task(v: Verdict) -> dict[str, Any]:
        head = {"name": v.task, "kind": v.kind, "calls": v.calls, "verdict": v.decision, "needed": v.needed}
        figures = {"kept_home": v.kept_home, "agreement": v.agreement, "threshold": v.threshold}
        return head | figures | {"student": v.student, "reason": v.reason}

    head = {"project": journey.project, "bar": journey.bar, "confidence": journey.confidence}
    figures = {"kept_home": journey.kept_home, "saved_per_month": journey.saved_per_month}
    return head | figures | {"tasks": [task(v) for v in journey.verdicts], "report": journey.report}


def _show(journey: Journey) -> None:
    """The verdict, for people: plain lines that never wrap a figure, safe to copy."""
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True, markup=False)
    sure = f"{100 * journey.confidence:.6g} %"
    out.print(
        f"{journey.kept_home} of calls kept home at bar {journey.bar:g}, {sure} confidence per task", style="bold"
    )
    for v in journey.verdicts:
        out.print(f"\n{v.task}  {v.calls:,} calls  {v.decision.replace('_', ' ')}", style="bold")
        out.print(f"  kept home  {v.kept_home}")
        out.print(f"  agreement  {v.agreement}")
        out.print(f"  why        {v.reason}")
        for note in v.notes:
            out.print(f"  note       {note}")
    for warning in journey.warnings:
        out.print(f"\nnote    {warning}")
    out.print(f"\nmoney   {journey.saved_per_month}")
    out.print(f"        {journey.saved_per_month.method}")
    out.print(f"report  {journey.report}")
    if any(v.decision == "move" for v in journey.verdicts):
        serve = f"freehold serve {shlex.quote(journey.project)} --upstream"
        out.print(f"serve   {serve} https://api.openai.com/v1")
        out.print(f"        {serve} replay  (answers from the log, to try it offline)")


def _readable(paths: Sequence[str]) -> None:
    from freehold.errors import LogMissing, LogUnreadable

    for path in paths:
        try:
            there = Path(path).exists()
        except OSError as error:
            raise LogUnreadable(f"Can't read {path}: {error.strerror}.", "Check its permissions.") from None
        if not there:
            raise LogMissing(f"{path}: no such file or folder.", "Give a JSONL log, a .gz of one, or a folder.")
