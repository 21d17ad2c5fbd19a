"""freehold serve at the command line: what it refuses, in one sentence, and with which exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.engines.upstream import HttpUpstream
from freehold.project import Project
from freehold.project.gateway import CacheSettings, RolloutSettings
from freehold.serve.announce import announce
from freehold.serve.command import _key

from .conftest import StandIn, Start, request


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--host", "0.0.0.0"], 52, "no client keys"),
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


@pytest.mark.parametrize(
    ("url", "named", "own", "key"),
    [
        ("https://elsewhere.example", False, "", ""),
        ("https://elsewhere.example", False, "sk-own", "sk-own"),
        ("https://elsewhere.example", True, "", "sk-openai"),
        ("https://elsewhere.example", True, "sk-own", "sk-own"),
        ("https://api.openai.com/v1", False, "", "sk-openai"),
        ("https://api.openai.com.elsewhere.example", False, "", ""),
        ("http://api.openai.com/v1", False, "", ""),
    ],
)
def test_openais_key_goes_where_it_was_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, named: bool, own: str, key: str
) -> None:
    """A project folder from elsewhere names a host in its freehold.toml; that is nobody's word on who gets the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("FREEHOLD_UPSTREAM_KEY", own)
    assert _key(HttpUpstream(url), named) == key
    err = capsys.readouterr().err
    assert err.count("\n") == (not key)
    assert ("only freehold.toml names" in err) == (not key)
    assert "sk-" not in err


def test_a_replay_says_that_it_is_one(project: Project) -> None:
    """The command as a user runs it: what it says on start, one call, and a clean stop."""
    (project.path / "verdicts" / "intents.json").unlink()
    argv = [
        sys.executable,
        "-m",
        "freehold",
        "serve",
        str(project.path),
        "--upstream",
        "replay",
        "--port",
        "0",
        "--json",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        call = urllib.request.Request(
            f"{said['url']}/chat/completions",
            json.dumps(request("move 50 to savings")).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(call, timeout=5) as answer:
            assert answer.headers["x-freehold-answered-by"] == "replay"
            assert json.load(answer)["choices"][0]["message"]["content"] == "transfer"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == ""
    assert (said["upstream"], said["unmonitored"]) == ("replay", True)
    assert "REPLAY: what goes up is answered from the log" in err
    assert "UNMONITORED" in err
    assert "upstream  intents: this task stays upstream (no verdict)" in err
    assert f"listening on {said['url']}" in err


async def test_an_example_that_cannot_be_written_stops_nothing(project: Project, start: Start) -> None:
    said: list[str] = []
    (project.path / "example-request.json").mkdir()
    async with start(None) as app:
        found = announce(app, project, "127.0.0.1", lambda what, done=None, /: said.append(what), 1234)
    err = "\n".join(said)
    assert found["rungs"][0]["open"]
    assert f"Can't write {project.path}/example-request.json" in err
    assert "try:" not in err


def test_a_task_that_is_not_there_stops_the_start(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.path / "freehold.toml").write_text('[tasks.intnets]\nrule = "exact"\n')
    for flags in ([], ["--check"]):
        assert main(["serve", str(project.path), "--upstream", "http://127.0.0.1:9", "--port", "0", *flags]) == 2
        err = capsys.readouterr().err
        assert "[tasks.intnets]" in err
        assert "Known: intents" in err


async def test_a_cache_for_a_key_that_is_not_there_is_said(project: Project, start: Start) -> None:
    said: list[str] = []
    settings = replace(project.settings, cache=CacheSettings(keys=("batch",)))
    async with start(None, settings=settings, tell=lambda what, done=None, /: said.append(what)):
        assert any("[cache] keys names 'batch'" in line for line in said)


async def test_a_shadow_is_announced_as_one_and_a_host_by_its_address(
    project: Project, start: Start, upstream: StandIn
) -> None:
    said: list[str] = []
    async with start(upstream, key="", rollout=RolloutSettings(), pairs=0.5) as app:
        announce(app, project, "127.0.0.1", lambda what, done=None, /: said.append(what), 1234)
    err = "\n".join(said)
    assert "home      intents" not in err
    assert "is asked, not used; about 20 pairs to the next step" in err
    assert f"upstream  upstream: {upstream.url}" in err
    assert "(no key: set FREEHOLD_UPSTREAM_KEY)" in err
    assert "HttpUpstream(" not in err
    assert "kill -USR1 1234" in err
