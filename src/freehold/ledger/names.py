"""The files of a ledger, whose names sort by the time at which they were begun.

ledger/2026-11-24T101502.114-411.jsonl     one process's rows from then on, until the file is full or the day ends
ledger/seals.log                           which files are whole, with their sha256, and which were removed
ledger/receipts/*.receipt                  what was erased
ledger/backups.log                         where backups went
ledger/.ballast, .lock                     room for the last rows; one who seals, erases or backs up at a time
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from freehold.errors import StorageFailed

__all__ = [
    "alone", "begun", "held", "is_chained", "label", "lock", "locked", "newest", "rows_files", "sweep", "writer_of",
]  # fmt: skip

NEW = re.compile(r"(\d{4}-\d\d-\d\dT\d{6}\.\d{3})-(.+)\.jsonl")
OLD = re.compile(r"\d{4}-\d\d-\d\d-(.+)\.jsonl")  # one a day and process, without a chain
LABEL = "%Y-%m-%dT%H%M%S"
WAIT = 30.0  # seconds for another process that seals or erases


def label(milliseconds: int) -> str:
    whole, part = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(whole, UTC).strftime(LABEL)}.{part:03}"


def newest(folder: Path) -> int:
    """The newest label in the folder, as milliseconds since the epoch; 0 where there is none."""
    names = [path.name for path in rows_files(folder) if is_chained(path)]
    return begun(max(names)) if names else 0


def begun(name: str) -> int:
    """A file's label in milliseconds since the epoch; 0 where it has none."""
    found = NEW.fullmatch(name)
    if not found:
        return 0
    whole = datetime.strptime(found[1][:-4], LABEL).replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1000 + int(found[1][-3:])


def rows_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if not path.name.startswith("."))


def is_chained(path: Path) -> bool:
    """Whether the name is one of a file whose rows hold a chain."""
    return NEW.fullmatch(path.name) is not None


def writer_of(path: Path) -> str:
    """Who wrote the file: its files, in order of name, are in order of writing."""
    found = NEW.fullmatch(path.name)
    if found:
        return found[2]
    old = OLD.fullmatch(path.name)
    return old[1] if old else path.name


@contextlib.contextmanager
def alone(path: Path) -> Iterator[int | None]:
    """A handle to the file with nobody writing to it meanwhile; None where somebody does, or where it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield handle if lock(handle) else None
    finally:
        os.close(handle)


def lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held(path: Path) -> bool:
    """Whether a process writes to the file now."""
    with alone(path) as handle:
        return handle is None and path.exists()


@contextlib.contextmanager
def locked(folder: Path, wait: float = WAIT) -> Iterator[None]:
    """One who seals, erases or backs up at a time. Raises StorageFailed where another takes longer than `wait` s."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + wait
        while not lock(handle):
            if time.monotonic() >= until:
                why = f"Another process is sealing, erasing or backing up {folder}."
                raise StorageFailed(why, "Wait for it to end.")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed run left half-written. Only with the lock held."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
