"""The words that cross rooms: frozen, plain, written to the project folder as JSON and read back.

    calls.jsonl ─audit→ Audit ─plan→ Plan ─tune→ Artifact ─prove→ Verdict ─serve→ ledger ─watch→ page
                          └ Task ─ Template                      └ Measure

    calls.py   a log's words            audit.py   what a log holds
    plan.py    what a plan says         proof.py   what was made, and what it may answer
    training.py    where a student is trained

A Measure, as every claim carries it:
    {"value": 0.925, "low": 0.917, "high": 0.933, "n": 4550, "unit": "share", "method": "Clopper-Pearson 95 %"}
"""

from freehold.nouns.audit import Audit, FirstMove, Health, Load, ModelUse, Private, Repeats, Spend, Surface
from freehold.nouns.calls import BadRow, Call, Kind, LogFile, Measure, Message, Slot, Task, Template, Tokens
from freehold.nouns.plan import (
    Advice,
    Assumption,
    Candidate,
    Card,
    Constraint,
    Demand,
    Duty,
    Fact,
    Fit,
    Flip,
    Law,
    ModelDemand,
    Option,
    Outcome,
    Plan,
    Replay,
    Speed,
    TaskPlan,
    Way,
)
from freehold.nouns.proof import (
    Answer,
    Artifact,
    Decision,
    Evidence,
    LabelRow,
    Point,
    Student,
    TaskStudent,
    TermsNotice,
    Verdict,
)
from freehold.nouns.training import Site, Spread, Training

__all__ = [
    "Advice", "Answer", "Artifact", "Assumption", "Audit", "BadRow", "Call", "Candidate", "Card", "Constraint",
    "Decision", "Demand", "Duty", "Evidence", "Fact", "FirstMove", "Fit", "Flip", "Health", "Kind", "LabelRow",
    "Law", "Load", "LogFile", "Measure", "Message", "ModelDemand", "ModelUse", "Option", "Outcome", "Plan", "Point",
    "Private", "Repeats", "Replay", "Site", "Slot", "Speed", "Spend", "Spread", "Student", "Surface", "Task",
    "TaskPlan", "TaskStudent", "Template", "TermsNotice", "Tokens", "Training", "Verdict", "Way",
]  # fmt: skip
