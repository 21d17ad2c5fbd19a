"""One process of a training, as torchrun starts it: what it says on stdout, and with which code it ends."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.train.small import job, plan, ranks

from freehold.errors import TooLittleMemory, TrainingFailed
from freehold.train import worker
from freehold.train.loop import run

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def worked(*args: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the lines of stdout, stderr."""
    command = [sys.executable, "-m", "freehold.train.worker", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_it_says_json_lines_and_nothing_else(tmp_path: Path) -> None:
    code, lines, stderr = worked(job(tmp_path / "job", plan(3)), "--parallel", "none")
    assert code == 0, stderr
    assert lines[0]["tell"].startswith("train: loss 4.")
    assert lines[0]["done"] == pytest.approx(1 / 3)
    assert any(line["tell"].startswith("held out: ") for line in lines)
    assert run(tmp_path / "job").steps == 3, "the result lies in the folder"


def forked(folder: Path, out: Path, parallel: str) -> int:
    """The worker's main, with its stdout in a file."""
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    return worker.main([str(folder), "--parallel", parallel])


def said(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def no_more_than(more: int) -> list[bytearray]:
    """So many bytes are left for this process: also what earlier tests let go is taken, as long as this is held."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size, -1))
    taken, step = list[bytearray](), 256 << 20
    while step >= 1 << 16:
        try:
            taken.append(bytearray(step))
        except MemoryError:
            step //= 2
    resource.setrlimit(resource.RLIMIT_AS, (size + more, -1))
    return taken


def test_the_first_of_two_speaks_also_for_the_other(tmp_path: Path) -> None:
    """The second has no memory for its half of a step: one error line, and it says why."""
    out, many = tmp_path / "out", 16_000
    folder = job(tmp_path / "job", plan(2, rows=many), at_once=many * 16)

    def one() -> int:
        held = no_more_than(192 << 20) if os.environ["RANK"] == "1" else []
        code = forked(folder, out, "ddp")
        held.clear()
        return code

    assert ranks(2, tmp_path, one) == [TooLittleMemory.exit_code] * 2
    errors = [line for line in said(out) if "error" in line]
    assert [line["error"] for line in errors] == ["TooLittleMemory"]
    assert "A step of 16000 rows of 16 ids does not fit in memory" in errors[0]["message"]


def test_two_processes_speak_with_one_voice(tmp_path: Path) -> None:
    folder, out = job(tmp_path / "job", plan(3)), tmp_path / "out"
    assert ranks(2, tmp_path, lambda: forked(folder, out, "fsdp")) == [0, 0]
    steps = [line for line in said(out) if line["tell"].startswith("train: loss")]
    assert len(steps) == len({line["tell"] for line in steps}) == 3
    assert run(folder).steps == 3


def test_a_wrong_number_in_two_processes_ends_both(tmp_path: Path) -> None:
    folder, out = job(tmp_path / "job", plan(12, rate=1e12, warm=8, clip=0.0)), tmp_path / "out"
    assert ranks(2, tmp_path, lambda: forked(folder, out, "ddp")) == [TrainingFailed.exit_code] * 2
    (error,) = (line for line in said(out) if "error" in line)
    assert said(out)[-1] == error
    assert error.keys() == {"error", "message", "hint"}
    assert error["error"] == "TrainingFailed"
    assert error["hint"] == "Say a smaller rate, --set rate=3e+11: it goes on from there."
