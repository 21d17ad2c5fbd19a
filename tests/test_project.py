"""The project folder: whole or not at all, and what it refuses."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import ArtifactDamaged, BadSetting, ProjectMissing, ProjectOtherLog, ProjectVersion, StorageFailed
from freehold.nouns import Artifact, Audit, LogFile, Measure, Plan, Repeats, TaskPlan, Tokens
from freehold.project import Appender, Project, check_bar, write_atomic
from freehold.project.settings import read_settings

AUDIT = Audit(
    log=LogFile(("calls.jsonl",), "ab" * 32, "cd" * 32, 3, 99),
    calls=3,
    bad_rows=0,
    bad=(),
    tasks=(),
    tokens=Tokens(30, 3),
    money=Measure(0.1, unit="USD", n=3),
    per_month=Measure(None, unit="USD/month"),
    first=None,
    last=None,
    models=(),
    repeats=Repeats(0, 0, Measure(None)),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


def made(project: Project) -> Artifact:
    files = {"student.safetensors": bytes(range(256)) * 40, "checks.json": b"[]"}
    return project.write_artifact(
        files, kind="label", task="t", base="b", licence="MIT", recipe={"seed": 0}, data_sha256="ab" * 32
    )


def test_the_folder_is_private_and_its_settings_are_written(project: Project) -> None:
    assert stat.S_IMODE(project.path.stat().st_mode) == 0o700
    assert "bar = 0.95" in (project.path / "freehold.toml").read_text()
    assert Project.open(project.path).settings == project.settings


def test_nouns_come_back_equal(project: Project) -> None:
    plan = Plan((TaskPlan("t", "labels", 3, "too_few", "3 calls", {"0.95": 240}),), Measure(0.1), Measure(1.0))
    for noun in (AUDIT, plan):
        project.save(noun)
    assert project.load(Audit) == AUDIT
    assert project.load(Plan) == plan


def test_a_missing_noun_says_which_verb_makes_it(project: Project) -> None:
    with pytest.raises(ProjectMissing, match="freehold audit"):
        project.load(Audit)


def test_a_damaged_noun_is_refused_by_name(project: Project) -> None:
    project.save(AUDIT)
    (project.path / "audit.json").write_text('{"freehold": 1, "noun": "Audit", "calls": "many"}')
    with pytest.raises(ArtifactDamaged, match=r"audit\.json"):
        project.load(Audit)


@pytest.mark.parametrize("head", ['{"freehold_project": 99, "log": ""}', "not json", '{"log": ""}'])
def test_another_version_is_refused(project: Project, head: str) -> None:
    (project.path / "project.json").write_text(head)
    with pytest.raises(ProjectVersion):
        Project.open(project.path)


def test_another_log_is_refused_and_a_grown_one_is_not(project: Project) -> None:
    project.claim_log("one")
    project.claim_log("one")
    with pytest.raises(ProjectOtherLog):
        Project.open(project.path).claim_log("two")


def test_a_folder_of_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadSetting, match="other files"):
        Project.create(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("left", [["artifacts"], ["artifacts", "verdicts", "ledger"], ["ledger", "freehold.toml"]])
def test_a_first_run_that_was_stopped_early_goes_on(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        path = tmp_path / name
        path.write_text("bar = 0.9\n") if name.endswith(".toml") else path.mkdir()
    (tmp_path / ".project.json.17.tmp").write_text("{")
    assert Project.create(tmp_path).path == tmp_path


def test_a_folder_with_someones_artifacts_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "photo.png").write_text("x")
    with pytest.raises(BadSetting, match="other files"):
        Project.create(tmp_path)


def test_an_artifact_without_its_manifest_is_put_back(project: Project) -> None:
    artifact = made(project)
    (project.artifact_path(artifact.sha256) / "manifest.json").unlink()
    with pytest.raises(ArtifactDamaged):
        project.read_artifact(artifact.sha256)
    assert made(project).sha256 == artifact.sha256
    assert project.read_artifact(artifact.sha256) == project.artifacts()[0]


def test_an_old_damaged_manifest_stops_nothing(project: Project) -> None:
    kept = made(project)
    folder = project.path / "artifacts" / ("0" * 64)
    folder.mkdir()
    (folder / "manifest.json").write_text("{")
    assert [a.sha256 for a in project.artifacts()] == [kept.sha256]


def test_a_damaged_row_is_named(project: Project) -> None:
    (project.path / "openings.jsonl").write_text('{"a": 1}\n\0\0\0\n{"a": 2}\n')
    with pytest.raises(ArtifactDamaged, match=r"openings\.jsonl:2"):
        project.rows("openings.jsonl")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(BadSetting):
        Project.create(tmp_path / "f")


@pytest.mark.parametrize("value", ["high", 0, 1, 1.5, -0.1, None, float("nan"), "0", "inf"])
def test_a_bar_is_a_share(value: object) -> None:
    with pytest.raises(BadSetting, match="bar is"):
        check_bar(value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("barr = 0.9", "Known: bar"),
        ("bar = 2.0", "bar is 2.0"),
        ("bar = 'high'", "freehold.toml"),
        ("pairs = 3.0", "pairs"),
        ("port = 99999", "port"),
        ("machine_cost = -1.0", "machine_cost"),
        ("machine_cost = inf", "machine_cost"),
        ("machine_cost = nan", "machine_cost"),
        ("use = 'both'", "internal, sold"),
        ("bar = ", "TOML"),
        ("tasks = 3", "freehold.toml"),
        ("[tasks]\nquery = 3", "freehold.toml"),
        ("[tasks.query]\nrules = 'sql'", "[tasks.query], which is not a setting of a task. Known: rule, database"),
        ("[tasks.query]\nrule = 'fuzzy'", "exact, json, sql, tools, tools-any-order, text, none"),
        ("[tasks.query]\nrule = 3", "freehold.toml"),
        ("[tasks.query]\ndatabase = 'gone.sqlite'", "gone.sqlite: No such file"),
        ("[tasks.query]\ndatabase = 'artifacts'", "artifacts: Is a directory"),
        ("[tasks.query]\ndatabase = 'freehold.toml'", "not a SQLite database"),
        ("[tasks.query]\nrule = 'json'\ndatabase = 'a.sqlite'", "a database is given, but rule is 'json'"),
    ],
)
def test_a_wrong_line_in_the_toml_is_named(project: Project, line: str, said: str) -> None:
    (project.path / "freehold.toml").write_text(line)
    with pytest.raises(BadSetting) as error:
        Project.open(project.path)
    assert said in str(error.value)


def test_a_task_has_settings_of_its_own(project: Project) -> None:
    import sqlite3

    db = sqlite3.connect(project.path / "shop.sqlite")
    db.execute("CREATE TABLE t (a)")
    db.close()
    lines = ["[tasks.query]", "database = 'shop.sqlite'", "[tasks.'read out-2']", "rule = 'json'"]
    (project.path / "freehold.toml").write_text("\n".join(lines))
    tasks = Project.open(project.path).settings.tasks
    assert tasks["query"].database == str((project.path / "shop.sqlite").resolve())
    assert (tasks["query"].rule, tasks["read out-2"].rule, tasks["read out-2"].database) == ("", "json", "")
    (project.path / "freehold.toml").write_text(f"[tasks.q]\nrule = 'sql'\ndatabase = '{tasks['query'].database}'")
    assert Project.open(project.path).settings.tasks["q"].database == tasks["query"].database


def test_the_rules_are_those_that_judges_know() -> None:
    from freehold import agree
    from freehold.project import settings

    assert settings.RULES == agree.RULES


def test_an_artifact_is_named_by_its_content_and_comes_back(project: Project) -> None:
    first, second = made(project), made(project)
    assert first.sha256 == second.sha256
    assert project.read_artifact(first.sha256).files == first.files
    assert [a.sha256 for a in project.artifacts()] == [first.sha256]


@given(st.integers(0, 256 * 40 * 8 - 1))
@settings(max_examples=40, deadline=None)
def test_one_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    project = Project.create(tmp_path_factory.mktemp("p") / "p")
    artifact = made(project)
    path = project.artifact_path(artifact.sha256) / "student.safetensors"
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)
    with pytest.raises(ArtifactDamaged, match=r"student\.safetensors"):
        project.read_artifact(artifact.sha256)


@pytest.mark.parametrize("damage", ["manifest", "missing", "extra"])
def test_a_changed_folder_is_found(project: Project, damage: str) -> None:
    folder = project.artifact_path(made(project).sha256)
    if damage == "manifest":
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"MIT"', '"GPL"'))
    elif damage == "missing":
        (folder / "checks.json").unlink()
    else:
        (folder / "extra.py").write_text("print()")
    with pytest.raises(ArtifactDamaged):
        project.read_artifact(folder.name)


FULL = """
import resource, signal, sys
from pathlib import Path
from freehold.errors import StorageFailed
from freehold.project import Appender, write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit is short or fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
try:
    write_atomic(folder / "audit.json", b"x" * 100_000)
