"""The user's folder, and the one storage writer.

    project/                 0700
    ├── project.json         {"freehold_project": 1, "log": "<identity of the log>"}
    ├── freehold.toml        what a person decides; written with its defaults on the first run
    ├── audit.json plan.json tuned.json
    ├── arrivals.safetensors when the calls of the busiest hour came, and their tokens
    ├── artifacts/<sha256>/  manifest.json (written last) + safetensors, ONNX, JSON
    ├── verdicts/<task>.json <task>~2.json is of the rung after it
    ├── openings.jsonl       each use of certification calls
    ├── rungs.jsonl          each opening and closing of a rung in service
    ├── ledger/*.jsonl       every served call; again a log that `audit` reads
    └── report.html

Everything is readable without freehold. A file is written under a temporary name, synced and renamed, so that a
reader meets the old one or the new one. Rows are appended whole, and a torn last row is cut off on opening.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from freehold.errors import ArtifactDamaged, BadSetting, ProjectMissing, ProjectOtherLog, ProjectVersion, StorageFailed
from freehold.nouns import Artifact, Audit, Plan, Verdict
from freehold.project.gateway import is_id
from freehold.project.settings import TOML, OwnPrice, Settings, check_bar, read_settings
from freehold.project.storage import Appender, guarded, now, pretty, read_bytes, sha256_file, sync_folder, write_atomic

__all__ = ["Appender", "OwnPrice", "Project", "Settings", "check_bar", "now", "sha256_file", "write_atomic"]

VERSION = 1
T = TypeVar("T", Audit, Plan)
NAMES: dict[type, str] = {Audit: "audit.json", Plan: "plan.json"}
FOLDERS = ("artifacts", "verdicts", "ledger")
HEAD = "project.json"
SECOND = "~2"  # behind a task's name: of the second rung of its ladder


def _started(path: Path) -> bool:
    """Whether a folder without project.json is empty, or what a first run left that was stopped early."""
    names = {p.name for p in path.iterdir() if not p.name.endswith(".tmp")}
    return names <= {".lock", "freehold.toml", *FOLDERS} and not any(
        any((path / n).iterdir()) for n in FOLDERS if n in names
    )


class Project:
    """One team's project folder."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    def __repr__(self) -> str:
        return f"Project({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | str) -> Project:
        """Open the folder, making it (0700) with the default freehold.toml where it is new."""
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise BadSetting(f"{path} is a file.", "Give a folder with --project.")
        with guarded(path):
            fresh = not (path / "project.json").exists()
            if fresh and path.is_dir() and not _started(path):
                raise BadSetting(f"{path} holds other files.", "Give an empty or new folder with --project.")
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
            for name in FOLDERS:
                (path / name).mkdir(exist_ok=True)
        if not (path / "freehold.toml").exists():
            default = Settings()
            text = TOML.format(bar=default.bar, confidence=default.confidence)
            write_atomic(path / "freehold.toml", text.encode())
        if fresh:
            write_atomic(path / "project.json", pretty({"freehold_project": VERSION, "log": ""}))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> Project:
        """Open an existing folder."""
        path = Path(path)
        if not (path / "project.json").is_file():
            raise ProjectMissing(
                f"{path} is not a freehold project.", "Make one with: freehold switch LOG --project DIR"
            )
        head = cls._head(path)
        if head.get("freehold_project") != VERSION:
            said = head.get("freehold_project")
            raise ProjectVersion(
                f"{path} was written by project version {said}, and this freehold reads version {VERSION}.",
                "Use the freehold that wrote it, or another folder with --project.",
            )
        toml = path / "freehold.toml"
        return cls(path, read_settings(toml) if toml.exists() else Settings())

    @staticmethod
    def _head(path: Path) -> dict[str, Any]:
        try:
            head = msgspec.json.decode(read_bytes(path / HEAD), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ProjectVersion(f"{path}/{HEAD} can't be read.", "Use another folder with --project.") from None
        return {"log": ""} | head

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One writer at a time; the lock dies with its process."""
        with guarded(self.path / ".lock"):
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageFailed(f"Another freehold is writing to {self.path}.", "Wait for it to end.") from None
            self._sweep()
            yield
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        """Remove what a killed run left half-written. Only with the lock held."""
        for folder in (self.path, self.path / "artifacts", self.path / "verdicts"):
            for path in folder.glob(".*.tmp"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    # nouns

    def claim_log(self, identity: str) -> None:
        """Bind the folder to a log on its first audit; refuse another log later (a grown one is the same log)."""
        head = self._head(self.path)
        if head["log"] in ("", identity):
            if not head["log"]:
                write_atomic(self.path / "project.json", pretty(head | {"log": identity}))
            return
        raise ProjectOtherLog(f"{self.path} belongs to another log.", "Give another folder with --project.")

    def save(self, noun: Audit | Plan | Verdict) -> Path:
        """Raises BadSetting for a task's name that is none."""
        if isinstance(noun, Verdict):
            if not is_id(noun.task):
                raise BadSetting(f"A task can't be called {noun.task[:60]!r}.", "Names are of a-z, 0-9, ., _ and -.")
            hosted = noun.student is not None and bool(noun.student.host)
            path = self.path / "verdicts" / f"{noun.task}{SECOND if hosted else ''}.json"
            if not hosted:
                self._drop_second(noun)
        else:
            path = self.path / NAMES[type(noun)]
        write_atomic(path, _sealed(noun))
        return path

    def _drop_second(self, first: Verdict) -> None:
        """Remove the next rung's verdict where it was about another ladder: on what another student left, or another
        threshold; on all calls, where some are kept before it now."""
        path = self.path / "verdicts" / f"{first.task}{SECOND}.json"
        if not path.exists():
            return
        second = self._decode(path, Verdict)
        known = {v.task: v for v in self.verdicts() if v.student is None or not v.student.host}
        before = known.get(first.task)
        same = before is not None and (before.student, before.threshold) == (first.student, first.threshold)
        if not same if second.after else first.decision == "move":
            path.unlink()

    def load(self, noun: type[T]) -> T:
        path = self.path / NAMES[noun]
        if not path.exists():
            verb = noun.__name__.lower()
            raise ProjectMissing(
                f"{self.path} holds no {path.name}.", f"Run: freehold {verb} ... --project {self.path}"
            )
        found: T = self._decode(path, noun)
        return found

    def has(self, noun: type[Audit] | type[Plan]) -> bool:
        return (self.path / NAMES[noun]).exists()

    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, in order of task name; of one task in the order of its ladder."""
        return tuple(self._decode(path, Verdict) for path in sorted((self.path / "verdicts").glob("*.json")))

    def drop_verdicts(self, *, keep: Sequence[str]) -> None:
        """Remove the verdicts of tasks that the log no longer holds."""
        for path in (self.path / "verdicts").glob("*.json"):
            if path.stem.removesuffix(SECOND) not in keep:
                path.unlink()

    def _decode(self, path: Path, noun: type[Any]) -> Any:
        try:
            raw = msgspec.json.decode(read_bytes(path), type=dict[str, Any])
            if raw.pop("freehold", None) != VERSION or raw.pop("noun", None) != noun.__name__:
                raise ProjectVersion(f"{path} was written by another version.", "Remove it and run the step again.")
            if not _whole(raw, noun):
                raise ArtifactDamaged(f"{path} is damaged: its check is another.", "Remove it and run the step again.")
            return msgspec.convert(raw, noun)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise ArtifactDamaged(f"{path} can't be read: {error}.", "Remove it and run the step again.") from None

    # artefacts

    def artifact_path(self, sha256: str) -> Path:
        """Raises ArtifactDamaged for what is no sha256: a file may name anything."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ArtifactDamaged(f"No artefact is called {sha256[:80]!r}.", "Run: freehold tune --project DIR")
        return self.path / "artifacts" / sha256

    def write_artifact(
        self,
        files: Mapping[str, bytes | Path],
        *,
        kind: str,
        task: str,
        base: str,
        licence: str,
        recipe: dict[str, Any],
        data_sha256: str,
        parents: tuple[str, ...] = (),
    ) -> Artifact:
        """Write the files aside, the manifest last, and rename the folder to its sha256.

        A file is given as its bytes, or as the path of a large one, which is copied and stays where it is.
        """
        sums = {name: _sha256(data) for name, data in sorted(files.items())}
        core: dict[str, Any] = {"kind": kind, "task": task, "base": base, "licence": licence, "parents": parents}
        core |= {"recipe": recipe, "data_sha256": data_sha256, "files": sums}
        sha256 = hashlib.sha256(msgspec.json.encode(core, order="deterministic")).hexdigest()
        artifact = msgspec.convert(core | {"sha256": sha256, "made": now()}, Artifact)
        final = self.artifact_path(sha256)
        if final.exists():
            try:
                return self.read_artifact(sha256)
            except ArtifactDamaged:  # the very same bytes are at hand: put them back
                shutil.rmtree(final)
        aside = final.with_name(f".{sha256[:16]}.{os.getpid()}.tmp")
        with guarded(final):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                for name, data in files.items():
                    _put(aside / name, data)
                write_atomic(aside / "manifest.json", _sealed(artifact))
                aside.rename(final)
                sync_folder(final.parent)
            except (OSError, StorageFailed):
                shutil.rmtree(aside, ignore_errors=True)
                raise
        return artifact

    def work(self, name: str) -> Path:
        """A folder for what is half done (checkpoints of a run that may be killed); whoever finishes removes it."""
        folder = self.path / "work" / name
        with guarded(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def check_base(self, artifact: Artifact) -> None:
        """Compare the base that a decoder shares with others with its manifest. Raises ArtifactDamaged, also where that
        manifest is gone: nobody could say then what would answer."""
        if artifact.kind == "decoder" and artifact.parents and "model.gguf" not in artifact.files:
            self.read_artifact(artifact.parents[0])

    def read_artifact(self, sha256: str) -> Artifact:
        """The manifest, after every file has been compared with it."""
        folder = self.artifact_path(sha256)
        if not (folder / "manifest.json").is_file():
            raise ArtifactDamaged(f"{folder} holds no manifest.", "Run: freehold tune --project DIR")
        artifact: Artifact = self._decode(folder / "manifest.json", Artifact)
        core = msgspec.to_builtins(artifact)
        del core["sha256"], core["made"]
        found = hashlib.sha256(msgspec.json.encode(core, order="deterministic")).hexdigest()
        if found != sha256 or artifact.sha256 != sha256:
            raise ArtifactDamaged(f"{folder}/manifest.json is damaged.", "Remove the folder and tune again.")
        listed = {*artifact.files, "manifest.json"}
        for path in sorted(folder.iterdir()):
            if path.name not in listed:
                raise ArtifactDamaged(f"{path} is not in the manifest.", "Remove it, or tune again.")
        for name, expected in artifact.files.items():
            path = folder / name
            actual = sha256_file(path) if path.is_file() and not path.is_symlink() else "nothing"
            if actual != expected:
                message = f"{path} is damaged: expected sha256 {expected[:12]}…, found {actual[:12]}…"
                raise ArtifactDamaged(message + ".", "Remove the folder and tune again.")
        return artifact

    def tuned(self) -> dict[str, str]:
        """The artefact last chosen for each task, by its sha256; "" where there was nothing to learn."""
        path = self.path / "tuned.json"
        try:
            return msgspec.json.decode(read_bytes(path), type=dict[str, str]) if path.exists() else {}
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise ArtifactDamaged(f"{path} can't be read.", "Remove it and tune again.") from None

    def choose(self, task: str, sha256: str) -> None:
        """Remember which artefact is the task's student from now on."""
        known = self.tuned()
        if known.get(task) != sha256:
            write_atomic(self.path / "tuned.json", pretty(known | {task: sha256}))

    def artifacts(self) -> tuple[Artifact, ...]:
        """Readable manifests of all artefacts, their files unchecked, for finding one by its recipe."""
        found: list[Artifact] = []
        for path in sorted((self.path / "artifacts").glob("*/manifest.json")):
            if not path.parent.name.startswith("."):
                with contextlib.suppress(ArtifactDamaged):  # an old one that nobody names any more must stop nothing
                    found.append(self._decode(path, Artifact))
        return tuple(found)

    # rows

    def append(self, name: str, row: Any) -> None:
        """Append one row to a .jsonl file of the project, synced."""
        appender = Appender(self.path / name)
        try:
            appender.append(row, sync=True)
        finally:
            appender.close()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All whole rows of a .jsonl file of the project; [] where there is none."""
        path = self.path / name
        if not path.exists():
            return []
        whole = read_bytes(path).rpartition(b"\n")[0]
        found: list[dict[str, Any]] = []
        for number, line in enumerate(whole.split(b"\n"), 1):
            if line:
                try:
                    found.append(msgspec.json.decode(line, type=dict[str, Any]))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    raise ArtifactDamaged(f"{path}:{number} is damaged.", "Mend or remove that line.") from None
        return found

    def write(self, name: str, data: bytes) -> Path:
        """Write one computed file of the project, such as report.html."""
        write_atomic(self.path / name, data)
        return self.path / name


def _sealed(noun: Audit | Plan | Verdict | Artifact) -> bytes:
    """The file of a noun, with a check over the rest, so that a flipped bit is found before it decides anything. A plan
    is signed by its own sha256 (`freehold plan --verify`), which also says what differs."""
    said: dict[str, Any] = msgspec.to_builtins(noun)
    if isinstance(noun, Plan):
        return pretty({"freehold": VERSION, "noun": "Plan", **said})
    return pretty({"freehold": VERSION, "noun": type(noun).__name__, **said, "check": _check(said)})


def _check(said: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def _whole(raw: dict[str, Any], noun: type[Any]) -> bool:
    """Whether the check fits. A file of an earlier version has none; a word that nobody knows is a flipped one."""
    check = raw.pop("check", None)
    return raw.keys() <= {f.name for f in fields(noun)} and check in (None, _check(raw))


def _sha256(data: bytes | Path) -> str:
    return sha256_file(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()


def _put(path: Path, data: bytes | Path) -> None:
    if isinstance(data, bytes):
        write_atomic(path, data)
        return
    shutil.copyfile(data, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
