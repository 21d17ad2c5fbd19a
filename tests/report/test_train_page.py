"""The page of a training: what it says, what it escapes, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.cli import main
from freehold.errors import ArtifactDamaged
from freehold.nouns import Artifact, Audit
from freehold.project import Project
from freehold.report.gather import gather, write_report
from freehold.report.train import trainings
from freehold.report.train_curve import curve

LOSSES = [6.9 * 0.99**step + 2 for step in range(400)]
HOSTILE = "</script><script>alert(1)</script>\u202egnp.exe\nand a second line"
RECIPE = {"model": "freehold train 1", "asked": "0"}


def said(**changed: Any) -> dict[str, Any]:
    shape = {"layers": 2, "width": 64, "inner": 192, "heads": 2, "kv_heads": 2, "context": 32, "vocabulary": 300}
    look = {"step": 400, "loss": 2.25, "bits_per_byte": 1.6234, "rows": 7, "of": 9}
    trained = {
        "steps": 400, "tokens": 25_600, "losses": LOSSES, "evals": [look | {"step": 200, "loss": 3.0}, look],
        "seconds": 90.0, "cpu_seconds": 71.0, "tokens_per_second": 284.0, "samples": [HOSTILE],
    }  # fmt: skip
    plan = {"shape": shape, "rows": 2, "start": "", "why": ["Rate: 0.002, as <b>said</b>.", "vocabulary 300, as said"]}
    return {"plan": plan, "trained": trained | changed, "size": {"total": 172_352, "active": 92_001}}


def corpus() -> dict[str, Any]:
    part = {"name": "holmes<i>", "licence": "CC-BY-SA-4.0", "source": "https://example.org/a javascript:alert(2)"}
    counts = {"part": part, "documents": 12, "bytes": 5_755, "same": 3, "alike": 0, "skipped": 2, "sha256": "1"}
    return {
        "parts": [counts], "vocabulary": 300, "end": 0, "tokens": 12_800, "held_out_tokens": 900,
        "held_out_bytes": 2_000, "sha256": "2", "why": ["held out: 3 documents"],
    }  # fmt: skip


def store(project: Project, training: Any, *, recipe: dict[str, Any] = RECIPE, files: bool = True) -> Artifact:
    text = training if isinstance(training, bytes) else json.dumps(training).encode()
    found = {"training.json": text, "corpus.json": json.dumps(corpus()).encode()} if files else {}
    return project.write_artifact(
        {"config.json": b"{}", **found}, kind="model", task="", base="", licence="CC-BY-SA-4.0", recipe=recipe,
        data_sha256="2",
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "own")


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]).split())


def test_a_model_alone_has_a_page(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    made = store(project, said())
    assert main(["report", "--project", str(project.path)]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text()
    text = words(page)
    for figure in (
        "1.62 bits a byte on text held out.", "172,352 parameters, 92,001 of them active, trained from nothing",
        "2.250 nats a token; 7 of 9 rows looked at, after step 400", "900 tokens, 2,000 bytes", "92,001 active a token",
        "25,600 tokens 2.0 times through 12,800, in 400 steps", "1.5 minutes 71 CPU seconds; 284 tokens a second",
        "rate 0.002, as", "also vocabulary 300, as said", "text held out: 3 documents",
        "3 the same as another; 2 binary", "began from nothing", made.sha256, "same licence",
        "learned, mean of 3 steps",
    ):  # fmt: skip
        assert figure in text, figure
    assert page.count("<circle") == 2
    assert "<script" not in page, "nothing on it needs one"


def test_what_the_model_wrote_is_shown_as_text(project: Project) -> None:
    store(project, said())
    page = write_report(project).read_text()
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;gnp.exe\nand a second line" in page
    assert "\u202e" not in page
    assert "holmes&lt;i&gt;" in page
    assert "as &lt;b&gt;said&lt;/b&gt;" in page
    assert 'href="https://example.org/a"' in page
    assert 'href="javascript' not in page


def test_beside_an_audit_it_is_a_section(project: Project, audit: Audit) -> None:
    project.save(audit)
    assert 'id="training"' not in write_report(project).read_text()
    store(project, said())
    page = write_report(project).read_text()
    assert "No verdict yet" in page
    assert '<a href="#training">' in page
    assert "1.62 bits a byte on text held out. A language model" in words(page)
    assert page.index('id="audit"') < page.index('id="training"')


def test_the_newest_comes_first_and_a_merged_model_is_none(project: Project) -> None:
    first, second = store(project, said(steps=399)), store(project, said())
    merged = store(project, said(), recipe={"model": "merge 1"}, files=False)
    old = replace(first, made="2026-01-01T00:00:00Z")
    new = replace(second, made="2026-01-02T00:00:00Z")
    assert trainings([old, new, merged]) == trainings([merged, new, old]) == (new, old)


def test_the_others_are_named(project: Project) -> None:
    both = {store(project, said(steps=steps)).sha256 for steps in (399, 400)}
    held = gather(project).training
    assert held
    (other,) = both - {held.artifact.sha256}
    assert f"made before {other[:12]}" in words(write_report(project).read_text())


@pytest.mark.parametrize(
    "training",
    [b"{", b"[]", b'{"plan": {}}', said(losses=["x"]), said(losses=[None, 1.0]), said(evals=[{"step": 1}])],
    ids=["cut", "a list", "no shape", "a word", "no number", "half a look"],
)
def test_a_training_of_another_form_is_refused_in_a_sentence(project: Project, training: Any) -> None:
    store(project, training)
    with pytest.raises(ArtifactDamaged, match=r"training\.json is not what freehold train writes: .+\.$"):
        gather(project)


@pytest.mark.parametrize("name", ["training.json", "corpus.json"])
def test_a_changed_or_missing_file_is_refused(project: Project, name: str) -> None:
    path = project.artifact_path(store(project, said()).sha256) / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactDamaged, match=f"{name} is not as it was written"):
        gather(project)
    path.unlink()
    with pytest.raises(ArtifactDamaged, match=f"{name} is not as it was written"):
        gather(project)


def test_a_run_too_short_to_measure_has_neither_curve_nor_looks(project: Project) -> None:
    store(project, said(losses=[5.0], evals=[], samples=[], steps=1))
    page = write_report(project).read_text()
    assert "not measured" in words(page)
    assert "panel loss" not in page.partition("</style>")[2]
    assert "What it writes" not in page


def test_the_curve_keeps_every_step_inside_its_frame() -> None:
    drawn = curve(LOSSES, [(200, 3.0), (400, 2.25)])
    assert drawn
    points = [tuple(map(float, p.split(","))) for p in f"{drawn.line} {drawn.band} {drawn.held}".split()]
    assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in points)
    assert drawn.each == 3
    assert len(drawn.line.split()) == 134
    first, *_, last = (float(p.split(",")[1]) for p in drawn.line.split())
    assert first < last, "a falling loss goes down the page"
    assert [level.text for level in drawn.levels] == ["2", "4", "6", "8", "10"]
    assert [tick.text for tick in drawn.steps] == ["0", "200", "400"]


def test_a_curve_needs_two_steps_and_stands_a_flat_one() -> None:
    assert curve([3.0], []) is None
    flat = curve([3.0, 3.0], [])
    assert flat
    assert flat.band == flat.held == ""


def test_a_merged_model_alone_has_no_page_and_says_where_its_card_is(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    made = store(project, said(), recipe={"model": "freehold merge 1"}, files=False)
    assert main(["report", "--project", str(project.path)]) == 20
    told = " ".join(capsys.readouterr().err.split())
    assert "holds a merged model, which has no page" in told
    assert str(project.artifact_path(made.sha256) / "README.md") in told
