"""report: one page for everyone who has to believe the verdict.

Audit ─┐
Plan ──┤
Verdicts ─┼─report→ report.html   one file: styles, script, plots and numbers inside, no outside request
Artifacts ┤
Training ─┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from freehold.nouns import Artifact, Audit, Plan, Verdict
from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from freehold.report.gather import Export
    from freehold.report.train import Training

__all__ = ["report"]


def report(
    audit: Audit | None,
    plan: Plan | None = None,
    verdicts: Sequence[Verdict] = (),
    *,
    artifacts: Sequence[Artifact] = (),
    exports: Mapping[str, Export] | None = None,
    notices: Sequence[str] = (),
    training: Training | None = None,
    name: str = "",
    made: str = "",
    tell: Tell = quiet,
) -> str:
    """The report as HTML, from whatever there is so far. Without an audit it is the plan's three pages, and without a
    plan either the page of a training.

    `artifacts` are the students that verdicts name, `exports` what each of them is in words and what its export lost,
    by its sha256; `notices` are what must stand beside the figures (such as which parts of an example log are
    constructed), `training` the newest model that was trained in the project; `name` and `made` (ISO 8601) head the
    page. Users' texts are never shown.
    """
    from freehold.report.headline import headline
    from freehold.report.page import render, render_plan, render_training, student_cards, task_pages

    tell("write the report")
    if audit is None:
        if plan is not None:
            return render_plan(plan, training=training, name=name, made=made)
        assert training is not None, "a report is about an audit, a plan or a training"
        return render_training(training, name=name, made=made)
    return render(
        audit=audit,
        plan=plan,
        verdicts=verdicts,
        head=headline(audit, plan, verdicts),
        tasks=task_pages(audit, plan, verdicts),
        students=student_cards(verdicts, artifacts, exports or {}),
        notices=notices,
        training=training,
        name=name,
        made=made,
    )
