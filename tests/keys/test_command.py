"""`freehold keys` as people and scripts use it."""

from __future__ import annotations

import json

import pytest

from freehold.cli import main
from freehold.keys import Keys
from freehold.keys.spent import Spent
from freehold.nouns import Audit, LogFile, Measure, Repeats, Slot, Task, Template, Tokens
from freehold.project import Project


def ran(project: Project, capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[str, str]:
    assert main(["keys", *args, "--project", str(project.path)]) == code
    said = capsys.readouterr()
    return said.out, said.err


def test_a_new_key_stands_alone_on_stdout_and_works(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = ran(project, capsys, "add", "web", "--budget-day", "5", "--tasks", "intents, sql", "--days", "30")
    key = Keys.open(project).find(out.strip())
    assert key is not None
    assert (key.name, key.role, key.budget_day, key.tasks) == ("web", "user", 5.0, ("intents", "sql"))
    assert key.expires is not None
    assert (key.expires - key.made).days == 30
    assert "once" in err
    assert out.strip() not in err


def test_it_is_shown_nowhere_again(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    secret = ran(project, capsys, "add", "web")[0].strip()
    for what in (["list"], ["list", "--json"], ["show", "web"], ["show", "web", "--json"], ["revoke", "web"]):
        out, err = ran(project, capsys, *what)
        assert secret[9:] not in out + err
        assert Keys.open(project).all()[0].sha256 not in out + err


def test_list_says_what_each_may_and_has_spent(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert "only this machine" in ran(project, capsys)[0]
    ran(project, capsys, "add", "boss", "--role", "admin", "--budget-day", "9")
    ran(project, capsys, "add", "web", "--parent", "boss", "--models", "gpt-4o-mini", "--requests-minute", "60")
    spent = Spent(project.path / "keys.spent")
    spent.charge(["web"], 1.25)
    spent.close()
    rows = json.loads(ran(project, capsys, "list", "--json")[0])
    assert [(row["name"], row["state"], row["spent_today"], row["budget_day"]) for row in rows] == [
        ("boss", "valid", 0.0, 9.0),
        ("web", "valid", 1.25, 9.0),
    ]
    table = " ".join(ran(project, capsys, "list")[0].split())
    assert "$1.25" in table
    assert "models gpt-4o-mini" in table
    ran(project, capsys, "revoke", "boss")
    assert [row["state"] for row in json.loads(ran(project, capsys, "--json")[0])] == ["revoked", "revoked"]


def test_rotate_and_import(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    old = ran(project, capsys, "add", "web")[0].strip()
    new = json.loads(ran(project, capsys, "rotate", "web", "--json")[0])["key"]
    assert Keys.open(project).find(old) is None
    other = Project.create(project.path.parent / "other")
    assert "1 keys taken over" in ran(other, capsys, "import", str(project.path / "keys.json"))[0]
    assert Keys.open(other).find(new) is not None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["add"], "takes one name"),
        (["add", "a", "b"], "takes one name"),
        (["add", "Not A Name"], "no name"),
        (["add", "a", "--budget-day", "-1"], "--budget-day is '-1'"),
        (["add", "a", "--budget-day", "inf"], "--budget-day is 'inf'"),
        (["add", "a", "--budget-month", "many"], "--budget-month is 'many'"),
        (["add", "a", "--running", "0"], "running"),
        (["add", "a", "--running", "1.5"], "running"),
        (["add", "a", "--home-share", "2"], "home_share"),
        (["add", "a", "--days", "0"], "--days is '0'"),
        (["add", "a", "--parent", "nobody"], "nobody"),
        (["revoke", "nobody"], "nobody"),
        (["rotate", "nobody"], "nobody"),
        (["show", "nobody"], "nobody"),
        (["show", "a", "--role", "admin"], "--role is for add"),
        (["add", "a", "--only"], "--only is for revoke"),
        (["import", "nowhere.json"], "holds no keys"),
    ],
)
def test_bad_input_is_a_sentence(
    project: Project, capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    out, err = ran(project, capsys, *args, code=2)
    assert out == ""
    assert said in err
    assert not (project.path / "keys.json").exists()


def test_a_file_that_others_can_read_has_its_own_exit_code(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(project, capsys, "add", "web")
    (project.path / "keys.json").chmod(0o644)
    assert "chmod 600" in ran(project, capsys, "list", code=54)[1]


def test_a_typo_in_a_task_is_said_where_an_audit_knows_better(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(project, capsys, "add", "early", "--tasks", "intnets")[1].count("warning") == 0
    none = Measure(None)
    task = Task("intents", Template((Slot("user", "", variable=True),)), "labels", 9, 0.9)
    log = LogFile((), "", "", 10, 0)
    project.save(Audit(log, 10, 0, (), (task,), Tokens(), none, none, None, None, (), Repeats(0, 0, none)))
    out, err = ran(project, capsys, "add", "web", "--tasks", "intents, intnets")
    assert out.startswith("fh-")
    assert "--tasks names 'intnets', and the audit knows intents." in err


def test_small_money_has_digits_and_revoke_names_the_children(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(project, capsys, "add", "boss", "--role", "admin")
    ran(project, capsys, "add", "web", "--parent", "boss")
    ran(project, capsys, "add", "app", "--parent", "boss")
    spent = Spent(project.path / "keys.spent")
    spent.charge(["web"], 0.0000417)
    spent.close()
    assert "$0.0000417" in ran(project, capsys, "list")[0]
    out, _ = ran(project, capsys, "revoke", "boss")
    assert out == "boss is revoked, and 2 keys minted with it: web, app\n"
    assert ran(project, capsys, "revoke", "boss")[0] == "boss was revoked already\n"
