"""`freehold audit` as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.nouns import Audit
from freehold.project import Project

LOG = Path(__file__).resolve().parents[2] / "examples" / "support-desk" / "calls.jsonl.gz"


def test_the_bundled_log_as_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(LOG), "--project", str(tmp_path / "p")]) == 0
    said = capsys.readouterr().out
    for part in (
        "23,700 calls",
        "support-desk-router",
        "labels",
        "gpt-4o-mini",
        "2027-01-14",
        "5 requests asked again",
    ):
        assert part in said
    saved = Project.open(tmp_path / "p").load(Audit)
    assert (saved.calls, saved.log.paths) == (23700, (str(LOG),))


def test_json_is_the_audit_and_nothing_else(tmp_path: Path) -> None:
    small = tmp_path / "calls.jsonl"
    message = {"role": "user", "content": "[bold]not markup[/]"}
    rows = [{"messages": [message, {"role": "assistant", "content": "x"}]}] * 3
    small.write_text("".join(json.dumps(r) + "\n" for r in rows))
    command = [sys.executable, "-m", "freehold", "audit", str(small), "--project", str(tmp_path / "p"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["calls"] == 3
    assert "read the log" in done.stderr


def test_another_log_is_refused_and_the_project_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = []
    for name in ("a", "b"):
        logs.append(tmp_path / f"{name}.jsonl")
        messages = [{"role": "user", "content": name}, {"role": "assistant", "content": "x"}]
        logs[-1].write_text(json.dumps({"messages": messages}) + "\n")
    project = tmp_path / "p"
    assert main(["audit", str(logs[0]), "--project", str(project)]) == 0
    before = (project / "audit.json").read_bytes()
    assert main(["audit", str(logs[1]), "--project", str(project)]) == 22
    assert "another log" in capsys.readouterr().err
    assert (project / "audit.json").read_bytes() == before


GOOD = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


@pytest.mark.parametrize(
    ("data", "options", "code", "said"),
    [
        (None, [], 10, "no file"),
        (b"", [], 11, "no rows"),
        (b"hello\n", [], 12, "not JSON"),
        (b'{"messages": []}\n', [], 13, "1 of 1 rows are bad"),
        (b"{}\n", ["--until", "soon"], 2, "--until"),
        (b"{}\n", ["--recogniser", "rules"], 2, "without --redact"),
        (GOOD, ["--recogniser", "magic", "--redact", "safe.jsonl"], 2, "no recogniser 'magic'"),
    ],
)
def test_bad_input_is_one_sentence_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes | None, options: list[str], code: int, said: str
) -> None:
    path = tmp_path / "calls.jsonl"
    if data is not None:
        path.write_bytes(data)
    assert main(["audit", str(path), "--project", str(tmp_path / "p"), *options]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
