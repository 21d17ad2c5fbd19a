"""The ledger: one row for every call, in files that hold together, and again a log that `freehold audit` reads.

    serve ─write→ ledger/2026-11-24T101502.114-411.jsonl ─sealed→ seals.log     past → the monitor
                   │ durable: on the disk                 │ verify, erase → receipts, backup → a folder elsewhere

entry   a row in the making, and what of it is kept      chain   how rows hold together    names   files and locks
writer  one write a row, one sync for many               seals   which files are whole     past    for the monitor
"""

from __future__ import annotations

from dataclasses import dataclass

from freehold.ledger.copies import Backup, backup, check_backup, restore
from freehold.ledger.entry import Entry
from freehold.ledger.erase import Receipt, erase
from freehold.ledger.names import held, rows_files
from freehold.ledger.past import PastRow, past
from freehold.ledger.seals import latest, read
from freehold.ledger.verify import Problem, Verified, verify
from freehold.ledger.writer import Ledger
from freehold.project import Project

__all__ = [
    "Backup", "Entry", "Ledger", "LedgerFile", "PastRow", "Problem", "Receipt", "Verified", "backup", "check_backup",
    "erase", "ledger", "past", "restore", "verify",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """One file of the ledger. `state` is written (a process writes to it), open (nobody does, and it isn't sealed yet),
    sealed, erased (sealed, and rewritten since) or removed (too old); `rows` is None where nobody counted them; `until`
    is the last row's time in epoch seconds."""

    name: str
    state: str
    bytes: int
    rows: int | None = None
    until: float | None = None


def ledger(project: Project) -> tuple[LedgerFile, ...]:
    """All files of the project's ledger in order of time, those that were removed among them. Raises LedgerDamaged."""
    folder = project.path / "ledger"
    said, found = latest(read(folder)), []
    for path in rows_files(folder):
        if path.name not in said:
            state = "written" if held(path) else "open"
            found.append(LedgerFile(path.name, state, path.stat().st_size))
    found += [LedgerFile(name, seal.event, seal.bytes, seal.rows, seal.until) for name, seal in said.items()]
    return tuple(sorted(found, key=lambda file: file.name))
