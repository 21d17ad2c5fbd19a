"""keys.json: who may call. Read by every worker, and written whole by whoever changes it.

    {"freehold_keys": 1, "keys": [{"name": "web", "sha256": "9f…", "prefix": "fh-Zk3b1c", "made": "…", "role": "user"}]}

Keys      what a server holds: find(secret), and changes on disk within a second
change()  the lock, the row in keys.log.jsonl, then the new file: nothing changes without a row, and no change is lost
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import ArtifactDamaged, BadSetting, FreeholdError, SecretExposed, StorageFailed
from freehold.keys.clock import Steady
from freehold.keys.key import Key, check_all, line
from freehold.project import Project
from freehold.project.storage import guarded, pretty, read_bytes, writing
from freehold.tell import Tell, quiet

__all__ = ["FILE", "LOG", "Keys", "change", "read_keys"]

FILE, LOG, LOCK = "keys.json", "keys.log.jsonl", ".keys.lock"
VERSION = 1
LOOK = 0.5  # seconds between two looks at the file
WAIT = 10.0  # seconds that a writer waits for another
LONGEST = 128  # signs of a secret


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    freehold_keys: int
    keys: tuple[Key, ...]


def read_keys(path: Path) -> tuple[Key, ...]:
    """All keys, those revoked too; () where there is no file. Raises SecretExposed, ArtifactDamaged, StorageFailed."""
    if not path.exists():
        return ()
    _check_owner(path)
    try:
        found = msgspec.json.decode(read_bytes(path), type=_File)
        if found.freehold_keys != VERSION:
            raise BadSetting(f"it was written in version {found.freehold_keys}, and this freehold reads {VERSION}", "")
        check_all(found.keys)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise ArtifactDamaged(f"{path} can't be read: {error}.", "Mend it, or put back a copy.") from None
    except BadSetting as error:
        raise ArtifactDamaged(f"{path} can't be used: {error.message}", "Mend it, or put back a copy.") from None
    return found.keys


def _check_owner(path: Path) -> None:
    with guarded(path):
        said = path.stat()
    if not stat.S_ISREG(said.st_mode):
        raise ArtifactDamaged(f"{path} is not a file.", "Remove it.")
    if said.st_mode & 0o077:
        raise SecretExposed(f"Others may read or write {path} (mode {said.st_mode & 0o777:03o}).", f"chmod 600 {path}")
    if said.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise SecretExposed(f"{path} belongs to another user (uid {said.st_uid}).", f"chown $(id -u) {path}")


class Keys:
    """The keys of a project, as a server asks for them.

    `required` is False where the project has no keys.json: then only this machine may call. `why` is empty, or says why
    the last good file still counts.
    """

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Steady | None = None,
        tell: Tell = quiet,
    ) -> None:
        self.path = path
        self.why = ""
        self.clock = clock or Steady()
        self.required = False
        self._monotonic, self._tell = monotonic, tell
        self._looked = monotonic()
        self._state = _state(path)
        self._take(read_keys(path), path.exists())

    @classmethod
    def open(cls, project: Project, *, tell: Tell = quiet) -> Keys:
        """Raises SecretExposed where others can read the file, ArtifactDamaged where it can't be read."""
        return cls(project.path / FILE, tell=tell)

    def __repr__(self) -> str:
        return f"Keys({str(self.path)!r}, {len(self._by_name)} keys)"

    def find(self, secret: object) -> Key | None:
        """The key of this secret, revoked and expired ones too (ask `holds`); None for anything that isn't one.

        The presented secret is hashed, and the dict is asked for the hash: what its timing could tell is about a
        SHA-256 that the caller can't steer, so it leads to no secret. The last comparison is constant in time.
        """
        self.look()
        if not isinstance(secret, str) or len(secret) > LONGEST or not secret.startswith("fh-") or not secret.isascii():
            return None
        said = hashlib.sha256(secret.encode()).hexdigest()
        key = self._by_digest.get(said)
        return key if key is not None and hmac.compare_digest(key.sha256, said) else None

    def named(self, name: str) -> Key | None:
        self.look()
        return self._by_name.get(name)

    def all(self) -> tuple[Key, ...]:
        """In order of name, those revoked too."""
        self.look()
        return tuple(sorted(self._by_name.values(), key=lambda key: key.name))

    def payers(self, key: Key) -> tuple[Key, ...]:
        """Whose budgets a call of `key` counts against: its own, and that of each ancestor that has one."""
        return self._payers.get(key.name) or (key,)

    def line(self, key: Key) -> tuple[Key, ...]:
        """The key and its ancestors, whose rates and calls at once a call of it counts against too."""
        return self._lines.get(key.name) or (key,)

    def look(self) -> None:
        """Read the file again where it has changed; at most every half second."""
        now = self._monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        state = _state(self.path)
        if state == self._state:
            return
        self._state = state
        if state is None:
            self._say(f"{self.path} is gone: the keys that were read last still count")
            return
        try:
            found = read_keys(self.path)
        except FreeholdError as error:
            self._say(f"{error.message} The keys that were read last still count")
            return
        self._take(found, True)
        self._say("")

    def _say(self, why: str) -> None:
        if why and why != self.why:
            self._tell(why)
        self.why = why

    def _take(self, keys: Sequence[Key], there: bool) -> None:
        by_name = {key.name: key for key in keys}
        self._lines = {key.name: line(key, by_name) for key in keys}
        self._by_name = by_name
        self._by_digest = {key.sha256: key for key in keys}
        self._payers = {
            name: (own, *(key for key in above if key.budget_day is not None or key.budget_month is not None))
            for name, (own, *above) in self._lines.items()
        }
        self.required = self.required or there


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        said = path.stat()
    except OSError:
        return None
    return said.st_ino, said.st_mtime_ns, said.st_size, said.st_mode, said.st_ctime_ns


def change(
    project: Project, by: str, make: Callable[[tuple[Key, ...]], tuple[tuple[Key, ...], list[dict[str, Any]]]]
) -> tuple[Key, ...]:
    """Replace the keys by what `make` says of them, alone; its rows go to keys.log.jsonl first, each with who did it.

    Raises what read_keys does, StorageFailed, and what `make` raises: then nothing has changed.
    """
    path = project.path / FILE
    with _alone(project.path / LOCK):
        before = read_keys(path)
        after, rows = make(before)
        check_all(after)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        for row in rows:
            project.append(LOG, {"at": at, "by": by, **row})
        if after != before:
            with writing(path, 0o600) as file:
                file.write(pretty(_File(VERSION, after)))
    return after


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One writer at a time, of threads too; the lock dies with its process."""
    with guarded(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StorageFailed(f"Another freehold is changing {path.parent}/{FILE}.", "Try again.") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)
