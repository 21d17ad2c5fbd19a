"""Calls to tasks, without tags: by the text that many requests share.

    system   You are the router of a support desk. ...      fixed: equal in every call
    user     Classify this ticket: |my card is gone| \\nLabel:   before | the call's own text | after

`find.py` finds the templates; here every call goes to the one with the most fixed text among those that fit it, of its
own endpoint. Calls with a message that isn't plain text (tool results, pictures) fit none and belong to no task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from freehold.nouns import Call, Message, Slot, Task, Template
from freehold.traffic.describe import count_calls, describe
from freehold.traffic.find import find_templates, plain

__all__ = ["Index", "part", "task_of"]

HEAD = 12  # characters of a beginning by which templates are looked up
Texts = tuple[str, ...]
Entry = tuple[tuple[int, int], int, list[tuple[int, Slot]]]
"""A template's weight, its place among those given, and its variable slots: all else was looked up."""


def part(calls: Sequence[Call]) -> tuple[tuple[Task, tuple[Call, ...]], ...]:
    """Each task with its calls, the largest task first."""
    found = find_templates(calls)
    index = Index([template for _, template in found], [endpoint for endpoint, _ in found])
    parts: dict[int, list[Call]] = {}
    for call in calls:
        place = index.of(call.messages, call.endpoint)
        if place >= 0:
            parts.setdefault(place, []).append(call)
    mine = [(found[place][1], tuple(part)) for place, part in parts.items()]
    tasks = describe(mine, count_calls(calls))
    ranked = sorted(zip(tasks, [part for _, part in mine], strict=True), key=lambda pair: -pair[0].calls)
    return tuple(ranked)


def task_of(tasks: Iterable[Task], messages: Sequence[Message], endpoint: str = "chat") -> Task | None:
    """The task that a request belongs to: of the templates that fit, the one with the most fixed text."""
    mine = [task for task in tasks if task.endpoint == endpoint]
    place = Index([task.template for task in mine], [endpoint] * len(mine)).of(messages, endpoint)
    return None if place < 0 else mine[place]


def _weight(template: Template) -> tuple[int, int]:
    fixed = sum(not slot.variable for slot in template.slots)
    return fixed, sum(len(slot.before) + len(slot.after) + sum(map(len, slot.inside)) for slot in template.slots)


class Index:
    """Which of some templates a request belongs to: the heaviest that fits. Plain dicts and lists; it pickles.

    Looked up by endpoint and roles, then by the texts that are fixed, then by how the last message begins.
    """

    def __init__(self, templates: Sequence[Template], endpoints: Sequence[str] = ()) -> None:
        """`endpoints` are the templates' own, chat where none are given."""
        places = sorted(range(len(templates)), key=lambda place: _weight(templates[place]), reverse=True)
        self._shapes: dict[tuple[str, Texts], list[tuple[tuple[int, ...], dict[Texts, _Heads]]]] = {}
        for place in places:
            template = templates[place]
            roles = tuple(slot.role for slot in template.slots)
            fixed = tuple(i for i, slot in enumerate(template.slots) if not slot.variable)
            shape = self._shapes.setdefault((endpoints[place] if endpoints else "chat", roles), [])
            by_text = next((found for at, found in shape if at == fixed), None)
            if by_text is None:
                by_text = {}
                shape.append((fixed, by_text))
            heads = by_text.setdefault(tuple(template.slots[i].before for i in fixed), _Heads())
            variable = [(i, slot) for i, slot in enumerate(template.slots) if slot.variable]
            heads.add((_weight(template), place, variable), template.slots[-1].before)

    def of(self, messages: Sequence[Message], endpoint: str = "chat") -> int:
        """The place of the template among those given, or -1 where none fits."""
        return self.match(messages, endpoint)[0]

    def match(self, messages: Sequence[Message], endpoint: str = "chat") -> tuple[int, Texts]:
        """The place of the template and the request's variables under it; -1 and none where no template fits."""
        texts = plain(messages)
        if texts is None:
            return -1, ()
        roles = tuple([message["role"] for message in messages])
        best, weight, own = -1, (-1, -1), Texts()
        for fixed, by_text in self._shapes.get((endpoint, roles), ()):
            heads = by_text.get(tuple([texts[i] for i in fixed]))
            for entry in () if heads is None else heads.like(texts[-1]):
                if entry[0] <= weight:
                    break
                found = _variables(entry[2], texts)
                if found is not None:
                    best, weight, own = entry[1], entry[0], found
                    break
        return best, own


def _variables(slots: Sequence[tuple[int, Slot]], texts: Texts) -> Texts | None:
    """What stands in these slots, or None where it does not fit."""
    found: list[str] = []
    for i, slot in slots:
        text = slot.own(texts[i])
        if text is None:
            return None
        found.append(text)
    return tuple(found)


class _Heads:
    """Templates of one shape by the first characters of their last message, each list with the heaviest first."""

    __slots__ = ("any", "by_head")

    def __init__(self) -> None:
        self.any: list[Entry] = []
        self.by_head: dict[str, list[Entry]] = {}

    def add(self, entry: Entry, before: str) -> None:
        """`before` is how the last message begins. Entries come with the heaviest first."""
        if len(before) >= HEAD:
            self.by_head.setdefault(before[:HEAD], list(self.any)).append(entry)
        else:
            self.any.append(entry)
            for listed in self.by_head.values():
                listed.append(entry)

    def like(self, text: str) -> list[Entry]:
        return self.by_head.get(text[:HEAD], self.any)
