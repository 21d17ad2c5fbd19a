"""A small true world for the report.

world.json holds real numbers: a logistic regression on word pairs, fitted on three quarters of a public set of 23,700
utterances with 151 intents (CLINC150, CC-BY-3.0) and compared on 5,900 others: [threshold, kept, errors, marked] and
[label, calls, kept, wrong, most often taken for].
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.measure import share
from freehold.nouns import (
    Artifact,
    Audit,
    BadRow,
    Evidence,
    LabelRow,
    LogFile,
    Measure,
    ModelUse,
    Plan,
    Point,
    Repeats,
    Slot,
    Task,
    TaskPlan,
    TaskStudent,
    Template,
    TermsNotice,
    Tokens,
    Verdict,
)

WORLD = json.loads((Path(__file__).parent / "world.json").read_text())
SHA = "3f9a0c12b7e4d5568891a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7"
PER_MONTH = Measure(41.2, None, None, 23700, "USD/month", "the log's bill scaled to 30.44 days")
SYSTEM = "You are the router of a bank's support desk. Answer with exactly one of these labels: "


@pytest.fixture
def task() -> Task:
    labels = tuple(row[0] for row in WORLD["labels"])
    template = Template((Slot("system", SYSTEM + ", ".join(labels)), Slot("user", "", "", True)))
    money = Measure(57.1, None, None, 23700, "USD", "tokens x price at each call's date")
    return Task(
        "router-3fa1", template, "labels", 23688, 23688 / 23700, "exact", labels, ("gpt-4o-mini",), {}, 6,
        Tokens(16_900_000, 71_000), money, "how do i freeze my card",
    )  # fmt: skip


@pytest.fixture
def audit(task: Task) -> Audit:
    tokens = Tokens(16_912_345, 71_234, 1_024, 0)
    model = ModelUse(
        "gpt-4o-mini", "openai", 23700, tokens, task.money, 23700, "2027-01-14", 51,
        "https://developers.openai.com/api/docs/deprecations",
    )  # fmt: skip
    return Audit(
        log=LogFile(("logs/calls.jsonl.gz",), "ab" * 32, "cd" * 32, 23703, 3_000_000),
        calls=23700,
        bad_rows=3,
        bad=(BadRow(17, "not JSON: truncated", "logs/calls.jsonl.gz"), BadRow(901, "a message has no role")),
        tasks=(task,),
        tokens=tokens,
        money=task.money,
        per_month=PER_MONTH,
        first=1_790_000_000.0,
        last=1_793_628_800.0,
        models=(model,),
        repeats=Repeats(212, 431, share(209, 212)),
        conflicts=3,
        warnings=("3 texts have more than one answer; all of them count.",),
        made="2026-11-24T20:00:00+00:00",
    )


@pytest.fixture
def plan(task: Task) -> Plan:
    step = TaskPlan(
        task.name, "labels", task.calls, "try", "23,688 calls are enough for a proof at 0.99.",
        {"0.9": 116, "0.95": 236, "0.98": 596, "0.99": 1196}, "stack on a sentence encoder",
        Measure(2.1, 1.5, 3.0, 3, "minutes", "measured on two cores"),
    )  # fmt: skip
    machine = Measure(0.02, None, None, 0, "USD/h", "a small virtual machine with 2 cores, list price, 2026-11-01")
    lines = ("The bill goes on at the pace of this log.", "One machine, up all month.")
    return Plan((step,), machine, PER_MONTH, lines, "2026-11-24T20:00:01+00:00")


@pytest.fixture
def verdict(task: Task) -> Verdict:
    n, at = WORLD["n"], WORLD["threshold"]
    curve = tuple(Point(*row) for row in WORLD["curve"])
    kept, errors = next((p.kept, p.errors) for p in curve if p.threshold == at)
    evidence = Evidence(
        17765, 5923, n, "ef" * 32, 1, 0.95, 1.004, 0.0375, 0.9912, 1_793_300_000.0,
        Measure(0.9921, 0.9862, 0.9959, 1_644, "share", "the newest tenth of the certification calls"),
        "two-entry fallback over 99 thresholds, exact binomial",
    )  # fmt: skip
    kept_home = share(kept, n)
    agreement = Measure(1 - errors / kept, 0.99, 1.0, kept, "share", "the bar is certified: two-entry fallback")
    machine = Measure(14.61, None, None, 0, "USD/month", "one machine")
    saved = Measure(13.8, None, None, 0, "USD/month", "kept share x bill - machine")
    terms = TermsNotice(
        "OpenAI", "T1", "allowed", "A classifier that stays inside the team is a permitted exception.",
        "Services Agreement 3.3(e)", "https://openai.com/policies/services-agreement", "2026-01-01",
    )  # fmt: skip
    return Verdict(
        task=task.name,
        kind="labels",
        calls=task.calls,
        share=task.share,
        bar=0.99,
        confidence=0.95,
        decision="move",
        reason=f"Where its score reaches {at}, the student is certified to agree on at least 99 % of calls.",
        needed=None,
        kept_home=kept_home,
        agreement=agreement,
        threshold=at,
        student=TaskStudent(SHA, "bge-small-en, int8", "MIT"),
        evidence=evidence,
        curve=curve,
        labels=tuple(LabelRow(*row) for row in WORLD["labels"]),
        noise=share(209, 212),
        latency=Measure(4.1, 3.8, 5.9, 200, "ms", "median of single calls in process, 5 to 95 %"),
        money={"bill": PER_MONTH, "home": machine, "saved": saved},
        terms=(terms,),
        notes=("The ceiling for answering every call is 99.6 %.",),
        made="2026-11-24T20:05:00+00:00",
    )


@pytest.fixture
def artifact(verdict: Verdict) -> Artifact:
    recipe = {"members": ["lr", "svc", "knn"], "weights": {"lr": 0.41, "svc": 0.35}, "seed": 0}
    files = {"student.json": "aa" * 32, "weights.safetensors": "bb" * 32}
    base = "bge-small-en, int8"
    return Artifact(SHA, "labels", verdict.task, base, "MIT", (), recipe, "cc" * 32, files, "2026-11-24T20:04:00+00:00")
