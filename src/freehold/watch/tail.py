"""The ledger, read once: each pass takes up where the last one ended, and never reads a row twice.

ledger/2026-11-24-411.jsonl   |=========== read ===========|== this pass ==|.. torn last row: waits ..|
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from freehold.errors import StorageFailed

__all__ = ["Tail"]

BLOCK = 4 << 20


class Tail:
    """All .jsonl files of a folder, in order of name. `behind` is how many bytes a pass left for the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.behind = 0
        self._read: dict[Path, tuple[int, int]] = {}  # inode, bytes

    def rewritten(self) -> bool:
        """Whether a file that was read is gone, shorter or another one: then everything must be read again."""
        return any(not self._same(path, inode, read) for path, (inode, read) in self._read.items())

    @staticmethod
    def _same(path: Path, inode: int, read: int) -> bool:
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        return found.st_ino == inode and found.st_size >= read

    def rows(self, budget: int) -> Iterator[bytes]:
        """The whole rows that are new, of at most about `budget` bytes. Raises StorageFailed."""
        self.behind = 0
        for path in sorted(self.folder.glob("*.jsonl")):
            try:
                budget -= yield from self._new(path, budget)
            except FileNotFoundError:  # put away meanwhile: the next pass reads everything again
                continue
            except OSError as error:
                raise StorageFailed(f"Can't read {path}: {error.strerror}.") from None

    def _new(self, path: Path, budget: int) -> Generator[bytes, None, int]:
        """The new rows of one file; returns how many bytes they are. A row counts as read before it is given away."""
        found = path.stat()
        start = at = self._read.get(path, (found.st_ino, 0))[1]
        for block in _whole(path, start, budget):
            for row in block[:-1].split(b"\n"):
                at += len(row) + 1
                self._read[path] = (found.st_ino, at)
                yield row
        if budget <= at - start:
            self.behind += found.st_size - at
        return at - start


def _whole(path: Path, start: int, budget: int) -> Iterator[bytes]:
    """Blocks of whole rows from `start` on; stops at a torn row, or after `budget` bytes."""
    size = BLOCK
    with path.open("rb") as file:
        while budget > 0:
            file.seek(start)
            block = file.read(size)
            whole = block[: block.rfind(b"\n") + 1]
            if whole:
                yield whole
                start += len(whole)
                budget -= len(whole)
                size = BLOCK
            elif len(block) == size:  # one row longer than a block
                size *= 2
            else:
                return
