"""Parts of a log, done side by side: in this process, in one process a core, and each result kept until all are in.

jobs ─do→ bytes, in the jobs' order        a result on disk is not done again: a stopped run goes on
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from freehold.project.storage import write_atomic

__all__ = ["Here", "Kept", "Processes", "cores"]

Do = Callable[[int], bytes]


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Here:
    """One job after the other, in this process."""

    def run(self, do: Do, jobs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for job in jobs:
            yield job, do(job)


class Processes:
    """A process a core. They are started afresh, not forked: the caller may have threads."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or cores()

    def run(self, do: Do, jobs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.count, len(jobs)) or 1, context, initializer=_quiet) as pool:
            try:
                yield from zip(jobs, pool.map(do, jobs), strict=True)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _quiet() -> None:
    """ctrl-C is for the parent to hear, which then stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Kept:
    """Runs jobs through another runner, and keeps each result in a folder; what lies there is not run again. `name`
    says what the results hang on: those of another name are not taken."""

    def __init__(self, runner: Any, folder: Path, name: str) -> None:
        self.runner, self.folder, self.name = runner, folder, name

    def run(self, do: Do, jobs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        there = {job for job in jobs if self._file(job).is_file()}
        made = self.runner.run(do, [job for job in jobs if job not in there])
        for job in jobs:
            if job in there:
                yield job, self._file(job).read_bytes()
                continue
            _, result = next(made)
            write_atomic(self._file(job), result)
            yield job, result

    def _file(self, job: int) -> Path:
        return self.folder / f"part-{job:06}-{self.name}.msgpack"
