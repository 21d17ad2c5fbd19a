"""freehold plan from the command line: amounts typed by hand, the gate, what can't be planned, and --verify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.cli import main

DAY = ("--on", "2026-11-25")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan") / "p"
    assert main(["plan", "--tokens", "10M/month", "--from", "gpt-6-luna", "--project", str(folder), *DAY]) == 0
    return folder


def test_amounts_need_no_log_and_no_project(project: Path) -> None:
    made = json.loads((project / "plan.json").read_text())
    assert made["advice"]["word"] == "STAY"
    assert made["demand"]["given"] is True
    assert made["given"]["tokens"] == "10M/month"
    assert made["tasks"] == []
    assert made["options"][0]["month"]["value"] == pytest.approx(10 * (0.75 * 0.1 + 0.25 * 0.5))


def test_the_same_amounts_facts_and_day_give_the_same_plan(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    assert main(["plan", "--tokens", "10M/month", "--from", "gpt-6-luna", "--project", str(folder), *DAY]) == 0
    one, two = (json.loads((path / "plan.json").read_text()) for path in (project, folder))
    assert one["sha256"] == two["sha256"]
    assert {**one, "made": ""} == {**two, "made": ""}


def test_a_gate_for_pipelines(tmp_path: Path) -> None:
    asked = ["plan", "--tokens", "10M/month", "--from", "gpt-6-luna", "--project", str(tmp_path / "p"), *DAY]
    assert main([*asked, "--gate"]) == 3


def test_a_saved_plan_is_verified_and_an_edited_one_is_found_out(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", "--verify", "--project", str(project)])
    said = capsys.readouterr().out
    assert "as it was signed" in said
    assert "as of 2026-11-25  the same to the cent" in said
    path = project / "plan.json"
    whole = path.read_text()
    held = json.loads(whole)
    held["advice"]["word"] = "OWN"
    path.write_text(json.dumps(held))
    try:
        assert main(["plan", "--verify", "--project", str(project)]) == 1
        said = capsys.readouterr().out
        assert "NOT what its sha256 says" in said
        assert "advice: OWN → STAY" in said
    finally:
        path.write_text(whole)


def test_a_fact_that_changed_since_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "p"
    assert main(["plan", "--tokens", "1B/month", "--from", "gpt-4o", "--project", str(folder), *DAY]) == 0
    with (folder / "freehold.toml").open("a") as file:
        file.write('[prices."gpt-4o"]\ninput = 5\noutput = 20\n')
    assert main(["plan", "--verify", "--project", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "as it was signed" in said
    assert "options/gpt-4o as now: $4,375.00" in said
    assert "→ $8,750.00" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--tokens", "10M", "--from", "gpt-4o"], "does not say per what"),
        (["--tokens", "10M/month"], "does not say which model answers now"),
        (["--calls", "5k/day"], "--calls needs --tokens"),
        (["--tokens", "10M/month", "--from", "gpt-4oo"], "gpt-4oo has no price on file"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--model", "llama-3-70x"], "models has no 'llama-3-70x'"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--hardware", "h1000"], "hardware has no 'h1000'"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--ratio", "3"], "--ratio is '3'"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--country", "Germany"], "country is 'GERMANY'"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--on", "soon"], "--on is 'soon'"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--first-token", "0"], "--first-token is 0"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--seed", "x"], "--seed is 'x'"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--calls", "1B/month"], "under a token a call"),
        (["--tokens", "10M/month", "--from", "gpt-4o", "--hardware", "this-machine"], "not measured yet"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str], said: str
) -> None:
    if "--tokens" in asked:
        folder = tmp_path / "p"
    else:
        folder = tmp_path / "held"
        assert main(["plan", "--tokens", "1M/month", "--from", "gpt-6-luna", "--project", str(folder), *DAY]) == 0
    assert main(["plan", *asked, "--project", str(folder)]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found


def test_without_an_audit_and_without_amounts_there_is_nothing_to_plan(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--project", str(project)]) == 20
    assert "audit.json" in capsys.readouterr().err
