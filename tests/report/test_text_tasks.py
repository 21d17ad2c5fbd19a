"""What the report says of students that extract and write: fields, rules of the terms, parity, never an answer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from freehold.measure import share
from freehold.nouns import Artifact, Audit, LabelRow, Plan, TaskStudent, Verdict
from freehold.project import Project
from freehold.report.gather import gather, write_report
from freehold.report.parity import Cell, Parity, parity

from .test_browser import PAPER, look
from .test_report import Page

# as measured on a 135M model (Q4_K_M is mostly Q8_0 at its width)
FIRST = {"prompt": "play the secret song", "ours": "a", "theirs": "b"}
ROWS: list[dict[str, Any]] = [
    {"format": "Q4_K_M", "mb": 135, "kl_mean": 0.01271, "kl_p99": 0.13, "top1": share(994, 1080),
     "equal": share(90, 100), "passed": False, "first": FIRST, "why": "changed: play the secret song"},
    {"format": "Q8_0", "mb": 145, "kl_mean": 0.00427, "kl_p99": 0.02, "top1": share(1014, 1080),
     "equal": share(99, 100), "passed": True},
]  # fmt: skip
FIELDS = (
    LabelRow("entities.artist", 610, 402, 11),
    LabelRow("entities.party_size_number", 300, 298, 2),
    LabelRow("intent", 700, 640, 1),
)


def plain(rows: list[dict[str, Any]]) -> Any:
    return json.loads(json.dumps({"model": "x", "rows": rows}, default=dataclasses.asdict))


@pytest.fixture
def project(tmp_path: Path, audit: Audit, plan: Plan, verdict: Verdict) -> Project:
    """The world's task as one with JSON answers, and its student a language model that was exported."""
    made = Project.create(tmp_path / "desk")
    about = {"version": 1, "mode": "merged", "quant": "Q8_0"}
    artifact = made.write_artifact(
        {"decoder.json": json.dumps(about).encode(), "parity.json": json.dumps(plain(ROWS)).encode()},
        kind="decoder", task=verdict.task, base="smollm2", licence="Apache-2.0", recipe={"rank": 16}, data_sha256="0",
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
    assert "format mb kl mean kl p99 top1 equal passed" in page.text
    assert "Q4_K_M 135 0.0127 0.13 92.0 % 90.3 to 93.6, n = 1,080 90.0 % 82.4 to 95.1, n = 100 no" in page.text
    assert "Q8_0 145" in page.text
    assert "secret song" not in page.text  # a user's text


@pytest.mark.parametrize("said", [None, [], {}, {"rows": []}, {"rows": [1]}, [{"first": {"a": 1}}], "x", 3])
def test_no_table_where_there_is_none(said: Any) -> None:
    assert parity(said) is None


def test_a_damaged_figure_leaves_its_cell_empty() -> None:
    rows = [{"format": "BF16", "top1": {"value": "many"}}, {"format": "Q8_0", "top1": {"value": 0.5, "n": 2}}]
    cells = ((Cell("BF16"), Cell()), (Cell("Q8_0"), Cell("50.0 %", "n = 2")))
    assert parity(rows) == Parity(("format", "top1"), cells)


def test_a_half_written_parity_file_is_no_error(project: Project) -> None:
    (sha256,) = gather(project).exports
    (project.artifact_path(sha256) / "parity.json").write_bytes(b'{"rows": [')
    assert gather(project).exports[sha256].parity is None
    assert "LoRA on smollm2" in write_report(project).read_text()


def test_it_fits_everywhere(project: Project, artifact: Artifact) -> None:
    for view in look(write_report(project), "--eval", PAPER):
        assert view["errors"] == []
        assert view["overflow"] == 0
