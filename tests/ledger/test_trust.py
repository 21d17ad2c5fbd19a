"""The long runs of benchmarks/trust in their short form: killed writers (G30), failing system calls (G31)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRUST = Path(__file__).resolve().parents[2] / "benchmarks" / "trust"


def run(name: str, *args: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(TRUST / name), *args], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_writer_that_is_killed_loses_nothing_that_it_acked() -> None:
    found = run("kill_ledger.py", "--rounds", "10")
    assert (found["acked_lost"], found["torn"], found["chain_problems"]) == (0, 0, 0)
    assert found["acked"] > 1000


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which makes system calls fail")
@pytest.mark.parametrize("case", ["writer", "erase"])
def test_a_system_call_that_fails_is_said_and_breaks_nothing(case: str) -> None:
    found = run("syscalls.py", "--few", "--case", case)
    assert found["broken"] == []
    assert found["runs"] >= 3
