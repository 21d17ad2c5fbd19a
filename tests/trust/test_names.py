"""G10: sixty names that mean another place: as upstream, task, artefact, base and path of a URL. Refused, and no file
stands anywhere but in the project's folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.engines import bases
from freehold.errors import FreeholdError
from freehold.nouns import Verdict
from freehold.project import Project
from freehold.project.settings import read_settings

from .world import ask, small_verdict

NAMES = [
    "..", ".", "", "../x", "../../etc/passwd", "..\\x", "..\\..\\windows\\win.ini", "/etc/passwd", "//etc/passwd",
    "~root/x",
    "C:\\x", "C:x", "\\\\host\\share", "file:///etc/passwd", "x/../../y", "a/b", "a\\b", "./x", "x/.", "x/..",
    "....//x",
    "..;/x", "%2e%2e%2fx", "%2e%2e/x", "..%2fx", "..%5cx", "%252e%252e%252fx", "%c0%ae%c0%ae%c0%afx", "%00",
    "x%00.json",
    "x\0.json", "\0", "x\n", "\nx", "x\r\ny", "\x1b[2J", "\x7f", " ", "x ", " x", "CON", "CON.txt", "NUL", "AUX.json",
    "COM1",
    "LPT1", "x" * 65, "x" * 4096, "\u202egnp.exe", "\u200bx", "\ufeffx", "K\u212a", "\uff0e\uff0e\uff0fx", "\u2215x",
    "İx", "ſ",
    "É", "E\u0301", "-x", "$(touch x)", "`touch x`", "x;y",
]  # fmt: skip
PATHS = [
    "/v1/../health", "/v1/%2e%2e/health", "/v1//chat/completions", "/v1/./chat/completions", "/v1/..%2f..%2fetc/passwd",
    "/v1/chat/completions/..", "/v1/files/../../x", "/v1/files/..%00", "/../../etc/passwd", "//127.0.0.1:1/v1/models",
    "/v1/\\..\\x", "/v1/%00", "/v1/files/%2e%2e", "/v1/\u202e", "/v1/" + "x" * 40000, "/v1/..;/health",
    "/.%2e/etc/passwd",
    "http://169.254.169.254/latest/meta-data", "/v1/chat/completions\u0000", "/V1/CHAT/COMPLETIONS",
    "/v1/CHAT/completions",
    "*", "/v1", "/ledger", "/verdicts/intents.json", "/freehold.toml",
]  # fmt: skip


def files(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file()}


def test_there_are_sixty() -> None:
    assert len(set(NAMES)) >= 60


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_it_names_no_upstream(name: str, tmp_path: Path) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text(
        f'[upstreams.{json.dumps(name)}]\nurl = "http://127.0.0.1:1/v1"\n'.replace("\x7f", "\\u007f"), newline=""
    )
    with pytest.raises(FreeholdError) as said:
        read_settings(path)
    assert said.value.exit_code == 2


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_it_is_no_known_base_and_brings_none(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FreeholdError) as said:
        bases.install(name)
    assert said.value.exit_code == 33
    assert files(tmp_path) == set()


@pytest.mark.parametrize("name", PATHS, ids=range(len(PATHS)))
def test_it_is_no_path_of_the_server(name: str, server: int, upstream_calls: list[str]) -> None:
    before = len(upstream_calls)
    status, body = ask(server, f"GET {name} HTTP/1.1\r\nHost: 127.0.0.1:{server}\r\nConnection: close\r\n\r\n".encode())
    assert 400 <= status < 500, body[:200]
    assert b"root:" not in body
    assert upstream_calls[before:] == []


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_artefact_of_that_name_is_refused(name: str, tmp_path: Path) -> None:
    """Somebody else may have written a verdict: what it names is looked up among the artefacts, or not at all."""
    project = Project.create(tmp_path / "project")
    with pytest.raises(FreeholdError):
        project.read_artifact(name)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_task_of_that_name_writes_nowhere_else(name: str, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "inside" / "project")
    verdict: Verdict = small_verdict(name)
    before = files(tmp_path)
    with pytest.raises(FreeholdError):
        project.save(verdict)
    assert files(tmp_path) == before
