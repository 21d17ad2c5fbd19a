"""JSON answers: equal as values, whatever their writing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.agree import Judge

J = Judge("json")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, random: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(inner, random)) for key, inner in value.items()]
        random.shuffle(items)
        return dict(items)
    return [shuffled(inner, random) for inner in value] if isinstance(value, list) else value


@given(VALUES, st.randoms(use_true_random=False), st.sampled_from([None, 1, 4]))
def test_key_order_and_white_space_do_not_count(value: Any, random: random.Random, indent: int | None) -> None:
    left, right = json.dumps(value), f"\n {json.dumps(shuffled(value, random), indent=indent, ensure_ascii=False)} "
    assert J.agree(left, right)
    assert all(J.fields(left, right).values())


@given(VALUES, VALUES)
def test_agreement_is_symmetric_and_is_all_fields(left: Any, right: Any) -> None:
    ours, theirs = json.dumps(left), json.dumps(right)
    assert J.agree(ours, theirs) == J.agree(theirs, ours) == all(J.fields(ours, theirs).values())
    assert set(J.fields(ours, theirs)) == set(J.fields(theirs, ours))


@given(st.text(), st.text())
def test_any_text_gets_a_ruling(ours: str, theirs: str) -> None:
    assert J.agree(ours, theirs) == J.agree(theirs, ours)
    assert J.fields(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("1", "1.0"),
        ("[100]", "[1e2]"),
        ('{"a": 0.1}', '{"a": 0.10}'),
        ("-0", "0.0"),
        (r'"\u00e9"', '"é"'),
        ("12345678901234567890123", "12345678901234567890123"),
        ('```json\n{"a": 1}\n```', '```\n{"a":1}```'),
    ],
)
def test_equal_values(ours: str, theirs: str) -> None:
    assert J.agree(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("1", "true"),
        ("0", "false"),
        ('"1"', "1"),
        ("null", "false"),
        ("[]", "{}"),
        ("[1]", '{"0": 1}'),
        ("[1, 2]", "[2, 1]"),
        ('{"a": 1}', '{"a": 1, "b": null}'),
        ('{"a": "x"}', '{"a": "X"}'),
        ("12345678901234567890123", "12345678901234567890124"),
        ("9007199254740993", "9007199254740992.0"),
        ("1e400", "1e500"),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('{"a": 1}', 'Here it is: {"a": 1}'),
    ],
)
def test_other_values(ours: str, theirs: str) -> None:
    assert not J.agree(ours, theirs)
    assert not all(J.fields(ours, theirs).values())


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"a": 1, "a": 1}',
        "",
        "{",
        '{"a": 1} {"a": 1}',
        "[" * 5000 + "]" * 5000,
        "[" * 150 + "1" + "]" * 150,
        "9" * 5000,
        "1e99999999999999999999",
        "```json\n1\n```\n```json\n1\n```",
    ],
    ids=lambda text: text[:12],
)
def test_what_readers_read_differently_agrees_with_nothing(text: str) -> None:
    assert not J.agree(text, text)
    assert J.fields(text, text) == {"": False}
    assert J.fields(text, '{"a": 1, "b": [2]}') == {"a": False, "b[0]": False}


def test_fields_name_what_differs() -> None:
    ours = '{"intent": "play", "slots": [{"name": "artist", "value": "Sia"}], "a.b": 1, "extra": 0}'
    theirs = '{"intent": "play", "slots": [{"name": "artist", "value": "Cher"}, {"name": "x"}], "a.b": 1}'
    assert J.fields(ours, theirs) == {
        "intent": True,
        "slots[0].name": True,
        "slots[0].value": False,
        "slots[1].name": False,
        '["a.b"]': True,
        "extra": False,
    }
