"""The plan's three pages: for the CTO, for the engineer, for the lawyer, from the Plan noun alone.

Plan ─┬─ plan_cto.py ──────→ plan_cto.html.j2         what to do, what each way costs, what would change it
      ├─ plan_engineer.py ─→ plan_engineer.html.j2    memory, speed, load, candidates, what must be measured
      └─ plan_lawyer.py ───→ plan_lawyer.html.j2      licences, the gate, the AI Act, what is unread, signatures

plan_risks.py says what to watch, plan_words.py how figures read. plan.html.j2 holds the three; plan_alone.html.j2 is
the whole report of a plan without a log. plan.js draws the plots, plan.css is theirs. A part that the plan doesn't hold
is left out, and so is a page with nothing on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from freehold.nouns import Plan
from freehold.report.plan_cto import Cto, cto, headword
from freehold.report.plan_engineer import Engineer, engineer
from freehold.report.plan_lawyer import Lawyer, lawyer

__all__ = ["PLAN_TEMPLATES", "PlanPage", "plan_page"]

PLAN_TEMPLATES = (
    "plan.html.j2", "plan_cto.html.j2", "plan_engineer.html.j2", "plan_lawyer.html.j2", "plan_macros.html.j2",
    "plan_alone.html.j2", "plan_training.html.j2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlanPage:
    """What each page shows (None: the plan holds nothing for it). `word` and `sentence` head a report that has no
    verdict yet; `links` are the pages that are there."""

    plan: Plan
    cto: Cto | None
    engineer: Engineer | None
    lawyer: Lawyer | None
    word: str
    sentence: str

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        pages = (("plan-cto", "For the CTO", self.cto), ("plan-engineer", "For the engineer", self.engineer),
                 ("plan-lawyer", "For the lawyer", self.lawyer))  # fmt: skip
        return tuple((anchor, name) for anchor, name, page in pages if page is not None)


def plan_page(plan: Plan | None) -> PlanPage | None:
    """None for no plan, and for one that says only which tasks to try."""
    if plan is None:
        return None
    pages = cto(plan), engineer(plan), lawyer(plan)
    if not any(pages):
        return None
    advice = plan.advice
    return PlanPage(plan, *pages, headword(plan), advice.sentence if advice else "")
