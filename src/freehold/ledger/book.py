"""Small files of chained rows, {noun: {...}} each, synced one by one: which files are sealed, where backups went."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import LedgerDamaged
from freehold.ledger.chain import body_of, chained
from freehold.project.storage import guarded, read_bytes, sync_folder

__all__ = ["add", "cut_tail", "mend", "rows"]

BLOCK = 1 << 20


def rows(path: Path, noun: str) -> Iterator[tuple[int, bytes]]:
    """Number and object of each row, as JSON; b"" for one that is not what was written. Raises StorageFailed."""
    previous, head = b"", b'{"%s":{' % noun.encode()
    lines = read_bytes(path).split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            return
        body, link = body_of(line + b"\n")
        sound = number < len(lines) and body.startswith(head) and chained(body, previous)[1] == link
        yield number, body[len(head) - 1 :] + b"}" if sound else b""
        previous = link


def add(path: Path, noun: str, row: dict[str, Any]) -> None:
    """Append one row. Raises StorageFailed, and LedgerDamaged where the file isn't what was written."""
    with guarded(path):
        fresh = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            cut_tail(path, handle)  # of a process that was killed while it wrote
            _append(path, handle, noun, msgspec.json.encode({noun: row})[:-2])
        finally:
            os.close(handle)
        if fresh:
            sync_folder(path.parent)


def mend(path: Path) -> None:
    """Cut off the half row that a power cut may have left. Only with the lock held. Raises OSError."""
    if path.exists():
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            cut_tail(path, handle)
        finally:
            os.close(handle)


def _append(path: Path, handle: int, noun: str, body: bytes) -> None:
    for number, sound in rows(path, noun):
        if not sound:
            raise LedgerDamaged(f"{path}:{number} is damaged.", "Run: freehold ledger verify")
    before = read_bytes(path)
    line = chained(body, body_of(before[before.rfind(b"\n", 0, -1) + 1 :])[1])[0]
    try:
        if os.write(handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, len(before))
        raise


def cut_tail(path: Path, handle: int) -> int:
    """Cut half a row off a file's end; returns how many bytes that were. Raises OSError."""
    size = end = os.fstat(handle).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        at = os.pread(handle, end - start, start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        os.fchmod(handle, 0o600)  # it may have been made read-only before its writer let it go
        os.truncate(path, end)
    return size - end
