"""What a client key is, and that a child is never wider than its parent. Pure, but for the secret's randomness.

    role     admin   calls, and mints further keys
             user    calls
             reader  looks: models, metrics
    limits   absent: none. A child takes its parent's where it says nothing, and may only say less.

A secret is `fh-` and 43 signs (256 random bits). It is shown once; kept are its SHA-256 and the first signs, by which
people tell keys apart. A plain SHA-256 is enough, since nobody can go through 2^256 secrets.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from freehold.errors import BadSetting
from freehold.project.gateway import is_id

__all__ = [
    "CAPS", "LISTS", "ROLES", "SKEW", "Key", "TooWide", "Wanted", "check_all", "check_name", "digest", "line", "mint",
    "rotated", "wider",
]  # fmt: skip

Role = Literal["admin", "user", "reader"]
ROLES: tuple[Role, ...] = ("admin", "user", "reader")
SKEW = timedelta(minutes=5)
"""How far the clocks of two machines may be apart: a key holds so much longer than it says."""
PREFIX = 9  # signs that are shown: 36 of the 256 bits
USD = Annotated[float, msgspec.Meta(ge=0, lt=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Names = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=256)], ...], msgspec.Meta(max_length=256)]
CAPS = ("budget_day", "budget_month", "tokens_minute", "requests_minute", "running", "home_share")
LISTS = ("tasks", "models")


class TooWide(BadSetting):
    """A child that would be allowed more than its parent, or a parent that may have none."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a key may do. Budgets in USD (UTC day, UTC month); `running` calls at once; `tasks` and `models` are the
    only ones that it may ask for; `home_share` is the most of its calls that are answered at home."""

    name: str
    role: Role = "user"
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    budget_day: USD | None = None
    budget_month: USD | None = None
    tokens_minute: Count | None = None
    requests_minute: Count | None = None
    running: Count | None = None
    tasks: Names | None = None
    models: Names | None = None
    home_share: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class Key(Wanted, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key as it is kept: of its secret only the SHA-256 and the first signs."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    prefix: Annotated[str, msgspec.Meta(max_length=16)]
    made: Annotated[datetime, msgspec.Meta(tz=True)]
    parent: str = ""
    revoked: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def limited(self) -> bool:
        """Whether what it asks for or spends is bounded: then only calls that can be read and priced are for it."""
        said = (self.budget_day, self.budget_month, self.tokens_minute, self.tasks, self.models)
        return any(limit is not None for limit in said)

    def holds(self, now: float) -> bool:
        """Whether it is neither revoked nor past its time, at epoch seconds `now`; clocks may be SKEW apart."""
        if self.revoked is not None:
            return False
        return self.expires is None or now <= (self.expires + SKEW).timestamp()


def check_name(name: str) -> None:
    """Raises BadSetting unless `name` is one that can stand in a file and in a URL."""
    if not is_id(name):
        raise BadSetting(
            f"{name[:80]!r} is no name for a key.",
            "Give small letters, digits, . _ and -, at most 64, the first a letter or digit.",
        )


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def mint(parent: Key | None, wanted: Wanted, now: datetime) -> tuple[Key, str]:
    """A new key and its secret. `parent` is None where the owner of the folder makes it. Raises TooWide, BadSetting."""
    check_name(wanted.name)
    said = msgspec.structs.asdict(wanted)
    if parent is not None:
        if not parent.holds(now.timestamp()):
            raise TooWide(f"The key {parent.name} does not hold any more.", "Use another admin key.")
        absent = (*CAPS, *LISTS, "expires")
        said |= {name: getattr(parent, name) for name in absent if said[name] is None}
    secret = f"fh-{secrets.token_urlsafe(32)}"
    key = Key(
        **said, sha256=digest(secret), prefix=secret[:PREFIX], made=now.astimezone(UTC),
        parent=parent.name if parent else "",
    )  # fmt: skip
    if parent is not None and (field := wider(parent, key)):
        raise TooWide(
            f"{field} of {key.name} would be wider than that of its parent {parent.name}.",
            f"Give at most what {parent.name} has, or leave it out.",
        )
    return key, secret


def rotated(key: Key, now: datetime) -> tuple[Key, str]:
    """The same key with a new secret; the old one is worth nothing any more. Raises BadSetting for a revoked one."""
    if key.revoked is not None:
        raise BadSetting(f"The key {key.name} is revoked.", "Make another with: freehold keys add NAME")
    secret = f"fh-{secrets.token_urlsafe(32)}"
    fresh = msgspec.structs.replace(key, sha256=digest(secret), prefix=secret[:PREFIX], made=now.astimezone(UTC))
    return fresh, secret


def wider(parent: Wanted, child: Wanted) -> str:
    """The first field in which `child` is allowed more than `parent`; "" for none. Only an admin has children."""
    if parent.role != "admin":
        return "role"
    for name in (*CAPS, "expires"):
        most, said = getattr(parent, name), getattr(child, name)
        if most is not None and (said is None or said > most):
            return name
    for name in LISTS:
        known, asked = getattr(parent, name), getattr(child, name)
        if known is not None and (asked is None or not set(asked) <= set(known)):
            return name
    return ""


def line(key: Key, by_name: dict[str, Key]) -> tuple[Key, ...]:
    """The key, its parent, its parent's parent. Raises BadSetting for a parent that isn't there, or a circle."""
    found = [key]
    while parent := found[-1].parent:
        if parent not in by_name or len(found) > 64:
            raise BadSetting(f"The parent {parent[:80]!r} of the key {found[-1].name} can't be found.", "")
        found.append(by_name[parent])
    return tuple(found)


def check_all(keys: Iterable[Key]) -> None:
    """Raises BadSetting for a set that no minting makes: a name or a secret twice, a child wider than its parent."""
    by_name: dict[str, Key] = {}
    seen: set[str] = set()
    keys = tuple(keys)
    for key in keys:
        check_name(key.name)
        if key.name in by_name or key.sha256 in seen:
            raise BadSetting(f"The key {key.name} stands there twice.", "Remove one of the two.")
        by_name[key.name] = key
        seen.add(key.sha256)
    for key in keys:
        ancestors = line(key, by_name)[1:]
        if ancestors and (field := wider(ancestors[0], key)):
            raise TooWide(f"{field} of {key.name} is wider than that of its parent {key.parent}.", "Narrow it.")
