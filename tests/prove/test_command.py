"""freehold prove from the command line, with a real student fitted on a slice of the bundled log."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from freehold.audit import audit
from freehold.engines.encoder import Encoder
from freehold.errors import BadSetting, ProjectMissing
from freehold.nouns import Plan, TaskPlan, Verdict
from freehold.plan import plan
from freehold.project import Project
from freehold.prove import command
from freehold.traffic import evidence, read, split
from freehold.tune.label import fit
from freehold.tune.rows import rows_of


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Path:
    """A project as tune leaves it: the calls of the four commonest labels, and a student of them."""
    folder = tmp_path_factory.mktemp("command")
    said = [row["response"]["choices"][0]["message"]["content"] for row in rows]
    common = {label for label, _ in Counter(said).most_common(4)}
    log = folder / "calls.jsonl"
    log.write_text("".join(json.dumps(r) + "\n" for r, label in zip(rows, said, strict=True) if label in common))
    traffic = read([log])
    found = audit(traffic)
    opened = Project.create(folder / "project")
    opened.save(found)
    opened.save(plan(found))
    (task,) = found.tasks
    calls = evidence(task, traffic)
    texts = [task.template.text(c.messages) or "" for c in calls]
    at = split(texts).fit
    labels = [calls[i].answer or "" for i in at]
    fitted = fit([texts[i] for i in at], labels, encoders=[Encoder.bundled("bge-small-en")])
    about = {"kind": "label", "task": task.name, "base": "bge-small-en", "licence": "MIT"}
    opened.write_artifact(fitted.files, **about, recipe=fitted.recipe, data_sha256=rows_of(task, traffic).sha256)
    return folder / "project"


def asked(project: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.flags(parser)
    return parser.parse_args(["--project", str(project), *more])


def test_json_is_the_saved_verdicts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(asked(project, "--bar", "0.8", "--json")) == 0
    (said,) = json.loads(capsys.readouterr().out)
    (saved,) = Project.open(project).verdicts()
    assert (said["task"], said["decision"], said["bar"]) == (saved.task, saved.decision, 0.8)
    assert said["kept_home"]["n"] == saved.kept_home.n > 20
    assert saved.decision in ("move", "need_more")
    assert saved.agreement.value is not None
    assert saved.agreement.value > 0.8  # four labels, a real encoder


def test_the_table_starts_with_the_sentence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(asked(project, "--bar", "0.8")) == 0
    (saved,) = Project.open(project).verdicts()
    assert capsys.readouterr().out.strip().startswith(f"{saved.task}: ")


def test_an_unknown_task(project: Path) -> None:
    with pytest.raises(BadSetting, match="'nobody'"):
        command.run(asked(project, "--task", "nobody"))


@pytest.mark.parametrize("flag", ["--bar", "--confidence"])
def test_a_bar_that_is_no_share(project: Path, flag: str) -> None:
    with pytest.raises(BadSetting, match=f"{flag[2:]} is"):
        command.run(asked(project, flag, "high"))


def test_a_task_without_a_student_gets_the_plan_s_reason(project: Path, tmp_path: Path) -> None:
    opened = Project.open(project)
    kept = opened.load(Plan)
    (step,) = kept.tasks
    few = TaskPlan(step.name, "labels", 229, "too_few", "Too few calls.", {"0.95": 236})
    opened.save(Plan((few,), kept.machine_cost, kept.bill))
    try:
        command.run(asked(project, "--json"))
        (verdict,) = opened.verdicts()
        assert isinstance(verdict, Verdict)
        assert (verdict.decision, verdict.needed) == ("need_more", 7)
    finally:
        opened.save(kept)


def test_no_student_yet(tmp_path: Path, project: Path) -> None:
    from freehold.nouns import Audit

    empty = Project.create(tmp_path / "empty")
    made = Project.open(project)
    empty.save(made.load(Audit))
    empty.save(made.load(Plan))
    with pytest.raises(ProjectMissing, match="no student"):
        command.run(asked(tmp_path / "empty"))
