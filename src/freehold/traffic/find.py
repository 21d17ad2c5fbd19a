"""The templates of a log, found without tags: parts of it that share fixed text, unless that text is the users' own.

    calls ─same endpoint and roles─→ rows ─systems→ ─examples in earlier turns→ ─last message→ Template

At each message rows are parted by what they begin with, then by what they end with (`tree.py`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.nouns import Call, Message, Slot, Template
from freehold.traffic.affixes import LEAST, beginning, ending, framed, masked
from freehold.traffic.alike import differ
from freehold.traffic.tree import COVER, MARK, Group, Row, Texts, Tree, asked_of, like

__all__ = ["find_templates", "plain"]

END = "\x00:"  # a whole text is fixed up to its end
NAME = re.compile(r"(?<=[\w,;] )[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")


def plain(messages: Sequence[Message]) -> Texts | None:
    """The texts of messages that hold a role and a text and nothing else; None otherwise."""
    texts: list[str] = []
    for message in messages:
        text = message.get("content")
        if not isinstance(text, str) or len(message) != 2 or "role" not in message:
            return None
        texts.append(text)
    return tuple(texts)


def find_templates(calls: Sequence[Call]) -> list[tuple[str, Template]]:
    """(endpoint, template) of each part of the log; together they fit every call of plain texts."""
    shapes: defaultdict[tuple[str, Texts], dict[Texts, str | None]] = defaultdict(dict)
    for call in calls:
        texts = plain(call.messages)
        if texts:
            rows = shapes[call.endpoint, tuple(m["role"] for m in call.messages)]
            if rows.get(texts) is None:
                rows[texts] = _answer(call)
    found: dict[tuple[str, Template], None] = {}
    for (endpoint, roles), answers in shapes.items():
        if endpoint == "embeddings":  # documents and questions, with nothing around them
            found[endpoint, Template(tuple(Slot(role, "", variable=True) for role in roles))] = None
            continue
        for template in _templates(roles, [Row(texts, answer) for texts, answer in answers.items()]):
            found[endpoint, template] = None
    return list(found)


def _answer(call: Call) -> str | None:
    from freehold import wire

    if call.answered_by != "upstream":
        return None
    return call.answer.strip() if call.answer is not None else ("{tools" if wire.calls_tools(call) else None)


def _templates(roles: Texts, rows: list[Row]) -> Iterator[Template]:
    system = [i for i, role in enumerate(roles[:-1]) if role in ("system", "developer")]
    turns = [i for i in range(len(roles) - 1) if i not in system]
    for first in _systems(rows, system):
        for part in _examples(first.rows, turns):
            for last in _messages(part, len(roles) - 1, known=bool(system) or _same(part, turns)):
                yield _template(roles, last, system, turns, first)


def _same(rows: Sequence[Row], turns: list[int]) -> bool:
    return bool(turns) and len({tuple(row.texts[i] for i in turns) for row in rows}) == 1


# system messages


def _systems(rows: list[Row], at: list[int]) -> Iterator[Group]:
    """Rows by their system messages. Numbers, days and blanks at the ends make no difference."""
    if not at:
        yield Group(tuple(rows))
        return
    tree = Tree(rows, lambda row: "\n".join(_blank(masked(row.texts[i])) for i in at) + END, system=True)
    groups, rest = tree.parts()
    for group in _join_names(groups, at[0]):
        yield from _by_answers(group, at)
    if len(rest) >= LEAST:
        yield Group(tuple(rest), ends=True)
        return
    alone: defaultdict[Texts, list[Row]] = defaultdict(list)
    for row in rest:
        alone[tuple(row.texts[i] for i in at)].append(row)
    yield from (Group(tuple(part)) for part in alone.values())


def _blank(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _join_names(groups: list[Group], at: int) -> Iterator[Group]:
    """Groups whose system texts differ in names alone are one, where three or more do one job."""
    byname: defaultdict[str, list[Group]] = defaultdict(list)
    for group in groups:
        byname[NAME.sub("N", masked(group.rows[0].texts[at]))].append(group)
    for name, part in byname.items():
        if "N" in name and len(part) >= 3 and like([asked_of(group.rows) for group in part]):
            rows = tuple(row for group in part for row in group.rows)
            yield Group(rows, begins=True, around=rows)
        else:
            yield from part


def _by_answers(group: Group, at: list[int]) -> Iterator[Group]:
    """Texts that differ in a number alone are two prompts where their answers say so."""
    exact: defaultdict[Texts, list[Row]] = defaultdict(list)
    for row in group.rows:
        exact[tuple(row.texts[i] for i in at)].append(row)
    parts = list(exact.values())
    if 1 < len(parts) <= 4 and differ(asked_of(parts[0]), asked_of(parts[1])):
        yield from (Group(tuple(part)) for part in parts)
    else:
        yield group


# earlier turns


def _examples(rows: tuple[Row, ...], turns: list[int]) -> Iterator[tuple[Row, ...]]:
    """Rows by their earlier turns, where few different ones make up nearly all: worked examples."""
    if not turns:
        yield rows
        return
    groups: defaultdict[Texts, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row.texts[i] for i in turns)].append(row)
    common = [part for part in groups.values() if len(part) >= LEAST]
    if sum(map(len, common)) < COVER * len(rows) / 2 or len(rows) < LEAST:
        yield rows
        return
    yield from map(tuple, common)
    rest = [row for part in groups.values() if len(part) < LEAST for row in part]
    if rest:
        yield tuple(rest)


# one message


def _messages(rows: tuple[Row, ...], at: int, *, known: bool) -> Iterator[Group]:
    """Rows by what message `at` begins with, then ends with, then holds in between."""
    groups, rest = Tree(rows, lambda row: masked(row.texts[at]), known=known).parts()
    for group in groups:
        cut = len(beginning([row.texts[at] for row in group.around]))
        yield from _endings(group, at, cut, known=True)
    if rest:
        yield from _endings(Group(tuple(rest)), at, 0, known=known)


def _endings(group: Group, at: int, cut: int, *, known: bool) -> Iterator[Group]:
    tree = Tree(group.rows, lambda row: masked(row.texts[at][cut:])[::-1].lstrip(), known=known, turned=True)
    groups, rest = tree.parts()
    for part in groups:
        yield replace(group, rows=part.rows, ends=True)
    if rest:
        one = replace(group, rows=tuple(rest))
        yield from _middles(one, at) if not (group.begins or known) else (one,)


def _middles(group: Group, at: int) -> Iterator[Group]:
    """Rows with no clear beginning or ending, by the words that stand at both, or by a line that many of them hold."""
    rows, least = list(group.rows), max(4 * LEAST, len(group.rows) // 50)
    for first, last in ((2, 2), (2, 1), (1, 2)):
        for frame in _frames([row.texts[at] for row in rows], least, first, last):
            inside = [row for row in rows if _frame(row.texts[at], first, last) == frame]
            yield Group(tuple(inside), framed=True)
            rows = [row for row in rows if _frame(row.texts[at], first, last) != frame]
    while len(rows) >= least:
        lines = Counter(line for row in rows for line in _lines(row.texts[at]))
        line, count = max(lines.items(), key=lambda item: (item[1], len(item[0])), default=("", 0))
        if count < max(least, len(rows) // 20):
            break
        yield Group(tuple(row for row in rows if line in row.texts[at]), inside=(line,))
        rows = [row for row in rows if line not in row.texts[at]]
    if rows:
        yield Group(tuple(rows))


def _frames(texts: list[str], least: int, first: int, last: int) -> list[tuple[str, str]]:
    """First and last words that hardly ever stand without each other, as in `Intent of '...'? One label.`"""
    frames = [_frame(text, first, last) for text in texts]
    begins, ends = Counter(begin for begin, _ in frames), Counter(end for _, end in frames)
    return [
        (begin, end)
        for (begin, end), n in Counter(frames).items()
        if n >= least and begin and n >= 0.7 * max(begins[begin], ends[end])
    ]


def _frame(text: str, first: int, last: int) -> tuple[str, str]:
    words = text.split()
    return (" ".join(words[:first]), " ".join(words[-last:])) if len(words) > first + last else ("", "")


def _lines(text: str) -> set[str]:
    found = {"\n" + match.group() for match in MARK.finditer(text) if match.start() > 0}
    return found | {f"\n{line}\n" for line in text.split("\n")[1:-1] if len(line.split()) >= 4}


# the template


def _template(roles: Texts, group: Group, system: list[int], turns: list[int], first: Group) -> Template:
    """What all rows of a group share, message by message."""
    slots: list[Slot] = []
    for i, role in enumerate(roles):
        texts = [row.texts[i] for row in group.rows]
        equal = len(set(texts)) == 1
        if (i in system and equal) or (i in turns and equal and len(texts) >= LEAST):
            slots.append(Slot(role, texts[0]))
        elif i in turns:
            slots.append(Slot(role, "", "", variable=True))
        elif i in system:
            slots.append(_variable(role, texts, [row.texts[i] for row in first.around], first))
        elif group.framed:
            before, after = framed(texts)
            slots.append(Slot(role, before, after, variable=True))
        else:
            slots.append(_variable(role, texts, [row.texts[i] for row in group.around], group))
    return Template(tuple(slots))


def _variable(role: str, texts: list[str], around: list[str], group: Group) -> Slot:
    before = beginning(around) if group.begins and len(set(around)) >= LEAST else ""
    own = [text[len(before) :] for text in texts]
    return Slot(role, before, ending(own) if group.begins or group.ends else "", variable=True)
