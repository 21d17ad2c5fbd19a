"""Nouns to HTML: what each section shows, and the template that shows it, escaped by default.

page.html.j2   the sections, in reading order        report.js   draws the plots
proof.html.j2  tasks with plan or verdict, money     base.css    shared with the watch page
audit.html.j2  the audit's own page, audit.css       uPlot       inlined, with its licence
plan.html.j2   the plan's three pages (plan.py), plan.css, plan.js
train.html.j2  a training (train.py, train_curve.py), train.css
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from freehold.errors import BadSetting
from freehold.nouns import Artifact, Audit, LabelRow, Plan, Task, TaskPlan, TermsNotice, Verdict
from freehold.nouns.shown import shown
from freehold.report.audit import audit_page
from freehold.report.curve import Row, plot, rows
from freehold.report.plan import PLAN_TEMPLATES, plan_page
from freehold.report.plan_training import TRAINING_FILTERS
from freehold.report.plan_words import PLAN_FILTERS
from freehold.report.train import TRAIN_FILTERS
from freehold.report.words import FILTERS
from freehold.totals import HOURS, by_task

if TYPE_CHECKING:
    from freehold.report.gather import Export
    from freehold.report.train import Training

__all__ = ["TaskPage", "render", "render_plan", "render_training", "student_cards", "task_pages"]

WORST = 10  # labels or fields shown before the fold
TEMPLATES = (
    "page.html.j2", "proof.html.j2", "audit.html.j2", "audit_more.html.j2", "macros.html.j2", "train.html.j2",
    "train_alone.html.j2", *PLAN_TEMPLATES,
)  # fmt: skip
SHEETS = ("audit.css", "plan.css", "train.css")
PARTS = {"labels": "label", "json": "field", "tools": "tool or argument"}


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One task's section: what the log, the plan and the verdict say about it. `part` names what `worst` counts."""

    name: str
    task: Task | None
    step: TaskPlan | None
    verdict: Verdict | None
    rows: tuple[Row, ...]
    plot: dict[str, Any] | None
    worst: tuple[LabelRow, ...]
    others: tuple[LabelRow, ...]
    part: str


def task_pages(audit: Audit, plan: Plan | None, verdicts: Sequence[Verdict]) -> list[TaskPage]:
    """Every task that a plan or a verdict speaks of, the largest first; the audit's page has the others."""
    tasks = {t.name: t for t in audit.tasks}
    steps = {s.name: s for s in plan.tasks} if plan else {}
    proved = by_task(verdicts)
    size = {name: tasks[name].calls if name in tasks else step.calls for name, step in steps.items()}
    size |= {name: v.calls for name, v in proved.items()}
    return [_task_page(n, tasks.get(n), steps.get(n), proved.get(n)) for n in sorted(size, key=lambda n: (-size[n], n))]


def _task_page(name: str, task: Task | None, step: TaskPlan | None, verdict: Verdict | None) -> TaskPage:
    curve = tuple(rows(verdict)) if verdict else ()
    labels = verdict.labels if verdict else ()
    drawn = plot(verdict) if verdict else None
    part = PARTS.get(verdict.kind, "part") if verdict else ""
    return TaskPage(name, task, step, verdict, curve, drawn, labels[:WORST], labels[WORST:], part)


def student_cards(
    verdicts: Sequence[Verdict], artifacts: Sequence[Artifact], exports: Mapping[str, Export]
) -> list[tuple[Verdict, Artifact | None, Export | None]]:
    """Each verdict that names a student, with its artefact where the project holds it."""
    known = {a.sha256: a for a in artifacts}
    return [(v, known.get(v.student.sha256), exports.get(v.student.sha256)) for v in verdicts if v.student]


def _terms(verdicts: Sequence[Verdict]) -> list[tuple[TermsNotice, list[tuple[str, int]]]]:
    """Each notice once, with the tasks it is about and how many of their rows it counts (0: not counted)."""
    found: dict[TermsNotice, list[tuple[str, int]]] = {}
    for verdict in verdicts:
        for notice in verdict.terms:
            found.setdefault(replace(notice, rows=0), []).append((verdict.task, notice.rows))
    return list(found.items())


def _sources(audit: Audit, plan: Plan | None, verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """(what, where from), each pair once."""
    found = [("bill", (audit.per_month if audit.per_month.value is not None else audit.money).method)]
    found += [(f"retirement of {shown(m.model)}", m.source) for m in audit.models if m.source]
    if plan and plan.machine_cost.method:
        found.append(("cost of a machine", plan.machine_cost.method))
    found += [(f"terms of {n.vendor}, as of {n.as_of}", n.source) for n, _ in _terms(verdicts) if n.source]
    return [pair for pair in dict.fromkeys(found) if pair[1]]


def _package(*parts: str) -> str:
    return files("freehold").joinpath(*parts).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def render(
    *, audit: Audit, plan: Plan | None, verdicts: Sequence[Verdict], tasks: Sequence[TaskPage], **more: Any
) -> str:
    """Fill the template; a name that it doesn't know is an error, and so is a script that isn't ours (by hash)."""
    return _filled(
        "page.html.j2",
        audit=audit,
        plan=plan,
        plans=plan_page(plan),
        verdicts=verdicts,
        tasks=tasks,
        log=audit_page(audit),
        alone=plan is None and not verdicts,
        links={page.name: f"#task-{i}" for i, page in enumerate(tasks, 1)},
        terms=_terms(verdicts),
        sources=_sources(audit, plan, verdicts),
        hours=HOURS,
        only=False,
        **more,
    )


def render_plan(plan: Plan, *, training: Training | None, name: str, made: str) -> str:
    """The pages of a plan without a log, as a report of their own. Raises BadSetting where the plan decides nothing."""
    plans = plan_page(plan)
    if plans is None:
        raise BadSetting("The plan says nothing yet that a page could show.", "freehold plan makes it.")
    return _filled(
        "plan_alone.html.j2", plan=plan, plans=plans, verdicts=(), training=training, only=False, name=name, made=made
    )


def render_training(training: Training, *, name: str, made: str) -> str:
    """The page of a training, as a report of its own."""
    return _filled("train_alone.html.j2", training=training, only=True, name=name, made=made)


def _filled(template: str, **names: Any) -> str:
    from jinja2 import DictLoader, Environment, StrictUndefined
    from markupsafe import Markup

    from freehold import __version__

    environment = Environment(
        loader=DictLoader({name: _package("report", name) for name in TEMPLATES}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS | PLAN_FILTERS | TRAINING_FILTERS | TRAIN_FILTERS
    licence = _package("assets", "uplot", "LICENSE").strip()
    library = f"/*\n{licence}\n*/\n" + _package("assets", "uplot", "uPlot.iife.min.js").strip()
    sheets = [_package("assets", "base.css"), *(_package("report", name) for name in SHEETS)]
    style = _package("assets", "uplot", "uPlot.min.css") + "\n".join(("", *sheets))
    script = _package("report", "report.js") + _package("report", "plan.js")
    return environment.get_template(template).render(
        style=Markup(style),
        library=Markup(library),
        script=Markup(script),
        script_hashes=" ".join(_csp_hash(text) for text in (library, script)),
        style_hash=_csp_hash(style),
        version=__version__,
        **names,
    )
