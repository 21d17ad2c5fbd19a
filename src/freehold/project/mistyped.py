"""What a value of the wrong type is called in one sentence, by its table and key."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["blame"]

WORDS = {
    "array": "a list", "bool": "true or false", "date": "a date", "decimal": "a number", "float": "a number",
    "int": "a whole number", "object": "a table", "str": "a text in quotes",
}  # fmt: skip
WRONG = re.compile(
    r"(?:Expected `(.+)`, got `.+?`|Invalid (decimal) string|Invalid RFC3339 encoded (date))(?: - at `\$(.*)`)?"
)
MISSING = re.compile(r"Object missing required field `(.+?)` - at `\$(.*)`")
STEP = re.compile(r"\.([^.\[\]]+)|\[(\.\.\.|\d+)\]")
LONGEST = 60  # characters of a value


def blame(found: dict[str, Any], error: msgspec.ValidationError, kind: type) -> str:
    """The sentence: "[cache] keys is 'batch', which is not a list." `found` is what can't be a `kind`."""
    if said := MISSING.fullmatch(str(error)):
        return f"{_place(*_walk(found, said[2], kind)[0])} has no {said[1]}, and needs one."
    said = WRONG.fullmatch(str(error))
    if said is None:
        return f"{error}."
    steps, value, inside = _walk(found, said[4] or "", kind)
    wanted = [one for one in (said[1] or said[2] or said[3]).split(" | ") if one != "null"]
    words = " or ".join(dict.fromkeys(WORDS.get(one, one) for one in wanted))
    return f"{_place(*steps)} {'holds' if inside else 'is'} {_shown(value)}, which is not {words}."


def _walk(found: dict[str, Any], path: str, kind: type) -> tuple[list[str], Any, bool]:
    """The keys on the way to the value, the value, and whether it stands in a list. msgspec names no key of a table
    whose keys are free: it is the first whose value alone is refused too."""
    steps: list[str] = []
    value: Any = found
    inside = False
    for name, index in STEP.findall(path):
        if index.isdigit():
            value, inside = value[int(index)], True
            continue
        name = name or next(one for one in value if _refused(kind, [*steps, one], value[one]))
        steps.append(name)
        value = value[name]
    return steps, value, inside


def _refused(kind: type, steps: list[str], value: Any) -> bool:
    for step in reversed(steps):
        value = {step: value}
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return True
    return False


def _place(*steps: str) -> str:
    """[cache] keys, [tasks.cards] home, or port; a table alone in brackets."""
    *tables, name = steps
    if len(steps) == 2 and tables[0] in ("tasks", "prices", "upstreams"):
        return f"[{'.'.join(steps)}]"
    return f"[{'.'.join(tables)}] {name}" if tables else name


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
