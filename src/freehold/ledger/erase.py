"""A person's rows without what they hold of the person: in every file, sealed or being written, with a receipt.

    find the person's rows → the writer lets its file go → files are sealed → each is rewritten aside → a row in
    seals.log says what it was and becomes → renamed → receipt

A row is a person's where the request says so: user, safety_identifier, metadata.user_id or metadata.user. It stays as a
count: model, tokens, money, what the monitor counts; so nobody can change evidence by being erased. Its texts, names
and metadata are gone; its own id stays, a random number by which pairs/ knows that it was counted. Rows keep their
numbers, and the chain is made again over the file.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from freehold import wire
from freehold.errors import ArtifactDamaged, LedgerDamaged, ProjectVersion, StorageFailed
from freehold.ledger.book import add, mend
from freehold.ledger.chain import body_of, chained
from freehold.ledger.copies import BOOK, known_backups
from freehold.ledger.entry import without_text
from freehold.ledger.names import held, locked, rows_files, sweep
from freehold.ledger.seals import SEALS, look, seal_free
from freehold.ledger.verify import check
from freehold.nouns import Audit
from freehold.project import Project
from freehold.project.storage import guarded, now, pretty, sync_folder, write_atomic, writing

__all__ = ["Receipt", "erase"]

WAIT = 15.0  # seconds for a server to let its file go: it looks once a second
READ = 64 << 20  # bytes of a file of the project that may hold the name
NOTES = (
    "Rows are found by the request's user, safety_identifier, metadata.user_id and metadata.user; what other people's "
    "texts say of the person is not looked for.",
    "Logs that were given to freehold audit are not the ledger: erase the person there too.",
    "A running server's cache forgets an answer after its own seconds.",
)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file in which rows were the person's, before and after."""

    file: str
    rows: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was erased. `person` is the sha256 of the name, so that the receipt does not hold it; `artifacts` are those
    whose fit may have seen the rows, `holds` files of the project that still hold the name, `backups` those that hold
    rows of the person, or can't be read; `sha256` is that of all the other fields."""

    at: str
    person: str
    rows: int
    files: tuple[Rewritten, ...]
    artifacts: tuple[dict[str, str], ...]
    artifacts_known: str
    holds: tuple[str, ...]
    backups: tuple[str, ...]
    notes: tuple[str, ...] = NOTES
    sha256: str = ""
    path: str = field(default="", compare=False)


def erase(project: Project, user: str, *, wait: float = WAIT) -> Receipt:
    """Take the person `user` out of the ledger. Raises LedgerDamaged before anything is changed where a row is not what
    was written, StorageFailed where a file can't be written or its writer does not let it go within `wait` s."""
    folder = project.path / "ledger"
    with locked(folder):
        sweep(folder)
        for book in (SEALS, BOOK):
            mend(folder / book)
        sound = check(folder)
        broken = [problem for problem in sound.problems if "an erasure did not come to its end" not in problem.why]
        if broken:
            hint = "Restore a backup, or move that file away, then erase again."
            raise LedgerDamaged(f"{broken[0]}.", hint)
        found = [path for path in rows_files(folder) if any(_is_of(line, user) for line in _lines(path))]
        _let_go(found, wait)
        seal_free(folder)
        first = min(
            (at for path in found for line in _lines(path) if _is_of(line, user) and (at := _at(line))), default=None
        )
        files = tuple(_rewrite(folder, path, user) for path in found)
        backups = tuple(name for name, ledger in known_backups(folder) if _holds(ledger, user))
        artifacts, sure = _artifacts(project, first)
        told = Receipt(
            at=now(),
            person=hashlib.sha256(user.encode()).hexdigest(),
            rows=sum(file.rows for file in files),
            files=files,
            artifacts=artifacts,
            artifacts_known=sure,
            holds=tuple(_elsewhere(project, user)),
            backups=backups,
        )
        # no rows: nothing is to be told later, unless an erasure that broke off had taken them
        return _kept(folder, told) if found or sound.problems else told


