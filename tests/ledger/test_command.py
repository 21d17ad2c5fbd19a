"""freehold ledger: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.project import Project

from .conftest import files
from .test_erase import ANA, write


def run(*args: object) -> int:
    return main(["ledger", *map(str, args)])


def test_a_ledgers_life(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ("--project", project.path)
    assert run(*here) == 0
    assert "empty" in capsys.readouterr().out
    write(project)
    assert run("list", "--json", *here) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in listed] == ["sealed"] * len(files(project))
    assert run("list", *here) == run("verify", *here) == 0
    assert "8 rows" in capsys.readouterr().out
    assert run("backup", tmp_path / "b", *here) == 0
    assert run("restore", tmp_path / "b", "--verify") == 0
    assert run("restore", tmp_path / "b", "--project", tmp_path / "again", "--json") == 0
    assert json.loads(capsys.readouterr().out.split("\n")[-2])["rows"] == 8
    assert run("restore", tmp_path / "b", *here) == 2
    assert run("erase", ANA, "--json", *here) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], len(told["backups"])) == (4, 1)
    assert run("erase", "bob", *here) == 0
    assert "Receipt" in capsys.readouterr().out
    path = files(project)[0]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9])
    assert run("verify", *here) == 41
    out = capsys.readouterr()
    assert "problems" in out.out
    assert f"{path.name}:" in out.err
    assert run("verify", "--json", *here) == 41
    assert json.loads(capsys.readouterr().out)["problems"][0]["file"] == path.name
    (tmp_path / "b" / "freehold.toml").write_bytes(b"x")
    assert run("restore", tmp_path / "b", "--verify") == 41


@pytest.mark.parametrize("args", [("erase",), ("backup",), ("restore",), ("verify", "x"), ("list", "x")])
def test_what_is_missing_is_named(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*args) == 2
    assert args[0] in capsys.readouterr().err


def test_of_a_person_without_rows_nothing_is_kept(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write(project)
    before = sorted(path.name for path in (project.path / "ledger").iterdir())
    assert run("erase", "nobody@example.org", "--project", project.path) == 0
    out = capsys.readouterr().out
    assert out.startswith("No rows of nobody@example.org found")
    assert "Receipt" not in out
    assert {p.name for p in (project.path / "ledger").iterdir()} <= {*before, ".lock"}
