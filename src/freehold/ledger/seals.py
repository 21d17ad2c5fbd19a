"""Which files are whole: `ledger/seals.log`, one row a file that was finished, rewritten by an erasure, or removed.

    {"seal": {"event": "sealed", "file": "2026-11-24T101502.114-411.jsonl", "sha256": "…", "rows": 812,
              "bytes": 1664021, "first": 1, "last": 812, "link": "<chain of its last row>", "until": 1795601702.1,
              "at": "…", "was": "", "was_link": "", "chain": "…"}}

The rows hold together by the same chain as those of the ledger. `sealed` says what a file was when it was finished,
`erased` what it became (`was` and `was_link`: what it had been), `removed` that it got too old.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from freehold import wire
from freehold.errors import LedgerDamaged
from freehold.ledger.book import add, cut_tail, mend, rows
from freehold.ledger.chain import body_of
from freehold.ledger.names import alone, begun, is_chained, rows_files
from freehold.project.storage import now

__all__ = ["SEALS", "Seal", "latest", "look", "read", "remove_old", "seal_free"]

SEALS = "seals.log"
BLOCK = 1 << 20
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Seal:
    """A file as it was sealed. `first` and `last` are numbers of rows, `link` the last row's chain, `until` its time in
    epoch seconds (None: unknown)."""

    event: str
    file: str
    sha256: str
    rows: int
    bytes: int
    first: int = 0
    last: int = 0
    link: str = ""
    until: float | None = None
    at: str = ""
    was: str = ""
    was_link: str = ""


def read(folder: Path) -> list[Seal]:
    """All events in order. Raises LedgerDamaged, StorageFailed."""
    found = []
    for number, row in rows(folder / SEALS, "seal"):
        if not row:
            raise LedgerDamaged(f"{folder / SEALS}:{number} is damaged.", "Run: freehold ledger verify")
        found.append(msgspec.json.decode(row, type=Seal))
    return found


def latest(seals: list[Seal]) -> dict[str, Seal]:
    """What was last said of each file."""
    return {seal.file: seal for seal in seals}


# sealing


def seal_free(folder: Path) -> list[str]:
    """Seal every file that nobody writes to any more, its torn tail cut off. Only with the lock held. Raises OSError,
    StorageFailed, LedgerDamaged."""
    mend(folder / SEALS)  # else one half row would be the last that is ever sealed
    done, known = [], {seal.file for seal in read(folder)}
    for path in rows_files(folder):
        if path.name in known:
            continue
        if not is_chained(path) and time.time() - path.stat().st_mtime < DAY:
            continue  # an older freehold, which holds no lock, may still write to it
        with alone(path) as handle:
            if handle is None:
                continue
            cut_tail(path, handle)
            if not os.fstat(handle).st_size:
                path.unlink()
                continue
            os.fchmod(handle, 0o400)
            os.fsync(handle)
            add(folder / SEALS, "seal", asdict(look(path)))
            done.append(path.name)
    return done


def look(path: Path, event: str = "sealed") -> Seal:
    """What there is to say of a file as it stands on the disk. Raises OSError."""
    digest, count, size = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        first = file.readline()
        file.seek(0)
        while block := file.read(BLOCK):
            digest.update(block)
            count += block.count(b"\n")
            size += len(block)
        last = _last_line(file.fileno(), size)
    link = body_of(last)[1].decode()
    seal = Seal(event, path.name, digest.hexdigest(), count, size, _number(first), _number(last), link, _time(last))
    return replace(seal, at=now())


def _last_line(handle: int, size: int) -> bytes:
    """The last whole row of a file that ends with one."""
    reach = 65536
    while True:
        start = max(0, size - reach)
        block = os.pread(handle, size - start, start)
        at = block.rfind(b"\n", 0, len(block) - 1)
        if at >= 0 or not start:
            return block[at + 1 :]
        reach *= 2


class _Own(msgspec.Struct):
    seq: int = 0


class _Row(msgspec.Struct):
    freehold: _Own = msgspec.field(default_factory=_Own)
    timestamp: str | float | int | None = None


ROW = msgspec.json.Decoder(_Row)


def _number(line: bytes) -> int:
    try:
        return ROW.decode(line).freehold.seq
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return 0


def _time(line: bytes) -> float | None:
    try:
        return wire.timestamp(ROW.decode(line).timestamp)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError, OverflowError):
        return None


def remove_old(folder: Path, keep_days: int, at: float) -> list[str]:
    """Remove sealed files whose last row is older than `keep_days` at the time `at`, and remember that they were there.
    A file whose name is younger stays: its rows' clock was behind. Only with the lock held. Raises OSError,
    StorageFailed, LedgerDamaged."""
    done = []
    for name, seal in latest(read(folder)).items():
        path = folder / name
        if seal.event == "removed":
            path.unlink(missing_ok=True)  # said, but not done before the process ended
        elif seal.until is not None and max(seal.until, begun(name) / 1000) < at - keep_days * DAY and path.exists():
            add(folder / SEALS, "seal", asdict(replace(seal, event="removed", at=now(), was="", was_link="")))
            path.unlink(missing_ok=True)
            done.append(name)
    return done
