"""What the report says of students that extract and write: fields, rules of the terms, parity, never an answer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.measure import share
from freehold.nouns import Artifact, Audit, LabelRow, Measure, Plan, TaskStudent, TermsNotice, Verdict
from freehold.project import Project
from freehold.report import report
from freehold.report.gather import gather, write_report
from freehold.report.parity import parity

from .test_browser import PAPER, look
from .test_report import Page


def line(form: str, size: float, kl: float, p99: float, top1: int, equal: int, why: str = "") -> dict[str, Any]:
    """A format as `shrink` writes it. The figures are of a 135M model, whose Q4_K_M is mostly Q8_0 at its width."""
    shares = {"top1": share(top1, 1080), "equal": share(equal, 100), "agreement": share(69, 100)}
    return {
        "format": form, "bytes": size, "passed": not why, "why": why, "kl": Measure(kl, unit="nat"), "p99": p99,
        "max": 1.0, "example": "'play the secret song': 'a' became 'b'" if why else "", **shares,
    }  # fmt: skip


TABLE = {
    "version": 1, "form": "merged", "taken": "Q8_0", "rows": 100, "merge": {"largest_logit_difference": 1e-5},
    "float32": {"same_ids": 100, "largest_logit_difference": 4.2e-4, "positions": 1080, "greedy_changed": 0},
    "formats": [
        line("F32", 538_000_000, 1e-9, 1e-8, 1080, 100),
        line("Q4_K_M", 135_000_000, 0.0327, 0.13, 994, 90, "mean KL 0.033 nat, 0.03 is allowed"),
        line("Q8_0", 145_000_000, 0.00427, 0.02, 1014, 99),
        line("BF16", 271_000_000, 0.00015, 0.0007, 1071, 100),
    ],
    "served": {"same_ids": 100, "equal": share(100, 100), "agreement": share(69, 100), "gained": share(0, 100)},
}  # fmt: skip
FIELDS = (
    LabelRow("entities.artist", 610, 402, 11),
    LabelRow("entities.party_size_number", 300, 298, 2),
    LabelRow("intent", 700, 640, 1),
)


def table(**changes: Any) -> bytes:
    return msgspec.json.encode(TABLE | changes)


@pytest.fixture
def project(tmp_path: Path, audit: Audit, plan: Plan, verdict: Verdict) -> Project:
    """The world's task as one with JSON answers, and its student a language model that was exported."""
    made = Project.create(tmp_path / "desk")
    about = {"version": 1, "mode": "merged", "quant": "Q8_0"}
    artifact = made.write_artifact(
        {"decoder.json": json.dumps(about).encode(), "parity.json": table()},
        kind="decoder", task=verdict.task, base="smollm2", licence="Apache-2.0", data_sha256="0",
        recipe={"rank": 16, "terms": [{"vendor": "openai"}], "steps": [{"loss": 1.0}, {"loss": 0.5}]},
    )  # fmt: skip
    task = dataclasses.replace(audit.tasks[0], kind="json", rule="json", labels=(), why="98 % of answers are JSON")
    made.save(dataclasses.replace(audit, tasks=(task,)))
    made.save(plan)
    student = TaskStudent(artifact.sha256, "smollm2", "Apache-2.0")
    made.save(dataclasses.replace(verdict, kind="json", labels=FIELDS, student=student))
    return made


def test_fields_not_labels(project: Project) -> None:
    page = Page(write_report(project).read_text())
    assert "Certification calls by field, worst first." in page.text
    assert "entities.artist 610 402 66 % 11" in page.text
    assert "most often taken for" not in page.text
    assert "compared by: json, 98 % of answers are JSON" in page.text


def test_the_student_in_words_and_what_its_export_lost(project: Project) -> None:
    page = Page(write_report(project).read_text())
    assert "LoRA on smollm2, merged, Q8_0" in page.text
    assert "same top token n = 1,080 same answers n = 100 agreement n = 100 outcome" in page.text
    assert "F32 538 1e-09 1e-08 100.0 % 99.7 to 100.0 100.0 % 96.4 to 100.0 69.0 % 59.0 to 77.9 reference" in page.text
    assert "Q4_K_M 135 0.033 0.13 92.0 % 90.3 to 93.6 90.0 % 82.4 to 95.1 69.0 % 59.0 to 77.9 refused" in page.text
    assert "Q4_K_M is refused: mean KL 0.033 nat, 0.03 is allowed." in page.text
    assert "Q8_0 145 0.0043 0.02 93.9 % 92.3 to 95.2 99.0 % 94.6 to 100.0 69.0 % 59.0 to 77.9 taken" in page.text
    assert "BF16 271" in page.text
    assert "at most 4.2e-04 at 1,080 positions; 100 texts give the same token ids" in page.text
    assert "the same answers as measured: 100.0 % (96.4 to 100.0, n = 100)" in page.text
    assert "secret song" not in page.text  # a user's text
    assert "rank 16 steps 2 entries" in page.text  # the terms have a section of their own


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", table(formats=3), table(formats=[{}])])
def test_no_table_where_there_is_none(data: bytes) -> None:
    assert parity(data) is None


def test_a_half_written_parity_file_is_no_error(project: Project) -> None:
    (sha256,) = gather(project).exports
    (project.artifact_path(sha256) / "parity.json").write_bytes(b'{"rows": [')
    assert gather(project).exports[sha256].parity is None
    assert "LoRA on smollm2" in write_report(project).read_text()


def test_each_rule_with_the_rows_it_counts(audit: Audit, verdict: Verdict) -> None:
    (notice,) = verdict.terms
    counted = dataclasses.replace(notice, rows=1200)
    open_model = TermsNotice(
        "qwen", "T9", "ALLOW", "An open model.", "Apache-2.0", "https://x.example", "2026-01-01", 30
    )
    one = dataclasses.replace(verdict, terms=(counted, open_model))
    other = dataclasses.replace(verdict, task="other", terms=(dataclasses.replace(notice, rows=1),))
    page = Page(report(audit, None, [one, other]))
    assert page.text.count(notice.text) == 1
    assert f"task {verdict.task} 1,200 rows of its log task other 1 row of its log" in page.text
    assert f"task {verdict.task} 30 rows of its log" in page.text


@pytest.mark.parametrize(("kind", "said"), [("text", "The other 3 parts"), ("tools", "by tool or argument")])
def test_more_parts_than_fit_before_the_fold(audit: Audit, verdict: Verdict, kind: Any, said: str) -> None:
    parts = tuple(LabelRow(f"city[{i}]", 9, 8, 1) for i in range(13))
    page = Page(report(audit, None, [dataclasses.replace(verdict, kind=kind, labels=parts)]))
    assert said in page.text


def test_it_fits_everywhere(project: Project, artifact: Artifact) -> None:
    for view in look(write_report(project), "--eval", PAPER):
        assert view["errors"] == []
        assert view["overflow"] == 0
