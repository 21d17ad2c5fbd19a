"""A backup is what the ledger was at one moment, also of a running server; it goes back into a new folder only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.errors import BadSetting, LedgerDamaged, ProjectMissing
from freehold.ledger import Ledger, backup, check_backup, restore, verify
from freehold.project import Project

from .conftest import entry, files, lines
from .test_erase import WRITER, write


def test_a_project_comes_back_without_its_artefacts(project: Project, tmp_path: Path) -> None:
    write(project)
    project.append("rungs.jsonl", {"task": "intents"})
    project.write_artifact({"x.json": b"{}"}, kind="label", task="t", base="", licence="", recipe={}, data_sha256="")
    (project.path / "verdicts" / "intents.json").write_bytes(b"{}")
    (project.path / "freehold.toml").write_text("bar = 0.97\n")
    made = backup(project, tmp_path / "far" / "backup")
    assert (made.rows, made.problems) == (8, ())
    restore(tmp_path / "far" / "backup", tmp_path / "again")
    found = Project.open(tmp_path / "again")
    assert found.settings.bar == 0.97
    assert found.rows("rungs.jsonl") == [{"task": "intents"}]
    assert lines(found) == lines(project)
    assert (found.path / "verdicts" / "intents.json").read_bytes() == b"{}"
    assert list((found.path / "artifacts").iterdir()) == []
    assert verify(found).problems == ()
    file = Ledger(found, ballast=0)
    assert file.write(entry())
    file.close()
    assert verify(found).rows == 9


def test_a_running_ledger_is_backed_up_to_a_whole_row(project: Project, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", WRITER, str(project.path), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        made = [backup(project, tmp_path / f"b{number}") for number in range(3)]
        stop.touch()
        server.stdout.read()
        assert server.wait(30) == 0
    whole = lines(project)
    for number, one in enumerate(made):
        copied = tmp_path / f"b{number}" / "ledger"
        rows = [line for path in sorted(copied.glob("*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]]
        assert rows == whole[: len(rows)]
        assert len(rows) == one.rows > 0
        assert check_backup(tmp_path / f"b{number}").problems == ()


def test_a_backup_of_a_damaged_ledger_says_so(project: Project, tmp_path: Path) -> None:
    write(project)
    path = files(project)[0]
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"text of bob", b"text of eve"))
    made = backup(project, tmp_path / "backup")
    assert made.problems[0].file == path.name
    assert check_backup(tmp_path / "backup").problems == made.problems


def test_nothing_is_written_over(project: Project, tmp_path: Path) -> None:
    write(project)
    backup(project, tmp_path / "backup")
    for dest in (tmp_path / "backup", project.path / "inside", project.path / "project.json"):
        with pytest.raises(BadSetting):
            backup(project, dest)
    with pytest.raises(BadSetting, match="there already"):
        restore(tmp_path / "backup", project.path)
    Ledger(project, ballast=0).close()
    restore(tmp_path / "backup", project.path, force=True)
    (aside,) = tmp_path.glob("project.before-*")
    assert (aside / "project.json").is_file()
    assert verify(Project.open(project.path)).rows == 8
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backup", tmp_path / "empty")


def test_a_folder_that_is_no_backup_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ProjectMissing):
        check_backup(project.path)
    write(project)
    backup(project, tmp_path / "backup")
    (tmp_path / "backup" / "ledger" / "more.jsonl").write_bytes(b"")
    with pytest.raises(LedgerDamaged, match="not in the manifest"):
        check_backup(tmp_path / "backup")


def test_a_link_in_a_backup_leads_nowhere(project: Project, tmp_path: Path) -> None:
    write(project)
    backup(project, tmp_path / "backup")
    path = tmp_path / "backup" / "project.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerDamaged):
        restore(tmp_path / "backup", tmp_path / "again")


def test_names_in_a_manifest_stay_inside(project: Project, tmp_path: Path) -> None:
    """A manifest made by hand, with a sum that fits, that names a file outside."""
    import hashlib

    write(project)
    backup(project, tmp_path / "backup")
    (tmp_path / "outside").write_bytes(b"x")
    said = {"name": "../outside", "sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1, "rows": 0}
    body = json.dumps({"freehold_backup": 1, "at": "", "files": [said]}).encode()[:-1]
    sum = hashlib.sha256(body).hexdigest().encode()
    (tmp_path / "backup" / "manifest.json").write_bytes(body + b',"sha256":"' + sum + b'"}\n')
    with pytest.raises(LedgerDamaged, match="outside"):
        restore(tmp_path / "backup", tmp_path / "again")
