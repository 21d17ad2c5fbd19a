"""The locks on keys.spent: one for each change, of all processes and threads, and one on each process's place."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from pathlib import Path

from freehold.errors import StorageFailed

__all__ = ["Alone", "Held", "lock"]

LOCKS = struct.Struct("hhqqi4x")  # struct flock
WAIT = 0.05  # seconds that the event loop waits for the lock, which is held for microseconds


class Held(StorageFailed):
    """Another process holds the file."""


class Alone:
    """The lock on the file: alone among threads and processes, for a few microseconds."""

    __slots__ = ("_file", "_path", "_thread")

    def __init__(self, file: int, path: Path) -> None:
        self._file, self._path, self._thread = file, path, threading.Lock()

    def __enter__(self) -> None:
        self._thread.acquire()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def _wait(self) -> None:
        end = time.monotonic() + WAIT
        while True:
            time.sleep(20e-6)
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    self._thread.release()
                    raise Held(f"Another process holds {self._path}.", "See which with lsof.") from None


def lock(file: int, kind: int, slot: int) -> bool:
    """Take or give back the lock on a process's place; False where another process lives there."""
    said = LOCKS.pack(kind, os.SEEK_SET, slot, 1, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, said)
    except BlockingIOError:
        return False
    return True
