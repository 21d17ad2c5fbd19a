"""Backups: a folder with the ledger and the project's other small files, each with its sha256, and back again.

    DEST/manifest.json      {"freehold_backup": 1, "at", "files": [{"name", "sha256", "bytes", "rows"}], "sha256"}
    DEST/ledger/*.jsonl seals.log receipts/
    DEST/project.json freehold.toml keys.spent *.json *.jsonl verdicts/*.json pairs/*.jsonl

No artefacts, bases or work in progress: those are large, named by their sha256, and can be copied beside it or made
again. Files that others go on writing are copied up to the last whole row that was there when the backup began, so that
a backup of a running server is what its ledger was at that moment. A folder takes its name only once it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting, LedgerDamaged, ProjectMissing
from freehold.ledger.book import add, rows
from freehold.ledger.names import locked
from freehold.ledger.verify import Problem, check
from freehold.project import Project
from freehold.project.storage import guarded, now, sync_folder

__all__ = ["BOOK", "Backup", "backup", "check_backup", "known_backups", "restore"]

MANIFEST, BOOK = "manifest.json", "backups.log"
VERSION = 1
BLOCK = 1 << 20
KEPT = (
    "*.json",
    "*.jsonl",
    "freehold.toml",
    "keys.spent",
    "verdicts/*.json",
    "pairs/*.jsonl",
    "ledger/*.jsonl",
    "ledger/*.log",
    "ledger/receipts/*.receipt",
)
GROWS = (".jsonl", ".log")
END = b',"sha256":"%s"}\n'
SUM = 64 + len(END) - 2


@dataclass(frozen=True, slots=True)
class Copied:
    name: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. `problems` are those of the ledger in it: a backup of a damaged ledger is damaged too."""

    path: str
    at: str
    files: tuple[Copied, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files if file.name.startswith("ledger/") and file.name.endswith(".jsonl"))

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def backup(project: Project, dest: Path) -> Backup:
    """Copy the project's ledger and small files to the new or empty folder `dest`. Raises BadSetting, StorageFailed,
    LedgerDamaged."""
    _must_be_free(dest)
    dest = dest.absolute()
    if dest.is_relative_to(project.path.absolute()):
        raise BadSetting(f"{dest} is in the project itself.", "Give a folder elsewhere, on another disk if you can.")
    aside = dest.with_name(f".{dest.name}.{os.getpid()}.tmp")
    with locked(project.path / "ledger"), guarded(dest):
        shutil.rmtree(aside, ignore_errors=True)
        dest.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir(mode=0o700)
        try:
            # sizes first, all at once: what is written after that is the next backup's
            sizes = [(path, _whole(path)) for path in _kept(project.path)]
            copied = tuple(
                _copy(path, aside / path.relative_to(project.path), size, project.path) for path, size in sizes
            )
            at = now()
            _write(aside / MANIFEST, _manifest(at, copied))
            problems = check(aside / "ledger").problems
            _place(aside, dest)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        said = {"at": at, "dest": str(dest), "files": len(copied), "bytes": sum(file.bytes for file in copied)}
        add(project.path / "ledger" / BOOK, "backup", said)
    return Backup(str(dest), at, copied, problems)


def check_backup(src: Path) -> Backup:
    """Compare every file of a backup with its manifest, and its ledger with its chain. Raises LedgerDamaged with the
    first file that is not what was backed up, ProjectMissing where there is no backup."""
    at, files = _read(src)
    for said in files:
        path = src / said.name
        found = _sum(path) if path.is_file() and not path.is_symlink() else ("nothing", 0)
        if found != (said.sha256, said.bytes):
            what = f"expected sha256 {said.sha256[:12]}… and {said.bytes} bytes, found {found[0][:12]}… and {found[1]}"
            raise LedgerDamaged(f"{path} is damaged: {what}.", "Use another backup.")
    names = {said.name for said in files} | {MANIFEST}
    for path in sorted(src.rglob("*")):
        if not path.is_dir() and path.relative_to(src).as_posix() not in names:
            raise LedgerDamaged(f"{path} is not in the manifest.", "Remove it, or use another backup.")
    return Backup(str(src), at, files, check(src / "ledger").problems)