def _lines(path: Path) -> Iterator[bytes]:
    """The whole rows of a file."""
    with path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _is_of(line: bytes, user: str) -> bool:
    """Whether a row is a call of that person. Rows that don't hold the name as JSON writes it are passed over fast."""
    if user.isascii() and user.isprintable() and msgspec.json.encode(user)[1:-1] not in line:
        return False
    try:
        return user in _names(msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def _names(row: Any) -> set[str]:
    request = row.get("request") if isinstance(row, dict) else None
    if not isinstance(request, dict):
        return set()
    metadata = request.get("metadata")
    found = [row.get("user"), request.get("user"), request.get("safety_identifier")]
    found += [metadata.get("user_id"), metadata.get("user")] if isinstance(metadata, dict) else []
    return {name for name in found if isinstance(name, str)}


def _at(line: bytes) -> float | None:
    try:
        return wire.timestamp(msgspec.json.decode(line).get("timestamp"))
    except (ValueError, OverflowError):
        return None


def _let_go(paths: list[Path], wait: float) -> None:
    """Ask for files that are being written, by making them read-only: their writers go on in new ones."""
    for path in paths:
        path.chmod(0o400)
    until = time.monotonic() + wait
    for path in paths:
        while held(path):
            if time.monotonic() >= until:
                path.chmod(0o600)
                raise StorageFailed(f"{path} is being written, and its server does not let it go.", "Stop it first.")
            time.sleep(0.05)


def _rewrite(folder: Path, path: Path, user: str) -> Rewritten:
    """The file with the person's rows emptied: seals.log says so first, then it takes the old one's place."""
    before, count, link = look(path), 0, b""
    aside = folder / f".{path.name}.erased.tmp"
    digest = hashlib.sha256()
    with writing(aside) as file:
        for number, line in enumerate(_lines(path)):
            body, _ = body_of(line)
            if number == 0 and body:
                link = _prev(line)
            if _is_of(line, user):
                count += 1
                body, line = _emptied(line, bool(body))
            if body:
                line, link = chained(body, link)
            file.write(line)
            digest.update(line)
        os.fchmod(file.fileno(), 0o400)
    seal = replace(look(aside, "erased"), file=path.name, was=before.sha256, was_link=before.link)
    if seal.sha256 != digest.hexdigest():
        aside.unlink()
        raise StorageFailed(f"What was written in place of {path} is not what is read back.", "It is unchanged.")
    add(folder / SEALS, "seal", asdict(seal))
    with guarded(path):
        aside.replace(path)
        sync_folder(folder)
    return Rewritten(path.name, count, seal.was, seal.sha256)


def _prev(line: bytes) -> bytes:
    return str(msgspec.json.decode(line)["freehold"].get("prev", "")).encode()


def _emptied(line: bytes, chains: bool) -> tuple[bytes, bytes]:
    """Body and line of a row without the person; the one is empty where the other counts."""
    row = msgspec.json.decode(line)
    own = row.get("freehold") if isinstance(row.get("freehold"), dict) else {}
    numbers = {name: own.pop(name) for name in ("seq", "prev") if name in own}
    own.pop("chain", None)
    row = without_text({**row, "freehold": own})
    row.pop("user", None)
    row["response"].pop("id", None)
    row["freehold"] |= {"reason": "", "erased": True, **numbers}
    data = msgspec.json.encode(row)
    return (data[:-2], b"") if chains else (b"", data + b"\n")


def _artifacts(project: Project, first: float | None) -> tuple[tuple[dict[str, str], ...], str]:
    """Artefacts whose fit may have seen a row from `first` on, and how far that is known."""
    if first is None:
        return (), "no row was the person's"
    try:
        paths = project.load(Audit).log.paths if project.has(Audit) else ()
    except (ArtifactDamaged, ProjectVersion):
        paths = ()
    ledger = (project.path / "ledger").resolve()
    within = any(
        Path(path).resolve().is_relative_to(ledger) or ledger.is_relative_to(Path(path).resolve()) for path in paths
    )
    since = datetime.fromtimestamp(int(first), UTC).isoformat()
    later = [found for found in project.artifacts() if found.made >= since]
    if paths and not within:
        known = "the project's log does not include the ledger now; an artefact made from another log may have seen it"
    elif paths:
        known = "the project's log includes the ledger: what was made after the person's first row may have seen it"
    else:
        known = "no audit says which log the artefacts were made from"
    return tuple({"sha256": a.sha256, "task": a.task, "kind": a.kind, "made": a.made} for a in later), known


def _elsewhere(project: Project, user: str) -> Iterator[str]:
    """Files of the project, other than the ledger's and the artefacts', that hold the name."""
    wanted = {user.encode(), msgspec.json.encode(user)[1:-1]}
    for path in sorted([*project.path.glob("*"), *project.path.glob("verdicts/*")]):
        if path.is_file() and path.stat().st_size <= READ and any(name in path.read_bytes() for name in wanted):
            yield path.relative_to(project.path).as_posix()


def _holds(ledger: Path, user: str) -> bool:
    """Whether a backup's ledger holds rows of the person; one that can't be read may."""
    try:
        return any(_is_of(line, user) for path in rows_files(ledger) for line in _lines(path)) or not ledger.is_dir()
    except OSError:
        return True


def _kept(folder: Path, told: Receipt) -> Receipt:
    said = {name: value for name, value in asdict(told).items() if name not in ("sha256", "path")}
    sha256 = hashlib.sha256(msgspec.json.encode(said)).hexdigest()
    place = folder / "receipts"
    place.mkdir(exist_ok=True)
    stamp = told.at.replace(":", "").replace("+0000", "Z")
    path = place / f"{stamp}-{sha256[:8]}.receipt"  # not .json: readers of a folder of logs take that for one
    data = pretty(said | {"sha256": sha256})
    write_atomic(path, data)
    if path.read_bytes() != data:
        raise StorageFailed(f"{path} is not what was written.", "The rows are erased; erase again for a receipt.")
    return replace(told, sha256=sha256, path=str(path))
