"""Calls to tasks, without tags: by the text that many requests share.

    system   You are the router of a support desk. ...      fixed: equal in every call
    user     Classify this ticket: |my card is gone| \\nLabel:   before | the call's own text | after

1. Calls with the same roles and the same system texts stand together; system texts that are nearly all different are
   themselves parted by their shared beginning.
2. Inside, user texts that share a long or a delimited beginning ("Classify this ticket:") are a task of their own;
   failing that, a shared ending. Plain questions share short beginnings by chance, so short ones don't count.
3. Every call then goes to the template with the most fixed text among those that fit it.
Calls with a message that isn't plain text (tool results, pictures) fit no template and belong to no task.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from freehold.nouns import Call, Message, Slot, Task, Template
from freehold.traffic.describe import count_calls, describe

__all__ = ["part", "task_of"]

LEAST = 5  # different texts that must share a beginning or ending before it counts as fixed
LONG = 8  # words shared by chance hardly ever reach this
DELIMITED = 3  # as many do where they end in a colon, a newline or a full stop
STOPS = (":", "\n", ". ", "? ", "! ")
Texts = tuple[str, ...]


def part(calls: Sequence[Call]) -> tuple[tuple[Task, tuple[Call, ...]], ...]:
    """Each task with its calls, the largest task first."""
    templates = _Templates(_find(calls))
    parts: defaultdict[Template, list[Call]] = defaultdict(list)
    for call in calls:
        template = templates.of(call.messages)
        if template is not None:
            parts[template].append(call)
    found = [(template, tuple(part)) for template, part in parts.items()]
    tasks = describe(found, count_calls(calls))
    ranked = sorted(zip(tasks, [part for _, part in found], strict=True), key=lambda pair: -pair[0].calls)
    return tuple(ranked)


def task_of(tasks: Iterable[Task], messages: Sequence[Message]) -> Task | None:
    """The task that a request belongs to: of the templates that fit, the one with the most fixed text."""
    fitting = [task for task in tasks if task.template.variables(messages) is not None]
    return max(fitting, key=lambda task: _weight(task.template), default=None)


def _weight(template: Template) -> tuple[int, int]:
    fixed = sum(not slot.variable for slot in template.slots)
    return fixed, sum(len(slot.before) + len(slot.after) for slot in template.slots)


class _Templates:
    """Finds the heaviest template that fits, looking only at those with the right roles and fixed texts."""

    def __init__(self, templates: Iterable[Template]) -> None:
        self._shapes: defaultdict[tuple[str, ...], dict[tuple[int, ...], dict[Texts, list[Template]]]]
        self._shapes = defaultdict(dict)
        for template in sorted(dict.fromkeys(templates), key=_weight, reverse=True):
            roles = tuple(slot.role for slot in template.slots)
            fixed = tuple(i for i, slot in enumerate(template.slots) if not slot.variable)
            texts = tuple(template.slots[i].before for i in fixed)
            self._shapes[roles].setdefault(fixed, {}).setdefault(texts, []).append(template)

    def of(self, messages: Sequence[Message]) -> Template | None:
        texts = _plain(messages)
        if texts is None:
            return None
        best: Template | None = None
        for fixed, by_text in self._shapes.get(tuple(m["role"] for m in messages), {}).items():
            for template in by_text.get(tuple(texts[i] for i in fixed), ()):
                if template.variables(messages) is not None:
                    if best is None or _weight(template) > _weight(best):
                        best = template
                    break
        return best


def _plain(messages: Sequence[Message]) -> Texts | None:
    """The texts of messages that hold a role and a text and nothing else; None otherwise."""
    texts = tuple(m.get("content") for m in messages if m.keys() == {"role", "content"})
    if len(texts) != len(messages) or not all(isinstance(text, str) for text in texts):
        return None
    return texts  # type: ignore[return-value]


def _find(calls: Sequence[Call]) -> Iterator[Template]:
    by_roles: defaultdict[tuple[str, ...], list[Texts]] = defaultdict(list)
    for call in calls:
        texts = _plain(call.messages)
        if texts is not None:
            by_roles[tuple(m["role"] for m in call.messages)].append(texts)
    for roles, rows in by_roles.items():
        for system, group in _by_system(roles, rows):
            yield from _by_user(roles, system, group)


def _by_system(roles: Sequence[str], rows: list[Texts]) -> Iterator[tuple[dict[int, Slot], list[Texts]]]:
    """Part rows by their system messages: fixed where a text is common, else by shared beginning."""
    at = [i for i, role in enumerate(roles) if role in ("system", "developer")]
    groups: defaultdict[Texts, list[Texts]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[i] for i in at)].append(row)
    rare = {texts for texts, group in groups.items() if len(group) < LEAST}
    if not at or len(rare) < LEAST:
        rare = set()
    for texts, group in groups.items():
        if texts not in rare:
            yield {i: Slot(roles[i], text) for i, text in zip(at, texts, strict=True)}, group
    if rare:
        loose = [row for texts, group in groups.items() if texts in rare for row in group]
        for before, after, group in _affixes(loose, at[0], LEAST):
            slots = {at[0]: Slot(roles[at[0]], before, after, variable=True)}
            yield slots | {i: Slot(roles[i], "", "", variable=True) for i in at[1:]}, group


def _by_user(roles: Sequence[str], system: dict[int, Slot], rows: list[Texts]) -> Iterator[Template]:
    """Part rows by what their last message shares; earlier messages are fixed (examples) or the call's own."""
    last = len(roles) - 1
    share = 0.05 if system else 0.005  # under one system text, user texts are mostly the call's own
    for before, after, group in _affixes(rows, last, max(LEAST, math.ceil(share * len(rows)))):
        slots = dict(system)
        for i, role in enumerate(roles[:last]):
            if i not in slots:
                slots[i] = _earlier(role, [row[i] for row in group])
        slots[last] = Slot(roles[last], before, after, variable=True)
        yield Template(tuple(slots[i] for i in range(len(roles))))


