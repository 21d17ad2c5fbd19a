"""A small true world for all tests: where shared data lies, and one whole journey on the bundled log; and what running
them side by side asks for."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
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
LONG = (
    "tests/journey/test_text_journey.py", "tests/journey/test_journey.py", "tests/test_docs.py",
    "tests/journey/test_scratch_journey.py",
)  # fmt: skip
"""What takes minutes, begun first where files go to several workers, so that none of them is left at the end."""
DOWN = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONG.index(name) if (name := item.nodeid.split("::")[0]) in LONG else len(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """A worker that is killed between two tests takes none with it, and xdist then ends with 0."""
    if error is not None:
        node.config.stash.setdefault(DOWN, []).append(f"{node.gateway.id}: {error}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash.get(DOWN, []) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for worker in config.stash.get(DOWN, []):
        terminalreporter.write_line(f"FAILED: a worker of the tests died, killed or out of memory ({worker})", red=True)


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


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills for the first worker that asks; each one gets a copy, to do with what it likes."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    first = common / f"{name}-first"
    with (common / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (first / "made").exists():
            shutil.rmtree(first, ignore_errors=True)
            first.mkdir()
            make(first)
            (first / "made").touch()
    own: Path = factory.mktemp(name) / name
    shutil.copytree(first, own)
    return own


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """`freehold switch --bar 0.99` on the bundled log, once for all tests."""

    def make(folder: Path) -> None:
        done = freehold("switch", LOG, "--project", folder / "support-desk", "--bar", "0.99", "--json")
        (folder / "stdout").write_text(done.stdout)
        (folder / "stderr").write_text(done.stderr)

    own = made_once(tmp_path_factory, "journey", make)
    return Ran(own / "support-desk", (own / "stdout").read_text(), (own / "stderr").read_text())


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
