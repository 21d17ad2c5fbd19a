"""Calls with an id that stood before are counted exactly, however the log is cut."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.tallies.tally import Seen
from freehold.audit.tallies.twice import TwiceTally, said
from freehold.nouns import Call


def seen(ids: list[object]) -> list[Seen]:
    return [Seen(Call((), row={"response": {"id": id}}), (0, n)) for n, id in enumerate(ids)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@given(ids=st.lists(st.sampled_from([*"abcdefgh", "", None, 7, "\ud800"]), max_size=30), cut=st.integers(0, 30))
def test_every_cut_counts_the_same(folder: Path, ids: list[object], cut: int) -> None:
    known = [id for id in ids if isinstance(id, str) and id]
    first, second = TwiceTally(str(folder)), TwiceTally(str(folder))
    first.ids.most = second.ids.most = 5
    first.add(seen(ids[:cut]))
    second.add(seen(ids[cut:]))
    first = msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=TwiceTally)
    first.merge(msgspec.msgpack.decode(msgspec.msgpack.encode(second), type=TwiceTally))
    whole = TwiceTally()
    whole.add(seen(ids))
    assert first.again() == whole.again() == len(known) - len(set(known))


def test_calls_without_a_response_have_no_id() -> None:
    tally = TwiceTally()
    tally.add([Seen(Call((), row=row), (0, 1)) for row in ({}, {"response": None}, {"messages": []})] * 2)
    assert tally.again() == 0


def test_what_is_said_of_it() -> None:
    assert said(0, 10) == ""
    assert said(1200, 5000) == (
        "1,200 of 5,000 calls have the id of an earlier one: an export may have written them twice."
    )
