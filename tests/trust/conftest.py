"""A server in a process of its own in front of a host that records, once for all tests of a file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from freehold.project import Project

from .world import Host, project_at

SERVING = Path(__file__).resolve().parents[1] / "serve" / "serving.py"


@dataclass
class Served:
    project: Project
    host: Host
    port: int
    process: subprocess.Popen[str]
    log: Path

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def peak(self) -> float:
        """The most memory that it has had, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


@contextmanager
def serving(folder: Path, toml: str = "") -> Iterator[Served]:
    project, host = project_at(folder / "project", toml), Host()
    listening = host.start()
    log = folder / "stderr"
    with log.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, str(SERVING), str(project.path), host.url, "0"],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, log.read_text()
        yield Served(project, host, int(said), process, log)
    finally:
        process.terminate()
        process.wait(40)
        if process.stdout is not None:
            process.stdout.close()
        listening.shutdown()
        listening.server_close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture(scope="module")
def server(served: Served) -> int:
    return served.port


@pytest.fixture
def upstream_calls(served: Served) -> list[str]:
    return served.host.seen
