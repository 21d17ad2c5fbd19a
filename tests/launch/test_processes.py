"""Jobs in processes of their own: what they say is told, how they fail is said, and none outlives who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freehold.errors import LaunchFailed, TrainingFailed
from freehold.launch import launch
from freehold.launch.job import Job

pytest.importorskip("torch", reason="processes are started by torchrun: pip install 'freehold[tune]'")

# a job as small as they come: what each process does is said by a file in its folder, named as its rank
WORKER = """
import json, os, signal, sys, time
from pathlib import Path
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
ranks, threads = os.environ["WORLD_SIZE"], os.environ["OMP_NUM_THREADS"]
(folder / f"pid{rank}").write_text(str(os.getpid()))
say = lambda **row: rank == "0" and print(json.dumps(row), flush=True)
for line in (folder / f"rank{rank}").read_text().split():
    if line == "tell": say(tell=f"{sys.argv[2:]} of {ranks}, {threads} threads", done=0.5)
    if line == "noise": print("something that is no line of ours", flush=True)
    if line == "error": say(error="TrainingFailed", message="It is no number.", hint="Say less."); sys.exit(35)
    if line == "raise": raise ValueError("this rank alone")
    if line == "killed": os.kill(os.getpid(), signal.SIGKILL)
    if line == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if line == "ready": (folder / f"ready{rank}").touch()
    if line == "wait": time.sleep(60)
"""


def job(folder: Path, monkeypatch: pytest.MonkeyPatch, *ranks: str) -> Job:
    (folder / "small_worker.py").write_text(WORKER)
    for rank, lines in enumerate(ranks):
        (folder / f"rank{rank}").write_text(lines)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return Job("small_worker", folder, lambda tell: None, "The test")


def alive(folder: Path) -> list[int]:
    found = [int(path.read_text()) for path in folder.glob("pid*")]
    return [pid for pid in found if Path(f"/proc/{pid}").exists() and "Z" not in _state(pid)]


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_in_this_process(tmp_path: Path) -> None:
    said: list[str] = []
    launch(
        Job("none.such", tmp_path, lambda tell: tell("here"), "The test"),
        "none",
        tell=lambda what, _=None: said.append(what),
    )
    assert said == ["here"]


def test_lines_are_told_and_the_jobs_error_is_raised_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float | None]] = []
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads + 5))  # each process would take as many
    small = job(tmp_path, monkeypatch, "noise tell error", "wait")
    with pytest.raises(TrainingFailed, match="It is no number") as found:
        launch(small, "fsdp", processes=2, tell=lambda what, done=None: told.append((what, done)))
    assert (found.value.hint, told) == ("Say less.", [(f"['--parallel', 'fsdp'] of 2, {threads} threads", 0.5)])
    assert not alive(tmp_path), "the other one was ended"


def test_a_process_that_ends_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchFailed, match=r"The test: a process ended .*ValueError: this rank alone") as found:
        launch(job(tmp_path, monkeypatch, "wait", "raise"), "ddp", processes=2)
    assert "launch.log" in found.value.hint
    assert not alive(tmp_path)


def test_a_process_that_the_system_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does where memory ends."""
    with pytest.raises(
        LaunchFailed, match=r"The test: a process ended with signal 9, .* memory ends, and said nothing"
    ):
        launch(job(tmp_path, monkeypatch, "wait", "killed"), "ddp", processes=2)
    assert not alive(tmp_path)


@pytest.mark.parametrize(
    ("lines", "signals"),
    [("ready wait", [signal.SIGTERM]), ("deaf ready wait", [signal.SIGHUP, signal.SIGTERM])],
    ids=["asked", "asked twice"],
)
def test_whoever_ends_the_one_that_asked_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, signals: list[signal.Signals]
) -> None:
    """Also those that hear nothing, once it is asked again."""
    job(tmp_path, monkeypatch, lines, lines)
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from pathlib import Path; from freehold.launch import launch; from freehold.launch.job import Job\n"
        f"launch(Job('small_worker', Path({str(tmp_path)!r}), print, 'The test'), 'ddp', processes=2)"
    )
    asked = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(alive(tmp_path)) == 2
    for number in signals:
        asked.send_signal(number)
        time.sleep(0.2)
    assert asked.wait(60) == 128 + signals[-1]
    assert not alive(tmp_path), os.listdir(tmp_path)
