"""The one storage writer: a file is the old one or the new one, a row is there whole or not at all.

write_atomic   temporary name in the same folder → write → sync → rename → sync the folder
Appender       one write a row; a short one is cut back, and a torn last row is cut off on opening
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from freehold.errors import StorageFailed

__all__ = [
    "Appender", "guarded", "now", "pretty", "read_bytes", "sha256_file", "sync_folder",
    "write_atomic", "writing",
]  # fmt: skip


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}
        said = why.get(error.errno or 0, error.strerror or str(error))
        raise StorageFailed(f"Can't write {path}: {said}.", "What was there before is unchanged.") from error


def read_bytes(path: Path) -> bytes:
    """A file of the project. Raises StorageFailed where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageFailed(f"Can't read {path}: {error.strerror}.", "Check its permissions.") from None


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write under a temporary name in the same folder, sync, rename, sync the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with guarded(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Write a file of any size piece by piece: it is there only once the block has ended without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with guarded(path):
        temporary.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "r+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


class Appender:
    """Appends JSON rows to a file; a row is on disk whole or not at all.

    A short write (disk full) is cut back, so that the next row never lands behind half of this one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._named = path.exists()  # else its name is not on the disk yet, whatever its rows are
        with guarded(path):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._cut_torn_tail()

    def _cut_torn_tail(self) -> None:
        size = os.fstat(self._handle).st_size
        end = size
        while end > 0:
            start = max(0, end - 65536)
            block = os.pread(self._handle, end - start, start)
            at = block.rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._handle, end)

    def append(self, row: Any, *, sync: bool = False) -> None:
        """Raises StorageFailed, with the file as it was before."""
        data = msgspec.json.encode(row) + b"\n"
        size = os.fstat(self._handle).st_size
        with guarded(self.path):
            try:
                if os.write(self._handle, data) != len(data):
                    raise OSError(errno.ENOSPC, "No space left on device")
                if sync:
                    os.fsync(self._handle)
                    if not self._named:
                        sync_folder(self.path.parent)
                        self._named = True
            except OSError:
                os.ftruncate(self._handle, size)
                raise

    def close(self) -> None:
        os.close(self._handle)
