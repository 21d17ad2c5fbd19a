"""Room on the disk that is kept for the last rows: a file of 64 MiB, given up when a row finds the disk full."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["BALLAST", "Ballast"]

BALLAST = 64 << 20
PLENTY = 4  # times its size must be free before it is made


class Ballast:
    """`size` of 0: none is kept."""

    def __init__(self, path: Path, size: int = BALLAST) -> None:
        self.path, self.size = path, size

    def make(self) -> bool:
        """Whether the room is there, made now where there is plenty. Raises OSError."""
        if not self.size:
            return False
        if self.path.exists():
            return True
        room = os.statvfs(self.path.parent)
        if room.f_bavail * room.f_frsize < PLENTY * self.size:
            return False
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, self.size)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return True

    def release(self) -> bool:
        """Give the room up; False where there was none."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
