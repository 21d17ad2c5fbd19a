"""What a project folder holds for its report, and the report written beside it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from freehold.engines.title import title
from freehold.errors import ProjectMissing
from freehold.facts import facts
from freehold.nouns import Artifact, Audit, Plan, Verdict
from freehold.project import Project, now
from freehold.report import report
from freehold.report.parity import Parity, parity
from freehold.report.train import Training, training, trainings
from freehold.tell import Tell, quiet

__all__ = ["Export", "Held", "gather", "notices", "write_report"]

NOTICE = "NOTICE.txt"
LONGEST = 4000


class Export(NamedTuple):
    """What a student is, in words, and the parity table of its export where it was exported."""

    title: str
    parity: Parity | None


class Held(NamedTuple):
    """`audit` is None where there is only a plan, made without a log, or only a training."""

    audit: Audit | None
    plan: Plan | None
    verdicts: tuple[Verdict, ...]
    artifacts: tuple[Artifact, ...]
    exports: dict[str, Export]
    notices: tuple[str, ...]
    training: Training | None = None


def gather(project: Project) -> Held:
    """Raises ProjectMissing where neither audit, plan nor trained model is there, ArtifactDamaged where a file can't
    be read."""
    plan = project.load(Plan) if project.has(Plan) else None
    trained = _training(project)
    enough = plan is not None or trained is not None
    if not enough and not project.has(Audit):
        _no_page(project)
    audit = None if enough and not project.has(Audit) else project.load(Audit)
    verdicts = project.verdicts()
    wanted = {v.student.sha256 for v in verdicts if v.student}
    artifacts = tuple(a for a in project.artifacts() if a.sha256 in wanted)
    exports = {a.sha256: _export(a, project.artifact_path(a.sha256)) for a in artifacts}
    return Held(audit, plan, verdicts, artifacts, exports, notices(audit) if audit else (), trained)


def _no_page(project: Project) -> None:
    """Raises ProjectMissing for a model that has no curve: one that was merged says what it is on its card."""
    models = [a for a in project.artifacts() if a.kind == "model"]
    if models:
        card = project.artifact_path(models[-1].sha256) / "README.md"
        raise ProjectMissing(
            f"{project.path} holds a merged model, which has no page: a report shows a log, a plan or a training.",
            f"Its card is {card}; tune it on a log to see what it is worth.",
        )


def _training(project: Project) -> Training | None:
    """The newest model that was trained here, with the others by name."""
    found = trainings(project.artifacts())
    if not found:
        return None
    newest, *others = found
    known = facts(project.settings.facts)
    return training(newest, project.artifact_path(newest.sha256), others=others, facts=known)


def _export(artifact: Artifact, folder: Path) -> Export:
    path = folder / "parity.json"
    return Export(title(artifact, folder), parity(path.read_bytes()) if path.is_file() else None)


def notices(audit: Audit) -> tuple[str, ...]:
    """The text of each NOTICE.txt that stands beside the log, or in its folder."""
    folders = [path if path.is_dir() else path.parent for path in map(Path, audit.log.paths)]
    found = [folder / NOTICE for folder in dict.fromkeys(folders)]
    return tuple(
        path.read_text(encoding="utf-8", errors="replace")[:LONGEST].strip() for path in found if path.is_file()
    )


def write_report(project: Project, *, tell: Tell = quiet) -> Path:
    """Write report.html into the project and return its path."""
    held = gather(project)
    name = project.path.resolve().name
    page = report(
        held.audit,
        held.plan,
        held.verdicts,
        artifacts=held.artifacts,
        exports=held.exports,
        notices=held.notices,
        training=held.training,
        name=name,
        made=now(),
        tell=tell,
    )
    return project.write("report.html", page.encode())
