"""A row's values, checked where they are read: a team may have overridden them with anything.

number(fact, "mau")                          700000000.0, or "licences/llama-4: mau is 'many'. It is a number, ..."
one_of(fact, "commercial", ("yes", "no"))    or a sentence that names the known ones
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from freehold.errors import BadSetting
from freehold.nouns import Fact

__all__ = ["number", "one_of", "words"]


def number(fact: Fact, field: str) -> float:
    """A number, 0 or more. Raises BadSetting for anything else."""
    value: Any = fact.values.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadSetting(f"{fact.ref}: {field} is {value!r}.", "It is a number, 0 or more.")
    return float(value)


def one_of(fact: Fact, field: str, known: Sequence[str], default: str) -> str:
    """One of some words, `default` where the row has none. Raises BadSetting for another."""
    value: Any = fact.values.get(field, default)
    if value not in known:
        raise BadSetting(f"{fact.ref}: {field} is {value!r}.", f"Known: {', '.join(known)}.")
    return str(value)


def words(fact: Fact, field: str) -> tuple[str, ...]:
    """A list of words, empty where the row has none. Raises BadSetting for anything else."""
    value: Any = fact.values.get(field, ())
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise BadSetting(f"{fact.ref}: {field} is {value!r}.", "It is a list of words.")
    return tuple(value)
