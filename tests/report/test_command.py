"""freehold report: from the folder to the file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.nouns import Artifact, Audit, LogFile, Plan, Verdict
from freehold.project import Project
from freehold.report.gather import gather, notices, write_report


def test_the_report_is_written_and_its_path_printed(
    tmp_path: Path, audit: Audit, plan: Plan, verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.create(tmp_path / "desk")
    project.save(audit)
    assert main(["report", "--project", str(project.path)]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == project.path / "report.html"
    assert "No verdict yet" in path.read_text()
    project.save(plan)
    project.save(verdict)
    assert main(["report", "--project", str(project.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(path)}
    text = path.read_text()
    assert "69.0 % of calls can stay home." in text
    assert "</b> report · desk" in text


def test_the_students_that_verdicts_name(tmp_path: Path, audit: Audit, verdict: Verdict) -> None:
    project = Project.create(tmp_path / "desk")
    project.save(audit)
    made: list[Artifact] = [
        project.write_artifact(
            {"student.json": data},
            kind="labels",
            task="t",
            base="b",
            licence="MIT",
            recipe={"seed": 7},
            data_sha256="0",
        )
        for data in (b"one", b"two")
    ]
    assert verdict.student
    student = dataclasses.replace(verdict.student, sha256=made[1].sha256)
    project.save(dataclasses.replace(verdict, student=student))
    assert gather(project).artifacts == (made[1],)
    assert made[1].sha256 in write_report(project).read_text()


def test_a_notice_beside_the_log_is_shown(tmp_path: Path, audit: Audit) -> None:
    (tmp_path / "NOTICE.txt").write_text("Times are constructed.\n")
    for path in (tmp_path / "calls.jsonl.gz", tmp_path):
        log = LogFile((str(path),), "a", "b", 1, 1)
        assert notices(dataclasses.replace(audit, log=log)) == ("Times are constructed.",)
    assert notices(audit) == ()


def test_without_an_audit_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--project", str(tmp_path)]) == 20
    Project.create(tmp_path / "new")
    assert main(["report", "--project", str(tmp_path / "new")]) == 20
    assert "freehold audit" in capsys.readouterr().err