def _earlier(role: str, texts: list[str]) -> Slot:
    fixed = len(texts) >= LEAST and len(set(texts)) == 1
    return Slot(role, texts[0] if fixed else "", "", variable=not fixed)


def _affixes(rows: list[Texts], at: int, least: int) -> Iterator[tuple[str, str, list[Texts]]]:
    """Part rows by the text that message `at` begins with, then ends with: (before, after, rows)."""
    texts = sorted({row[at] for row in rows})
    befores = _beginnings(texts, least)
    groups, rest = _divide(rows, at, befores, str.startswith)
    for before, group in groups.items():
        yield before, _ending([row[at][len(before) :] for row in group]), group
    backwards = sorted({row[at][::-1] for row in rest})
    afters = [after[::-1] for after in _beginnings(backwards, least, turned=True)]
    groups, rest = _divide(rest, at, afters, str.endswith)
    for after, group in groups.items():
        yield "", after, group
    if rest:
        yield "", "", rest


def _divide(
    rows: list[Texts], at: int, affixes: list[str], fits: Callable[[str, str], bool]
) -> tuple[dict[str, list[Texts]], list[Texts]]:
    """Give each row to the longest affix that fits; the rest stays."""
    groups: defaultdict[str, list[Texts]] = defaultdict(list)
    rest: list[Texts] = []
    longest_first = sorted(affixes, key=len, reverse=True)
    for row in rows:
        affix = next((a for a in longest_first if fits(row[at], a)), None)
        (rest if affix is None else groups[affix]).append(row)
    return groups, rest


def _beginnings(texts: list[str], least: int, *, turned: bool = False) -> list[str]:
    """The fixed beginnings in sorted, different texts, each shared by at least `least` of them."""
    found: list[str] = []
    pending = [(0, len(texts))]
    while pending:
        low, high = pending.pop()
        if high - low < least:
            continue
        shared = _shared(texts[low], texts[high - 1])
        kids = [kid for kid in _next_words(texts, low, high, len(shared)) if kid[1] - kid[0] >= least]
        fixed = _fixed(shared, turned)
        if len(fixed.split()) >= DELIMITED:
            deeper = [kid for kid in kids if _extends(texts, kid, fixed, turned)]
            if sum(b - a for a, b in deeper) < 0.9 * (high - low) or len(deeper) < 2:
                found.append(fixed)
                continue
            kids = deeper
        pending += kids
    return found


def _next_words(texts: list[str], low: int, high: int, at: int) -> Iterator[tuple[int, int]]:
    """Ranges of texts[low:high] that have the same character after their first `at`."""
    start = low
    for i in range(low + 1, high + 1):
        if i == high or texts[i][at : at + 1] != texts[start][at : at + 1]:
            yield start, i
            start = i


def _extends(texts: list[str], kid: tuple[int, int], fixed: str, turned: bool) -> bool:
    shared = _shared(texts[kid[0]], texts[kid[1] - 1])
    return len(_fixed(shared, turned)[len(fixed) :].split()) >= LONG


def _shared(one: str, other: str) -> str:
    """The longest common beginning of two texts, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return one[:low]


def _fixed(shared: str, turned: bool = False) -> str:
    """What of a shared beginning is fixed text: up to its last delimiter, or whole words where they are many."""
    if turned:
        return _fixed_ending(shared[::-1])[::-1]
    cut = max((shared.rfind(stop) + len(stop) for stop in STOPS if stop in shared), default=0)
    words = shared.rfind(" ") + 1
    if len(shared[cut:words].split()) >= LONG:
        return shared[:words]
    tail = shared[cut:]
    return shared[: cut + len(tail) - len(tail.lstrip())]


def _fixed_ending(shared: str) -> str:
    """What of a shared ending is fixed text: from its first newline, or whole words where they are many."""
    lines = shared.find("\n")
    if lines >= 0 and shared[lines:].strip():
        return shared[lines:]
    words = shared.find(" ")
    return shared[words:] if words >= 0 and len(shared[words:].split()) >= LONG else ""


def _ending(texts: list[str]) -> str:
    """The fixed ending of texts, where enough different ones share it."""
    turned = {text[::-1] for text in texts}
    return _fixed_ending(_shared(min(turned), max(turned))[::-1]) if len(turned) >= LEAST else ""
