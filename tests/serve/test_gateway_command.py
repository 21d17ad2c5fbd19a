"""`freehold serve` as an operator runs it: two workers on a fitted student, --check, and what stops a start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from freehold.cli import main
from freehold.engines.encoder import Encoder
from freehold.nouns import TaskStudent
from freehold.project import Project
from freehold.tune.label import fit

from .conftest import StandIn, ledger, new_verdict, request, until
from .gateway import get, give, post

OTHER = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "no task"}], "stream": True}
FREEHOLD = [sys.executable, "-m", "freehold"]
WORDS = {
    "transfer": ("move {} to savings", "send {} to my landlord", "please transfer {} to Ana", "wire {} abroad"),
    "balance": ("what is left of my {}", "how much is on account {}", "show me what I have in {}", "balance of {}"),
}


@pytest.fixture(scope="module")
def fitted() -> Any:
    rows = [(form.format(i), label) for label, forms in WORDS.items() for form in forms for i in range(15, 23)]
    return fit([text for text, _ in rows], [label for _, label in rows], encoders=[Encoder.bundled("bge-small-en")])


@pytest.fixture
def real(project: Project, fitted: Any) -> Project:
    """The project, with a student that `freehold tune` would make."""
    made = project.write_artifact(
        fitted.files, kind="label", task="intents", base="bge-small-en", licence="MIT", recipe=fitted.recipe,
        data_sha256="0" * 64,
    )  # fmt: skip
    for path in (project.path / "verdicts").iterdir():
        path.unlink()
    new_verdict(project, student=TaskStudent(made.sha256, "bge-small-en", "MIT"), threshold=0.6)
    (project.path / "freehold.toml").write_text('pairs = 0.0\n[rollout]\nstart = "full"\n')
    return Project.open(project.path)


@contextlib.asynccontextmanager
async def served(project: Project, *flags: str) -> AsyncIterator[tuple[int, subprocess.Popen[str]]]:
    command = [*FREEHOLD, "serve", str(project.path), "--port", "0", "--json", *flags]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = await asyncio.to_thread(subprocess.Popen, command, **pipes)
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, process.communicate()[1]
        yield int(json.loads(line)["url"].split(":")[2].split("/")[0]), process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def test_two_workers(real: Project, upstream: StandIn) -> None:
    """Home and up, one budget for both, no call lost when it stops, one line of JSON, and a ledger that verifies."""
    upstream.mode = "steady"
    secret = give(real, "web", requests_minute=40)
    boss = give(real, "boss", role="admin")
    async with served(real, "--workers", "2", "--upstream", upstream.url) as (port, process):
        answers = []
        for _ in range(3):  # 20 at once: where they all come to one worker, its 8 places and 16 in line hold them
            calls = [post(port, request(f"move {i} to savings"), secret) for i in range(20)]
            answers += await asyncio.gather(*calls)
        assert sum(answer.status == 200 for answer in answers) == 40  # the two share one rate
        assert {answer.headers.get("x-freehold-answered-by") for answer in answers if answer.status == 200} == {
            "student"
        }
        assert {answer.text for answer in answers if answer.status == 200} == {"transfer"}
        metrics = (await get(port, path="/metrics", secret=boss)).body.decode()
        assert "freehold_calls_total" in metrics
        streams = [asyncio.create_task(post(port, OTHER, boss)) for _ in range(4)]
        await until(lambda: len(upstream.seen) == 4)
        process.send_signal(signal.SIGTERM)
        for answer in await asyncio.gather(*streams):  # two seconds each
            assert answer.status == 200
            assert b"[DONE]" in answer.body
        out, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert len(ledger(real)) == 44
    assert main(["ledger", "verify", "--project", str(real.path)]) == 0


def test_the_banner_names_the_parent_and_is_said_once(real: Project, tmp_path: Path) -> None:
    said = tmp_path / "stderr"
    command = [*FREEHOLD, "serve", str(real.path), "--port", "0", "--workers", "2", "--json"]
    command += ["--upstream", "http://127.0.0.1:9"]
    pipe = subprocess.PIPE
    with said.open("wb") as stderr, subprocess.Popen(command, stdout=pipe, stderr=stderr) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()  # both listen
            min(psutil.Process(process.pid).children(), key=lambda child: child.create_time()).kill()
            end = time.monotonic() + 60.0
            while "worker 0 listens again" not in said.read_text():
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    lines = said.read_text().splitlines()
    assert [line.endswith(f"kill -USR1 {process.pid}") for line in lines if "listening on" in line] == [True]


def test_check(real: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with (real.path / "freehold.toml").open("a") as toml:
        toml.write("[tasks.intents]\nleaves = false\n")
    assert main(["serve", str(real.path), "--check", "--upstream", "http://127.0.0.1:9/v1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert "temperature" in json.dumps(rows)
    assert main(["serve", str(real.path), "--check"]) == 1  # without an upstream some calls have no answer
    out = capsys.readouterr().out
    assert "intents" in out
    assert "there is no upstream" in " ".join(out.split())


def damaged(project: Project) -> None:
    verdict = project.verdicts()[0]
    assert verdict.student is not None
    path = next(project.artifact_path(verdict.student.sha256).glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def open_keys(project: Project) -> None:
    give(project, "web")
    (project.path / "keys.json").chmod(0o644)


def torn_keys(project: Project) -> None:
    give(project, "web")
    (project.path / "keys.json").write_bytes(b'{"keys": [')


def says(text: str) -> Any:
    return lambda project: (project.path / "freehold.toml").write_text(text)


def open_secret(project: Project) -> None:
    path = project.path / "up.key"
    path.write_text("sk-hidden-upstream-key")
    path.chmod(0o644)
    says('[upstreams.far]\nurl = "https://example.org/v1"\nkey_file = "up.key"\n')(project)


STARTS: dict[str, tuple[Any, int, str]] = {
    "keys.json open to others": (open_keys, 54, "keys.json"),
    "keys.json torn": (torn_keys, 30, "keys.json"),
    "upstream key open to others": (open_secret, 54, "up.key"),
    "unknown word": (says("leafs = false\n"), 2, "'leafs'"),
    "unknown word in a table": (says("[ledger]\ndurabilty = 'safe'\n"), 2, "'durabilty'"),
    "unknown value": (says("[ledger]\ndurability = 'very'\n"), 2, "'very'"),
    "a declaration about no task": (says("[tasks.intnets]\nleaves = false\n"), 2, "intnets"),
    "no TOML": (says("[ledger\n"), 2, "TOML"),
    "an upstream without its key": (
        says('[upstreams.far]\nurl = "https://example.org/v1"\nkey_env = "NOT_SET"\n'), 2, "NOT_SET",
    ),
    "damaged artefact": (damaged, 30, "sha256"),
    "no verdict and no upstream": (
        lambda project: next((project.path / "verdicts").iterdir()).unlink(), 51, "upstream",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_what_stops_a_start(real: Project, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """One sentence (and what to do), a code of its own, nothing on stdout, no key."""
    breaks, code, word = STARTS[name]
    breaks(real)
    found = main(["serve", str(real.path), "--port", "0"])
    out, err = capsys.readouterr()
    assert (found, out) == (code, ""), err
    assert word.lower() in err.lower()
    assert "Traceback" not in err
    assert "sk-hidden" not in err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken(real: Project, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(real.path), "--port", port, "--workers", workers]) == 50
    out, err = capsys.readouterr()
    assert out == ""
    assert port in err
