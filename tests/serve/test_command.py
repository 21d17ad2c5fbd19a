"""freehold serve at the command line: what it refuses, in one sentence, and with which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.cli import main
from freehold.project import Project


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--host", "0.0.0.0"], 52, "no client keys yet"),
        (["--port", "99999"], 2, "--port is '99999'"),
        (["--port", "http"], 2, "--port is 'http'"),
        (["--pairs", "1.5"], 2, "--pairs is '1.5'"),
        (["--pairs", "nan"], 2, "--pairs is 'nan'"),
        (["--pairs", "many"], 2, "--pairs is 'many'"),
        (["--upstream", "ftp://example.org"], 2, "not an http or https URL"),
        (["--upstream", "api.openai.com"], 2, "not an http or https URL"),
        (["--upstream", "https://bo:sk-hidden@example.org/v1"], 2, "user name or a password"),
    ],
    ids=str,
)
def test_bad_settings(
    project: Project, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, said: str
) -> None:
    assert main(["serve", str(project.path), *flags]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert "sk-hidden" not in err
    assert out == ""


def test_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--project", str(tmp_path / "nowhere")]) == 20
    assert "is not a freehold project" in capsys.readouterr().err


def test_a_key_that_is_no_key(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_UPSTREAM_KEY", "sk-hidden\nX-Evil: 1")
    assert main(["serve", str(project.path), "--upstream", "https://example.org"]) == 2
    assert "sk-hidden" not in capsys.readouterr().err
