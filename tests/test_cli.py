"""The front door: help, unknown verbs, and errors as one sentence with their own exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from freehold import errors
from freehold.cli import VERBS, main


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)
    assert main([]) == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("freehold ")


def test_an_unknown_verb_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swich"]) == 2
    assert "switch" in capsys.readouterr().err


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_each_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"freehold {verb}" in capsys.readouterr().out


def test_exit_codes_are_distinct() -> None:
    """Only a parent may share its code with a child that is its plain case."""
    leaves = [getattr(errors, n) for n in errors.__all__ if not getattr(errors, n).__subclasses__()]
    codes = [e.exit_code for e in leaves]
    assert len(set(codes)) == len(codes)
    assert all(str(code) in (errors.__doc__ or "") for code in codes)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["switch", "nowhere.jsonl"], 10, "nowhere.jsonl"),
        (["switch", "empty.jsonl"], 11, "empty"),
        (["switch", "prose.txt"], 12, "prose.txt"),
        (["switch", "shape.jsonl"], 12, "expected"),
        (["switch", "good.jsonl", "--bar", "1.5"], 2, "1.5"),
        (["switch", "good.jsonl", "--bar", "high"], 2, "high"),
        (["switch", "good.jsonl", "--bar", "0"], 2, "0"),
        (["switch", "good.jsonl", "--confidence", "1"], 2, "confidence"),
        (["switch", "good.jsonl", "--until", "soon"], 2, "soon"),
        (["switch", "good.jsonl", "--project", "good.jsonl"], 2, "is a file"),
        (["prove", "--project", "nowhere"], 20, "nowhere"),
        (["serve", "nowhere"], 20, "nowhere"),
        (["watch", "nowhere"], 20, "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_a_code(
    args: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "prose.txt").write_text("Dear team,\nplease find attached\n")
    (tmp_path / "shape.jsonl").write_text('{"height": 1, "width": 2}\n' * 5)
    row = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    (tmp_path / "good.jsonl").write_text(row)
    before = sorted(p.name for p in tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-m", "freehold", *args], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "freehold-project") == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "freehold", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
