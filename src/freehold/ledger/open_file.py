"""One file under way: begun by nobody but its writer, who holds a lock on it until it is closed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from freehold.ledger.book import cut_tail
from freehold.ledger.names import alone, lock

__all__ = ["OpenFile", "begin", "mend"]

DAY = 86400.0


class OpenFile:
    """`rows` were written, `synced` of them brought to the disk; `bad`: why it can't be trusted; `retired`: no row
    follows, and the next sync closes it."""

    __slots__ = ("bad", "ends", "fd", "inode", "name", "named", "over", "path", "retired", "rows", "size", "synced")

    def __init__(self, path: Path, fd: int, clock: float) -> None:
        self.path, self.name, self.fd = path, str(path), fd
        found = os.fstat(fd)
        self.inode = found.st_dev, found.st_ino
        self.rows = self.synced = self.size = 0
        self.bad, self.retired, self.named = "", False, False
        self.ends = (clock // DAY + 1) * DAY  # by the wall clock, or a day later by the one that can't jump
        self.over = time.monotonic() + DAY

    def ours(self) -> bool:
        """Whether the name still leads to this file, and nobody asks for it by making it read-only."""
        try:
            found = os.stat(self.name)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.inode and bool(found.st_mode & 0o200)


def begin(path: Path, clock: float) -> OpenFile | None:
    """A new file of that name; None where there is one already. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return None
    try:
        file = OpenFile(path, fd, clock)
        if lock(fd) and file.ours():  # else somebody just took it for an empty one that was left behind
            return file
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def mend(path: Path) -> None:
    """Cut off the half row that a killed process may have left at the end of its file. Raises OSError."""
    if os.stat(path).st_mode & 0o200:  # else it is sealed
        with alone(path) as handle:
            if handle is not None:
                cut_tail(path, handle)