except StorageFailed as error:
    print("atomic:", error.message.split(":")[-1])
log = Appender(folder / "rows.jsonl")
wrote = 0
try:
    while True:
        log.append({"n": wrote, "pad": "y" * 300})
        wrote += 1
except StorageFailed:
    print("wrote", wrote)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("the old one")
    out = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    wrote = int(out.split()[-1])
    assert "atomic:" in out
    assert (tmp_path / "audit.json").read_text() == "the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.json", "rows.jsonl"]
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["n"] for line in lines] == list(range(wrote))
    log = Appender(tmp_path / "rows.jsonl")  # space is back
    log.append({"n": wrote})
    log.close()
    last = (tmp_path / "rows.jsonl").read_bytes().splitlines()[-1]
    assert msgspec.json.decode(last)["n"] == wrote


def test_a_torn_tail_is_cut_before_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n":0}\n{"n":1}\n{"n":2,"pa')
    log = Appender(path)
    log.append({"n": 3})
    log.close()
    assert [msgspec.json.decode(line)["n"] for line in path.read_bytes().splitlines()] == [0, 1, 3]


def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "file"
    with pytest.raises(StorageFailed, match="Can't write"):
        write_atomic(target, b"x")


def test_two_writers_do_not_meet(project: Project) -> None:
    with project.lock(), pytest.raises(StorageFailed, match="Another freehold"), Project.open(project.path).lock():
        pass


def test_rows_read_back_without_a_torn_last_one(project: Project) -> None:
    assert project.rows("rungs.jsonl") == []
    project.append("rungs.jsonl", {"at": 1})
    with (project.path / "rungs.jsonl").open("ab") as file:
        file.write(b'{"at": 2')
    assert project.rows("rungs.jsonl") == [{"at": 1}]
    assert os.stat(project.path / "rungs.jsonl").st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[declared]\nprivacy = "yes"', "privacy is 'yes'"),
        ("[declared]\nfirst_token = 0", "first_token is 0"),
        ('[declared]\nhurry = "yes"', "'hurry' under [declared]"),
        ("[company]\nstaff = 3", "'staff' under [company]"),
        ('[company]\nusers_month = "many"', "users_month"),
    ],
)
def test_what_a_company_is_and_declares_is_checked(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text(text)
    with pytest.raises(BadSetting) as caught:
        read_settings(path)
    assert said in caught.value.message


def test_a_fact_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text('[facts.hardware."h100-sxm"]\nbandwidth = 3.0e12\n[declared]\nprivacy = "house"\n')
    found = read_settings(path)
    assert found.facts == {"hardware": {"h100-sxm": {"bandwidth": 3.0e12}}}
    assert found.declared.privacy == "house"
