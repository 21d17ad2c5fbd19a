"""The words that cross rooms: frozen, plain, written to the project folder as JSON and read back.

    calls.jsonl ─audit→ Audit ─plan→ Plan ─tune→ Artifact ─prove→ Verdict ─serve→ ledger ─watch→ page
                          └ Task ─ Template                      └ Measure

    calls.py   a log's words            audit.py   what a log holds            proof.py   from plan to proof

A Measure, as every claim carries it:
    {"value": 0.925, "low": 0.917, "high": 0.933, "n": 4550, "unit": "share", "method": "Clopper-Pearson 95 %"}
"""

from freehold.nouns.audit import Audit, FirstMove, Health, Load, ModelUse, Private, Repeats, Spend, Surface
from freehold.nouns.calls import BadRow, Call, Kind, LogFile, Measure, Message, Slot, Task, Template, Tokens
from freehold.nouns.proof import (
    Answer,
    Artifact,
    Decision,
    Evidence,
    LabelRow,
    Plan,
    Point,
    Student,
    TaskPlan,
    TaskStudent,
    TermsNotice,
    Verdict,
)

__all__ = [
    "Answer", "Artifact", "Audit", "BadRow", "Call", "Decision", "Evidence", "FirstMove", "Health", "Kind", "LabelRow",
    "Load", "LogFile", "Measure", "Message", "ModelUse", "Plan", "Point", "Private", "Repeats", "Slot", "Spend",
    "Student", "Surface", "Task", "TaskPlan", "TaskStudent", "Template", "TermsNotice", "Tokens", "Verdict",
]  # fmt: skip
