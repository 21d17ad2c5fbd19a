"""Tests on several workers: what is dear is made once, and a worker that dies fails the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ASKS = """
    from pathlib import Path

    def test_it(tmp_path_factory, request):
        conftest = next(p for p in request.config.pluginmanager.get_plugins() if hasattr(p, "made_once"))
        made = Path(__file__).with_name("made")

        def make(folder):
            with made.open("a") as file:
                file.write("once ")
            (folder / "what").write_text("dear")

        own = conftest.made_once(tmp_path_factory, "dear", make)
        assert (own / "what").read_text() == "dear"
        (own / "what").write_text("spoilt, for nobody else")
"""
DIES = """
    import os, signal

    def pytest_sessionfinish(session):
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_made_once_and_a_worker_that_dies(tmp_path: Path) -> None:
    """The worker dies after its last test: xdist by itself calls that passed."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "dying.py").write_text("\n".join(line[4:] for line in DIES.splitlines()))
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text("\n".join(line[4:] for line in ASKS.splitlines()))
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "dying", "-p", "no:cacheprovider"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [*command, "--max-worker-restart", "0", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={**clean, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (tmp_path / "made").read_text() == "once "
    assert "2 passed" in done.stdout
    assert "FAILED: a worker of the tests died" in done.stdout
    assert done.returncode == 1
