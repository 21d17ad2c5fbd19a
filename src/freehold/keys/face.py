"""Keys over HTTP: what an admin key may do without a shell. Who calls is named in keys.log.jsonl by the key's prefix.

GET    /v1/keys        {"object": "list", "data": [{"name": "web", "role": "user", ...}]}
POST   /v1/keys        {"name": "web", "role": "user", "budget_day": 5}  ->  the key, with its secret, this once
DELETE /v1/keys/NAME   {"object": "list", "data": [...]}: NAME, and all that were minted with it
"""

from __future__ import annotations

from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.keys.change import add, revoke, shown, unknown_tasks
from freehold.keys.key import Key, Wanted
from freehold.keys.store import Keys
from freehold.project import Project

__all__ = ["delete_key", "get_keys", "post_key"]


def get_keys(keys: Keys) -> dict[str, Any]:
    return _list(keys.all())


def post_key(project: Project, by: Key, body: bytes) -> dict[str, Any]:
    """A child of `by`. Raises BadSetting for a body that isn't a Wanted, TooWide, StorageFailed."""
    try:
        wanted = msgspec.json.decode(body, type=Wanted)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError, RecursionError) as error:
        known = ", ".join(Wanted.__struct_fields__)
        raise BadSetting(f"The body is no key: {error}.", f"Known fields: {known}.") from None
    if unknown := unknown_tasks(project, wanted.tasks):
        raise BadSetting(f"tasks names {unknown}", "Mend the name.")
    key, secret = add(project, wanted, parent=by.name, by=f"key:{by.prefix}")
    return {"object": "key", **shown(key), "key": secret}


def delete_key(project: Project, by: Key, name: str) -> dict[str, Any]:
    """Raises KeyUnknown, StorageFailed."""
    return _list(revoke(project, name, by=f"key:{by.prefix}"))


def _list(keys: tuple[Key, ...]) -> dict[str, Any]:
    return {"object": "list", "data": [{"object": "key", **shown(key)} for key in keys]}