def restore(src: Path, dest: Path, *, force: bool = False) -> Backup:
    """Make the new or empty folder `dest` a project from a backup, which is checked first and again as it is copied.
    With `force` a folder that holds data is moved aside, to `<dest>.before-<time>`. Raises as check_backup, BadSetting,
    StorageFailed."""
    if not force:
        _must_be_free(dest)
    found, dest = check_backup(src), dest.absolute()
    aside = dest.with_name(f".{dest.name}.{os.getpid()}.tmp")
    with guarded(dest):
        shutil.rmtree(aside, ignore_errors=True)
        dest.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir(mode=0o700)
        try:
            for said in found.files:
                copied = _copy(src / said.name, aside / said.name, said.bytes, src)
                if copied.sha256 != said.sha256:
                    raise LedgerDamaged(f"{src / said.name} changed while it was read.", "Use another backup.")
            for name in ("artifacts", "verdicts", "ledger"):
                (aside / name).mkdir(exist_ok=True)
            if dest.exists() and any(dest.iterdir()):
                dest.rename(dest.with_name(f"{dest.name}.before-{now().replace(':', '')}"))
            _place(aside, dest)
        except (OSError, LedgerDamaged):
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return found


def known_backups(folder: Path) -> Iterator[tuple[str, Path]]:
    """Where backups of this ledger went, and the folder of each one's ledger."""
    seen = set()
    for number, row in rows(folder / BOOK, "backup"):
        if not row:
            raise LedgerDamaged(f"{folder / BOOK}:{number} is damaged.", "Run: freehold ledger verify")
        dest = str(msgspec.json.decode(row)["dest"])
        if dest not in seen:
            seen.add(dest)
            yield dest, Path(dest) / "ledger"


def _must_be_free(dest: Path) -> None:
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise BadSetting(f"{dest} is there already, and not an empty folder.", "Give a new folder.")


def _kept(root: Path) -> list[Path]:
    found = {path for pattern in KEPT for path in root.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _whole(path: Path) -> int:
    """How many bytes of a file are to be copied: of one that grows up to its last whole row."""
    with path.open("rb") as file:
        size = end = os.fstat(file.fileno()).st_size
        while path.suffix in GROWS and end > 0:
            start = max(0, end - BLOCK)
            at = os.pread(file.fileno(), end - start, start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return end if path.suffix in GROWS else size


def _copy(path: Path, to: Path, size: int, root: Path) -> Copied:
    """The first `size` bytes, synced. Raises OSError."""
    digest, count, left = hashlib.sha256(), 0, size
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("rb") as source, os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while left and (block := source.read(min(BLOCK, left))):
            file.write(block)
            digest.update(block)
            count += block.count(b"\n")
            left -= len(block)
        file.flush()
        if path.suffix == ".jsonl" and not os.fstat(source.fileno()).st_mode & 0o200:
            os.fchmod(file.fileno(), 0o400)
        os.fsync(file.fileno())
    if _sum(to) != (digest.hexdigest(), size - left):
        raise OSError(errno.EIO, "what was written is not what is read back", str(to))
    return Copied(path.relative_to(root).as_posix(), digest.hexdigest(), size - left, count)


def _place(aside: Path, dest: Path) -> None:
    """Everything synced, then the name. Raises OSError."""
    for folder in [aside, *(path for path in aside.rglob("*") if path.is_dir())]:
        sync_folder(folder)
    aside.rename(dest)
    sync_folder(dest.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != data:
        raise OSError(errno.EIO, "what was written is not what is read back", str(path))


def _manifest(at: str, files: tuple[Copied, ...]) -> bytes:
    body = msgspec.json.encode({"freehold_backup": VERSION, "at": at, "files": [asdict(file) for file in files]})[:-1]
    return body + END % hashlib.sha256(body).hexdigest().encode()


def _read(src: Path) -> tuple[str, tuple[Copied, ...]]:
    path = src / MANIFEST
    if not path.is_file():
        raise ProjectMissing(f"{src} is not a backup: it has no {MANIFEST}.", "Give a folder that backup made.")
    data = path.read_bytes()
    body = data[:-SUM]
    if data != body + END % hashlib.sha256(body).hexdigest().encode():
        raise LedgerDamaged(f"{path} is not what was written.", "Use another backup.")
    said: dict[str, Any] = msgspec.json.decode(body + b"}")
    if said.get("freehold_backup") != VERSION:
        raise LedgerDamaged(f"{path} is of version {said.get('freehold_backup')}, and this freehold reads {VERSION}.")
    files = msgspec.convert(said["files"], tuple[Copied, ...])
    for file in files:
        if file.name.startswith("/") or ".." in file.name.split("/"):
            raise LedgerDamaged(f"{path} names a file outside: {file.name!r}.", "This freehold did not write it.")
    return str(said["at"]), files


def _sum(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
