"""Tool calls: equal in name and arguments, or among the answers that a person accepts.

    [{"name": "book", "arguments": {"city": "Oslo", "nights": 2}}]

    tools             the calls in the same order
    tools-any-order   in any order, each answering one of the other's: where the log itself varies the order

Arguments are JSON values (json_rule.py: 5 and 5.0 are equal, 1 and true are not). An argument that is left out equals
the default that the tool's schema gives it. A reply in plain text instead of a call agrees with the same text.

Accepted answers, one entry a call, each argument with the list of its accepted values; "" in it: may be left out:
    [{"book": {"city": ["Oslo", "Oslo, Norway"], "nights": [2], "smoking": ["", false]}}]
as the Berkeley function-calling leaderboard writes and reads them (ast_checker.py in ShishirPatil/gorilla): texts are
compared without case, blanks and , . / - _ * ^, and the order of calls is free.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from freehold.agree.json_rule import Leaves, NotJson, leaves, read, show

__all__ = ["Defaults", "accepts", "agree", "defaults", "fields", "order_varies"]

Defaults = Mapping[tuple[str, str], Any]
Calls = list[tuple[str, dict[str, Any]]]
MISSING = object()
LOOSE = re.compile(r"[ ,./\-_*^]")


def calls_in(text: str) -> Calls | None:
    """The (name, arguments) of each call in an answer; None where it is a reply in plain text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = read(text)
        return [_call(one) for one in found] if isinstance(found, list) else None
    except NotJson:
        return None


def _call(one: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str) or one.keys() - {"name", "arguments"}:
        raise NotJson("an entry of the list is no tool call")
    given = one.get("arguments", {})
    arguments = read(given) if isinstance(given, str) else given
    if not isinstance(arguments, dict):
        raise NotJson("arguments are no object")
    return one["name"], arguments


def defaults(tools: Iterable[Any]) -> dict[tuple[str, str], Any]:
    """(tool, argument) -> its default, from lists of tools as requests carry them; where two lists differ, none."""
    found: dict[tuple[str, str], Any] = {}
    for several in tools:
        for tool in several if isinstance(several, list) else []:
            for key, value in _defaults(tool):
                found[key] = value if key not in found or _same(found[key], value) else MISSING
    return {key: value for key, value in found.items() if value is not MISSING}


def _defaults(tool: Any) -> list[tuple[tuple[str, str], Any]]:
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    schema = function.get("parameters") if isinstance(function, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not isinstance(function.get("name"), str):
        return []
    return [
        ((function["name"], name), said.get("default", MISSING) if isinstance(said, dict) else MISSING)
        for name, said in properties.items()
    ]


def _same(left: Any, right: Any) -> bool:
    if left is MISSING or right is MISSING:
        return left is right
    try:
        return leaves(left) == leaves(right)
    except NotJson:
        return False


def _whole(call: tuple[str, dict[str, Any]], known: Defaults) -> Leaves:
    """The call's name and each argument, defaults filled in."""
    name, arguments = call
    given = {arg: value for (tool, arg), value in known.items() if tool == name} | arguments
    return leaves({"name": name, "arguments": given})


def agree(ours: str, theirs: str, known: Defaults, *, any_order: bool = False) -> bool:
    left, right = calls_in(ours), calls_in(theirs)
    if left is None or right is None:
        return left is right and ours.strip() == theirs.strip()
    try:
        mine, wanted = [_whole(call, known) for call in left], [_whole(call, known) for call in right]
    except NotJson:
        return False
    if not any_order:
        return mine == wanted
    return Counter(frozenset(call.items()) for call in mine) == Counter(frozenset(call.items()) for call in wanted)


def _matched(left: Sequence[Any], right: Sequence[Any], fits: Callable[[Any, Any], bool]) -> bool:
    """Can each of `left` be given one of `right` of its own? (Kuhn's augmenting paths.)"""
    taken: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j in range(len(right)):
            if j not in seen and fits(left[i], right[j]):
                seen.add(j)
                if j not in taken or place(taken[j], seen):
                    taken[j] = i
                    return True
        return False

    return len(left) <= len(right) and all(place(i, set()) for i in range(len(left)))


def fields(ours: str, theirs: str, known: Defaults, *, any_order: bool = False) -> dict[str, bool]:
    """Per call of theirs: its name, and each argument in either, as `[0].arguments.city`. In any order, our calls are
    first paired with equal ones, then with those of the same name."""
    wanted, found = calls_in(theirs), calls_in(ours)
    if wanted is None:
        return {"": agree(ours, theirs, known)}
    try:
        right = [_whole(call, known) for call in wanted]
        left = [_whole(call, known) for call in found or []]
    except NotJson:
        return {"": False}
    if any_order:
        left = _paired(left, right)
    mine, asked = _flat(left), _flat(right)
    return {show(path): mine.get(path) == asked.get(path) for path in [*asked, *(p for p in mine if p not in asked)]}


def _paired(left: Sequence[Leaves], right: Sequence[Leaves]) -> list[Leaves]:
    """Our calls in the order of theirs; those that pair with none come last."""
    rest, placed = list(left), dict[int, Leaves]()
    for fits in (_equal, _named_alike):
        for j, wanted in enumerate(right):
            hit = next((i for i, one in enumerate(rest) if fits(one, wanted)), None)
            if j not in placed and hit is not None:
                placed[j] = rest.pop(hit)
    return [placed.get(j, {}) for j in range(len(right))] + rest


def _equal(left: Leaves, right: Leaves) -> bool:
    return left == right


def _named_alike(left: Leaves, right: Leaves) -> bool:
    return left.get(("name",)) == right.get(("name",))


def _flat(calls: Sequence[Leaves]) -> dict[Any, Any]:
    return {(i, *path): leaf for i, call in enumerate(calls) for path, leaf in call.items()}


def order_varies(answers: Iterable[str]) -> bool:
    """Does the log write the same two tools in both orders, in answers that call several?"""
    seen: set[tuple[str, str]] = set()
    for answer in answers:
        names = list(dict.fromkeys(name for name, _ in calls_in(answer) or []))
        seen |= {(names[i], names[j]) for i in range(len(names)) for j in range(i + 1, len(names))}
    return any((later, first) in seen for first, later in seen)


def accepts(ours: str, accepted: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]] | str) -> bool:
    """Is our answer one of those that `accepted` allows, in the form above (or that form as JSON text)?"""
    found = calls_in(ours)
    wanted = json.loads(accepted) if isinstance(accepted, str) else accepted
    if found is None or len(found) != len(wanted):
        return False
    return _matched(found, list(wanted), lambda call, entry: call[0] in entry and _within(call[1], entry[call[0]]))


def _within(given: Mapping[str, Any], allowed: Mapping[str, Sequence[Any]]) -> bool:
    """Every value is among the accepted ones, and what is left out may be."""
    if any(name not in allowed for name in given):
        return False
    return all(
        any(_accepted(given[name], value) for value in values) if name in given else "" in values
        for name, values in allowed.items()
    )


def _accepted(given: Any, value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(given, dict) and _within(given, value)
    if isinstance(value, list):
        same = isinstance(given, list) and len(given) == len(value)
        return same and all(map(_accepted, given, value))
    if isinstance(value, str):
        return isinstance(given, str) and _loose(given) == _loose(value)
    return not isinstance(given, dict | list) and _same(given, value)


def _loose(text: str) -> str:
    return LOOSE.sub("", text).lower().replace("'", '"')
