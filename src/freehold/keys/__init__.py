"""Client keys: who may call this server, for what, and up to how much.

key.py      what a key is; a child is never wider than its parent
store.py    keys.json: found in constant time, changes seen within a second
change.py   add, revoke, rotate, import; each leaves a row in keys.log.jsonl
spent.py    keys.spent: what each has spent today and this month, shared by all workers
alone.py    the locks on it
clock.py    a time of day that does not jump
"""

from __future__ import annotations

from freehold.keys.change import KeyUnknown, add, import_keys, revoke, rotate, shown
from freehold.keys.key import Key, TooWide, Wanted, mint
from freehold.keys.store import FILE, Keys, read_keys
from freehold.project import Project

__all__ = [
    "Key", "KeyUnknown", "Keys", "TooWide", "Wanted", "add", "import_keys", "keys", "mint", "revoke", "rotate", "shown",
]  # fmt: skip


def keys(project: Project) -> tuple[Key, ...]:
    """The keys of a project in order of name, revoked ones too. Raises SecretExposed, ArtifactDamaged."""
    return tuple(sorted(read_keys(project.path / FILE), key=lambda key: key.name))
