"""A small true world for all tests: where shared data lies, and one whole journey on the bundled log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# slow input is the machine's load, not the test's fault
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "examples" / "support-desk" / "calls.jsonl.gz"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("FREEHOLD_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the shared data folder ({folder} is absent; set FREEHOLD_SHARED)")
    return folder


@dataclass(frozen=True)
class Ran:
    """A command that ended: what it printed, and the project it wrote."""

    project: Path
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found


def freehold(*args: str | Path, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "freehold", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    return done


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """`freehold switch --bar 0.99` on the bundled log, once for all tests."""
    project = tmp_path_factory.mktemp("journey") / "support-desk"
    done = freehold("switch", LOG, "--project", project, "--bar", "0.99", "--json")
    return Ran(project, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real SmolLM2-135M-Instruct as GGUF; tests that need it skip where it was never brought."""
    given = os.environ.get("FREEHOLD_SMOLLM2")
    if given:
        return Path(given)
    from freehold.engines import bases
    from freehold.errors import BaseUnusable

    try:
        return bases.find("smollm2").path
    except BaseUnusable as error:
        pytest.skip(f"needs the base smollm2 ({error.message} freehold base smollm2)")
