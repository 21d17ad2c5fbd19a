"""Is every row still what was written? The chain of rows, and the sha256 of each sealed file.

A flipped byte breaks the chain at its row, a missing row the numbers, a cut file its seal, or the chain that the file
after it names. Rows cut off the end of a file that nobody sealed yet can't be missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freehold.ledger.book import rows
from freehold.ledger.chain import body_of, chained
from freehold.ledger.names import held, is_chained, rows_files
from freehold.ledger.seals import SEALS, Seal, latest
from freehold.project import Project

__all__ = ["Problem", "Verified", "check", "verify"]

SEQ = b',"seq":'


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a line of a file; line 0: with the file."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


@dataclass(frozen=True, slots=True)
class Verified:
    """`rows` were looked at in `files`; `unchained` of them are from before rows held a chain."""

    rows: int
    files: int
    problems: tuple[Problem, ...]
    unchained: int = 0


class _First(msgspec.Struct):
    prev: str = ""


class _FirstRow(msgspec.Struct):
    freehold: _First = msgspec.field(default_factory=_First)


def verify(project: Project) -> Verified:
    """Look at every row of the project's ledger. Raises OSError, StorageFailed."""
    return check(project.path / "ledger")


def check(folder: Path) -> Verified:
    """The same of a folder that holds a ledger, such as a backup's."""
    seals, problems = _seals(folder)
    said, looked = latest(seals), [_File(path) for path in rows_files(folder)]
    for file in tuple(looked):
        try:
            problems += file.look(said.get(file.name))
        except FileNotFoundError:  # too old, and just removed
            looked.remove(file)
    there = {file.name for file in looked}
    for name, seal in said.items():
        if name not in there and seal.event != "removed":
            problems.append(Problem(name, 0, f"the file is missing; it was sealed with {seal.rows} rows"))
    known = {file.link for file in looked} | {s.link for s in seals} | {s.was_link for s in seals}
    for file in looked:
        if file.prev and file.prev not in known:
            problems.append(Problem(file.name, 1, "it goes on from a row that is not here: a file was cut or lost"))
    return Verified(sum(f.rows for f in looked), len(looked), tuple(problems), sum(f.unchained for f in looked))


def _seals(folder: Path) -> tuple[list[Seal], list[Problem]]:
    found, problems = [], []
    for number, row in rows(folder / SEALS, "seal"):
        if row:
            found.append(msgspec.json.decode(row, type=Seal))
        else:
            problems.append(Problem(SEALS, number, "the row is not what was written"))
    return found, problems


class _File:
    """One file, read once: `prev` is the chain that it goes on from, `link` that of its last row."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.rows = self.unchained = self.size = 0
        self.prev = self.link = ""

    def look(self, seal: Seal | None) -> list[Problem]:
        digest, live = hashlib.sha256(), held(self.path)
        problems = [Problem(self.name, number, why) for number, why in self._rows(digest, live)]
        if seal is not None and not problems:
            problems += self._sealed(seal, digest.hexdigest())
        return problems

    def _rows(self, digest: hashlib._Hash, live: bool) -> Iterator[tuple[int, str]]:
        wanted, link, chains = 1, b"", is_chained(self.path)
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if live and not line.endswith(b"\n"):
                    return  # being written
                digest.update(line)
                self.size += len(line)
                self.rows += 1
                body, said = body_of(line)
                if not body:
                    if chains or not line.endswith(b"\n"):
                        yield number, "the row is cut short" if not line.endswith(b"\n") else "the row has no chain"
                    self.unchained += not chains
                    continue
                if number == 1:
                    self.prev = _prev(line)
                    link = self.prev.encode()
                elif chains and (why := _number(body, wanted)):
                    yield number, why
                if chained(body, link)[1] != said:
                    yield number, "the row, or the one before it, is not what was written"
                wanted, link = _seq(body) + 1, said
        self.link = link.decode("ascii", "replace")

    def _sealed(self, seal: Seal, sha256: str) -> Iterator[Problem]:
        if seal.event == "erased" and sha256 == seal.was:
            yield Problem(self.name, 0, "an erasure did not come to its end here; run it again")
        elif seal.event != "removed" and sha256 != seal.sha256:
            size = f"{self.rows} rows and {self.size} bytes, sealed with {seal.rows} and {seal.bytes}"
            yield Problem(self.name, 0, f"sha256 is {sha256[:12]}…, sealed with {seal.sha256[:12]}…; {size}")


def _prev(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_FirstRow).freehold.prev
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""  # then the chain does not fit


def _seq(body: bytes) -> int:
    said = body[body.rfind(SEQ) + len(SEQ) :].partition(b",")[0]
    return int(said) if said.isdigit() and len(said) < 20 else 0


def _number(body: bytes, wanted: int) -> str:
    found = _seq(body)
    return "" if found == wanted else f"row {found} where row {wanted} is expected"
