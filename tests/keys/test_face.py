"""Minting over HTTP's bodies: an admin's children, and bodies that are no key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from freehold.errors import BadSetting
from freehold.keys import Key, Keys, KeyUnknown, TooWide, Wanted, add
from freehold.keys.face import delete_key, get_keys, post_key
from freehold.project import Project


@pytest.fixture
def boss(project: Project) -> Key:
    return add(project, Wanted(name="boss", role="admin", budget_day=9.0, models=("m",)), by="os:test")[0]


def test_a_minted_key_is_a_child_and_is_shown_once(project: Project, boss: Key) -> None:
    said = post_key(project, boss, b'{"name": "web", "budget_day": 2}')
    keys = Keys.open(project)
    child = keys.find(said["key"])
    assert child is not None
    assert (child.parent, child.budget_day, child.models, child.role) == ("boss", 2.0, ("m",), "user")
    assert said["key"] not in msgspec.json.encode(get_keys(keys)).decode()
    assert project.rows("keys.log.jsonl")[-1]["by"] == f"key:{boss.prefix}"
    assert [row["name"] for row in delete_key(project, boss, "web")["data"]] == ["web"]
    with pytest.raises(KeyUnknown):
        delete_key(project, boss, "nobody")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b'"web"', b"\xff", b"[" * 100_000, b'{"name": "web"', b'{"name": 5}',
        b'{"name": "web", "sha256": "00"}', b'{"name": "web", "parent": ""}', b'{"name": "web", "parent": "root"}',
        b'{"name": "web", "made": "2026-01-01T00:00:00Z"}', b'{"name": "web", "Role": "admin"}',
        b'{"name": "web", "role": "root"}', b'{"name": "web", "budget_day": -1}', b'{"name": "web", "budget_day": NaN}',
        b'{"name": "web", "budget_day": 1e400}', b'{"name": "web", "budget_day": "5"}', b'{"name": "../web"}',
        b'{"name": "web", "expires": "2026-01-01T00:00:00"}', b'{"name": "web", "running": 0}',
        b'{"name": "web", "tasks": "all"}', b'{"name": "web", "home_share": 1.01}', b'{"name": "we\\u0000b"}',
        b'{"name": "web", "tasks": ["' + b"a" * 300 + b'"]}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_key_makes_none(project: Project, boss: Key, body: bytes) -> None:
    before = (project.path / "keys.json").read_bytes()
    with pytest.raises(BadSetting):
        post_key(project, boss, body)
    assert (project.path / "keys.json").read_bytes() == before


@pytest.mark.parametrize(
    "wide", [{"budget_day": 10}, {"models": ["m", "n"]}, {"budget_day": 9.0001}, {"models": ["M"]}]
)
def test_a_wider_child_is_refused_and_the_file_unchanged(project: Project, boss: Key, wide: dict[str, Any]) -> None:
    before = (project.path / "keys.json").read_bytes()
    with pytest.raises(TooWide):
        post_key(project, boss, msgspec.json.encode({"name": "web", **wide}))
    assert (project.path / "keys.json").read_bytes() == before
