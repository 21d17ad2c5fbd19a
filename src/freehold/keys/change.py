"""What is done to keys: add, revoke, rotate, import. Each is one new keys.json and one row in keys.log.jsonl, without a
secret; `by` says who: os:USER, or key:PREFIX over HTTP."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting, ProjectMissing
from freehold.keys.key import CAPS, LISTS, Key, TooWide, Wanted, mint, rotated, wider
from freehold.keys.store import change, read_keys
from freehold.nouns import Audit
from freehold.project import Project

__all__ = ["KeyUnknown", "add", "import_keys", "os_user", "revoke", "rotate", "shown", "unknown_tasks"]


class KeyUnknown(BadSetting):
    """No key of that name."""


def os_user() -> str:
    """Who runs this process, as a row says it."""
    try:
        return f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"os:{os.getuid()}"


def add(
    project: Project, wanted: Wanted, *, parent: str = "", by: str, now: Callable[[], datetime] | None = None
) -> tuple[Key, str]:
    """A new key and its secret, which is kept nowhere. `parent` is read again under the lock, so that one revoked
    meanwhile has no children. Raises TooWide, KeyUnknown, BadSetting, SecretExposed, StorageFailed."""
    at = (now or _now)()
    made: list[tuple[Key, str]] = []

    def make(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], list[dict[str, Any]]]:
        above = _named(keys, parent) if parent else None
        if any(key.name == wanted.name for key in keys):
            raise BadSetting(f"There is a key {wanted.name!r} already, or was.", "Give another name, or rotate it.")
        key, secret = mint(above, wanted, at)
        made.append((key, secret))
        return (*keys, key), [{"what": "add", **shown(key)}]

    change(project, by, make)
    return made[0]


def revoke(project: Project, name: str, *, by: str, only: bool = False) -> tuple[Key, ...]:
    """The keys that are worth nothing from now on: this one and, unless `only`, all that were minted with it, so that
    what a thief has minted dies too. () where it was revoked already. Raises KeyUnknown, and as `add`."""
    at = _now()
    gone: list[Key] = []

    def make(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], list[dict[str, Any]]]:
        doomed = {_named(keys, name).name}
        while not only and (more := {k.name for k in keys if k.parent in doomed} - doomed):
            doomed |= more
        after = tuple(_revoked(key, at) if key.name in doomed else key for key in keys)
        gone.extend(new for old, new in zip(keys, after, strict=True) if old is not new)
        return after, [{"what": "revoke", "name": key.name, "prefix": key.prefix} for key in gone]

    change(project, by, make)
    return tuple(gone)


def rotate(project: Project, name: str, *, by: str) -> tuple[Key, str]:
    """The key with a new secret; the old one is refused at once. What it spent stays spent. Raises as `add`."""
    made: list[tuple[Key, str]] = []

    def make(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], list[dict[str, Any]]]:
        old = _named(keys, name)
        key, secret = rotated(old, _now())
        made.append((key, secret))
        row = {"what": "rotate", "name": name, "prefix": key.prefix, "was": old.prefix}
        return tuple(key if one is old else one for one in keys), [row]

    change(project, by, make)
    return made[0]


def import_keys(project: Project, path: Path, *, parent: str = "", by: str) -> tuple[Key, ...]:
    """Take over the keys of another keys.json, all or none: their secrets go on to hold. With `parent` each becomes its
    child as it stands, and one that is wider is refused. Raises TooWide, ArtifactDamaged, and as `add`."""
    given = read_keys(path)
    if not given:
        raise BadSetting(f"{path} holds no keys.", "Give the keys.json of another project.")

    def make(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], list[dict[str, Any]]]:
        above = _named(keys, parent) if parent else None
        taken = {key.name for key in keys} | {key.sha256 for key in keys}
        fresh = []
        for key in given:
            if key.name in taken or key.sha256 in taken:
                raise BadSetting(f"There is a key {key.name!r} already.", "Rename it, or leave it out.")
            if above is not None:
                if not above.holds(_now().timestamp()):
                    raise TooWide(f"The key {parent} does not hold any more.", "Name another parent.")
                if field := wider(above, key):
                    raise TooWide(f"{field} of {key.name} is wider than that of {parent}.", "Narrow it.")
                key = key if key.parent else msgspec.structs.replace(key, parent=parent)
            fresh.append(key)
        return (*keys, *fresh), [{"what": "import", **shown(key)} for key in fresh]

    change(project, by, make)
    return given


def unknown_tasks(project: Project, tasks: tuple[str, ...] | None) -> str:
    """Those that the project's audit does not have, and what it has, as words; "" for none. Without an audit nobody
    knows."""
    try:
        known = {task.name for task in project.load(Audit).tasks} if tasks else set()
    except ProjectMissing:
        return ""
    odd = [name for name in tasks or () if name not in known]
    if not odd:
        return ""
    return f"{', '.join(map(repr, odd))}, and the audit knows {', '.join(sorted(known)) or 'no task'}."


def shown(key: Key) -> dict[str, Any]:
    """What may be said of a key to whoever may see it; never its hash."""
    said = {name: getattr(key, name) for name in ("name", "role", "prefix", "parent", "made", "expires", "revoked")}
    said |= {name: getattr(key, name) for name in (*CAPS, *LISTS)}
    kept = {name: list(v) if isinstance(v, tuple) else v for name, v in said.items() if v not in (None, "")}
    found: dict[str, Any] = msgspec.to_builtins(kept)
    return found


def _named(keys: tuple[Key, ...], name: str) -> Key:
    found = next((key for key in keys if key.name == name), None)
    if found is None:
        known = ", ".join(key.name for key in keys[:20]) or "none"
        raise KeyUnknown(f"There is no key {name[:80]!r}.", f"Known: {known}.")
    return found


def _revoked(key: Key, at: datetime) -> Key:
    return key if key.revoked is not None else msgspec.structs.replace(key, revoked=at)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
