"""The snapshots of several workers in one folder, so that a scrape of any of them tells the sum.

    FOLDER (0700)   <worker>-<pid>.json   a worker's counts, written anew each second and at its end
                    <worker>-<pid>.lock   locked as long as that process lives: a pid may be given again, a lock not
                    gone.json             the sum of workers that have ended, and the names of the files it holds

A worker that starts adds up the files of those that have ended, so that a server whose workers come and go keeps a
handful of files. These files need not outlast the machine, so nothing is synced.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from freehold.serve.numbers.counts import Counts, merged

__all__ = ["Siblings"]

T = TypeVar("T")


class _Gone(msgspec.Struct):
    """gone.json: a file named in `files` is part of `counts`, and only waits to be removed."""

    counts: Counts
    files: list[str]


class Siblings:
    """This worker's place in the folder. `write` may be called in any thread, one call at a time."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder = folder
        self._name = f"{worker}-{os.getpid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder / "folder.lock"):
            self._fold()
            self._lock = os.open(folder / f"{self._name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def write(self, counts: Counts) -> None:
        """Put this worker's counts in place of its last ones. A disk that is full, or a folder that is gone, leaves the
        last ones: the next second tries again."""
        with suppress(OSError):
            self._put(f"{self._name}.json", msgspec.json.encode(counts))

    def read(self) -> tuple[list[Counts], list[Counts]]:
        """The others' counts: of those that live, and of those that have ended."""
        living: list[Counts] = []
        ended: list[Counts] = []
        gone = self._gone()
        if gone is not None:
            ended.append(gone.counts)
        for path in self._files():
            if path.stem == self._name or (gone is not None and path.name in gone.files):
                continue
            counts = _decoded(path, Counts)
            if counts is not None:
                (living if self._lives(path) else ended).append(counts)
        return living, ended

    def close(self) -> None:
        os.close(self._lock)

    def _fold(self) -> None:
        """Add the files of workers that have ended to gone.json. A crash on the way counts none twice, loses none."""
        gone = self._gone()
        total = Counts() if gone is None else gone.counts
        if gone is not None and gone.files:
            self._settle(total, gone.files)
        ended = [path for path in self._files() if not self._lives(path)]
        found = [counts for path in ended if (counts := _decoded(path, Counts)) is not None]
        if found:
            names = [path.name for path in ended]
            total = merged([total, *found])
            self._put("gone.json", msgspec.json.encode(_Gone(total, names)))
            self._settle(total, names)

    def _settle(self, total: Counts, names: list[str]) -> None:
        """Remove files that are part of the sum, and then say so: their names may come again."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
            (self._folder / name).with_suffix(".lock").unlink(missing_ok=True)
        self._put("gone.json", msgspec.json.encode(_Gone(total, [])))

    def _gone(self) -> _Gone | None:
        return _decoded(self._folder / "gone.json", _Gone)

    def _files(self) -> list[Path]:
        return [path for path in sorted(self._folder.glob("*-*.json")) if path.name[0].isdigit()]

    def _lives(self, path: Path) -> bool:
        try:
            handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _put(self, name: str, data: bytes) -> None:
        temporary = self._folder / f".{name}.{os.getpid()}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(self._folder / name)


def _decoded(path: Path, kind: type[T]) -> T | None:
    """What a file holds; None where it was removed since, or isn't one of ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
