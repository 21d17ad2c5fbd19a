"""What a key may be: a child is never wider than its parent, whatever is asked for (G03)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import BadSetting
from freehold.keys.key import CAPS, LISTS, ROLES, Key, TooWide, Wanted, check_all, digest, mint, rotated, wider

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MONEY = st.none() | st.floats(0, 100, allow_nan=False)
COUNT = st.none() | st.integers(1, 1000)
NAMES = st.none() | st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3).map(tuple)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "role": st.sampled_from(ROLES),
    "expires": st.none() | st.integers(-100, 100).map(lambda hours: NOW + timedelta(hours=hours)),
    "budget_day": MONEY,
    "budget_month": MONEY,
    "tokens_minute": COUNT,
    "requests_minute": COUNT,
    "running": COUNT,
    "tasks": NAMES,
    "models": NAMES,
    "home_share": st.none() | st.floats(0, 1, allow_nan=False),
}
WANTED = st.fixed_dictionaries(FIELDS)


def key(name: str = "boss", **fields: Any) -> Key:
    return mint(None, Wanted(name=name, **fields), NOW)[0]


def allowed(one: Wanted, field: str, asked: Any) -> bool:
    """Whether a key lets its holder have so much, said once more in other words than the code's."""
    limit = getattr(one, field)
    return limit is None or (asked in limit if field in LISTS else asked <= limit)


def test_the_fields_are_all_there() -> None:
    """A field that is added later is narrowed too, or this fails."""
    assert {*FIELDS, "name"} == set(Wanted.__struct_fields__)
    assert {*CAPS, *LISTS, "role", "expires", "name"} == set(Wanted.__struct_fields__)


@settings(max_examples=400)
@given(above=WANTED, asked=WANTED)
def test_no_child_is_allowed_what_its_parent_is_not(above: dict[str, Any], asked: dict[str, Any]) -> None:
    parent = key(**above)
    try:
        child, secret = mint(parent, Wanted(name="child", **asked), NOW)
    except TooWide:
        return
    assert parent.role == "admin"
    assert parent.holds(NOW.timestamp())
    assert child.parent == "boss"
    assert child.sha256 == digest(secret)
    for field in CAPS:
        for much in (0, 0.5, 1, 7, 50, 101, 1001):
            assert allowed(child, field, much) <= allowed(parent, field, much)
    for field in LISTS:
        for name in ("a", "b", "c", "d"):
            assert allowed(child, field, name) <= allowed(parent, field, name)
    for hours in range(-110, 120, 5):
        then = (NOW + timedelta(hours=hours)).timestamp()
        assert child.holds(then) <= parent.holds(then)


@settings(max_examples=200)
@given(above=WANTED, asked=WANTED)
def test_what_is_narrower_is_minted_as_asked(above: dict[str, Any], asked: dict[str, Any]) -> None:
    """A refusal has a reason: some field is wider, or the parent may have no children."""
    parent = key(**above)
    try:
        child, _ = mint(parent, Wanted(name="child", **asked), NOW)
    except TooWide:
        filled = {name: getattr(parent, name) if value is None else value for name, value in asked.items()}
        expired = not parent.holds(NOW.timestamp())
        assert expired or wider(parent, Wanted(name="child", **filled))
    else:
        for name, value in asked.items():
            assert getattr(child, name) == (getattr(parent, name) if value is None else value)


@pytest.mark.parametrize("role", ["user", "reader"])
@pytest.mark.parametrize("wanted", ROLES)
def test_only_an_admin_mints(role: Any, wanted: Any) -> None:
    with pytest.raises(TooWide, match="role"):
        mint(key(role=role), Wanted(name="child", role=wanted), NOW)


def test_a_revoked_admin_mints_nothing() -> None:
    gone = msgspec.structs.replace(key(role="admin"), revoked=NOW)
    with pytest.raises(TooWide, match="does not hold"):
        mint(gone, Wanted(name="child"), NOW)


def test_secrets_are_long_and_all_different() -> None:
    secrets = [mint(None, Wanted(name="web"), NOW)[1] for _ in range(200)]
    assert len(set(secrets)) == 200
    assert all(secret.startswith("fh-") and len(secret) == 46 for secret in secrets)


def test_a_rotated_key_is_the_same_but_for_its_secret() -> None:
    old = key(budget_day=3.0)
    fresh, secret = rotated(old, NOW)
    assert fresh.sha256 == digest(secret) != old.sha256
    assert (fresh.name, fresh.budget_day) == (old.name, old.budget_day)
    with pytest.raises(BadSetting, match="revoked"):
        rotated(msgspec.structs.replace(old, revoked=NOW), NOW)


def test_a_key_holds_five_minutes_longer_than_it_says() -> None:
    one = key(expires=NOW)
    assert one.holds(NOW.timestamp() + 299)
    assert not one.holds(NOW.timestamp() + 301)
    assert one.holds(0.0)


@pytest.mark.parametrize("name", ["", "Web", "../web", "a/b", "a b", "-a", "a" * 65, "a\n", "ä", "."])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(BadSetting, match="no name"):
        key(name)


def test_a_set_that_no_minting_makes_is_refused() -> None:
    boss = key(role="admin", budget_day=5.0)
    child, _ = mint(boss, Wanted(name="child"), NOW)
    check_all([boss, child])
    wide = msgspec.structs.replace(child, budget_day=6.0)
    with pytest.raises(TooWide, match="budget_day of child"):
        check_all([boss, wide])
    with pytest.raises(BadSetting, match="parent"):
        check_all([child])
    with pytest.raises(BadSetting, match="twice"):
        check_all([boss, child, child])
    circle = [msgspec.structs.replace(boss, parent="b", name="a"), msgspec.structs.replace(boss, name="b", parent="a")]
    circle[1] = msgspec.structs.replace(circle[1], sha256="0" * 64)
    with pytest.raises(BadSetting, match="parent"):
        check_all(circle)


@pytest.mark.parametrize("field", [*CAPS, *LISTS, "expires"])
def test_a_child_that_says_nothing_is_wider_than_a_parent_that_does(field: str) -> None:
    """As it may stand in a file from elsewhere: minting fills in the parent's."""
    limit = {"expires": NOW, "home_share": 0.5, "budget_day": 1.0, "budget_month": 1.0}.get(field, 5)
    parent = key(role="admin", **{field: ("a",) if field in LISTS else limit})
    assert wider(parent, key("child")) == field
    assert wider(parent, mint(parent, Wanted(name="child"), NOW)[0]) == ""
