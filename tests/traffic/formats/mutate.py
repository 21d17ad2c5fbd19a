"""Documented rows with pieces taken out or swapped for values of other types: a reader may refuse them, no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from freehold import wire
from freehold.traffic.formats import Format

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from(["[", "[{'a': 1}]", '[{"role": 1}]', '{"a": [1]}', '"x"', "12", "-3", "1e400", "[]", "{}"]),
)  # fmt: skip
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a value, the outermost first."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


@st.composite
def mutated(draw: st.DrawFn, rows: Sequence[Any]) -> Any:
    row = wire.loads(wire.dumps(draw(st.sampled_from(list(rows)))))
    for _ in range(draw(st.integers(1, 6))):
        places = list(_places(row))
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            del container[key]
        else:
            container[key] = draw(ANY)
    return row


def only_refuses(format: Format, record: Any) -> None:
    """A record is read, passed over, or refused with wire.RowError; anything else fails the test."""
    format.fits(record)
    try:
        for row in format.rows(record):
            wire.call_from_row(row)
    except wire.RowError:
        pass
