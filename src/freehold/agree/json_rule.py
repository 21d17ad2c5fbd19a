"""JSON answers: equal as values, and which of their fields agree.

    {"city": "Oslo", "days": [1, 2.0]}   ─read→  {("city",): ("text", "Oslo"), ("days", 0): ("number", 1), ...}

Key order, white space and how a number is written (1, 1.0, 1e0) don't count; 1 and true differ, and so do "1" and 1.
A whole answer may stand in one ```json fence, but then on both sides: a client that reads the one breaks on the other.
Not JSON here (RFC 8259 leaves it open or forbids it): other text around the value, NaN, a key twice in one object, more
than 100 levels. Such an answer agrees with nothing, not even with itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

__all__ = ["Leaves", "NotJson", "agree", "fields", "leaves", "read", "show", "unfenced"]

DEEPEST = 100
Path = tuple[str | int, ...]
Leaf = tuple[str, Any]
Leaves = Mapping[Path, Leaf]
FENCE = re.compile(r"\A```[ \t]*([A-Za-z0-9_+-]*)[ \t]*\r?\n(.*?)\r?\n?[ \t]*```\Z", re.DOTALL)
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


class NotJson(ValueError):
    """The text is no JSON value that two readers would read alike."""


def unfenced(text: str) -> tuple[str, bool]:
    """The text inside the one code fence that holds all of it, and whether there was one."""
    text = text.strip()
    found = FENCE.match(text)
    if found is None or "\n```" in found[2]:
        return text, False
    return found[2].strip(), True


def read(text: str) -> Any:
    """The JSON value of a text without a fence; numbers with a point as Decimal. Raises NotJson."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, ArithmeticError) as error:  # ValueError also: an integer of more digits than Python reads
        raise NotJson(str(error)) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("a key stands twice in one object")
    return found


def _refuse(name: str) -> Any:
    raise NotJson(f"{name} is no JSON number")


def leaves(value: Any) -> dict[Path, Leaf]:
    """Each value that holds no other, under its path; an empty list or object is such a value. Raises NotJson."""
    return dict(_leaves(value, ()))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Leaf]]:
    if len(path) > DEEPEST:
        raise NotJson(f"nested more than {DEEPEST} levels deep")
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from _leaves(inner, (*path, i))
    else:
        yield path, _leaf(value)


def _leaf(value: Any) -> Leaf:
    if value is None or isinstance(value, bool):
        return "word", value
    if isinstance(value, float):  # from a reader other than ours: as it is written, so that 0.1 is 0.1
        return "number", Decimal(repr(value))
    if isinstance(value, int | Decimal):
        return "number", value
    return ("text", value) if isinstance(value, str) else (type(value).__name__, None)


def _read_leaves(text: str) -> tuple[dict[Path, Leaf], bool]:
    inner, fenced = unfenced(text)
    return leaves(read(inner)), fenced


def agree(ours: str, theirs: str) -> bool:
    try:
        return _read_leaves(ours) == _read_leaves(theirs)
    except NotJson:
        return False


def fields(ours: str, theirs: str) -> dict[str, bool]:
    """Per path in either answer, as `slots[0].city`: do both have it, with the same value? All are wrong where our
    answer is no JSON or is fenced otherwise; where theirs is none there is one entry, the whole answer ("")."""
    try:
        wanted, fenced = _read_leaves(theirs)
    except NotJson:
        return {"": False}
    try:
        found, ours_fenced = _read_leaves(ours)
    except NotJson:
        return {show(path): False for path in wanted}
    same = fenced == ours_fenced
    paths = [*wanted, *(path for path in found if path not in wanted)]
    return {show(path): same and path in found and found.get(path) == wanted.get(path) for path in paths}


def show(path: Path) -> str:
    """A path as people write it: slots[0].city, and ["odd key"] for a key that is no plain word."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif PLAIN.match(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{json.dumps(step, ensure_ascii=False)}]")
    return "".join(parts)
