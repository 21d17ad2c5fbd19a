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
from freehold.traffic.find import find_templates, plain

__all__ = ["part", "task_of"]

def part(calls: Sequence[Call]) -> tuple[tuple[Task, tuple[Call, ...]], ...]:
    """Each task with its calls, the largest task first."""
    templates = _Templates(t for _, t in find_templates(calls))
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
        self._shapes: defaultdict[tuple[str, ...], dict[tuple[int, ...], dict[tuple[str, ...], list[Template]]]]
        self._shapes = defaultdict(dict)
        for template in sorted(dict.fromkeys(templates), key=_weight, reverse=True):
            roles = tuple(slot.role for slot in template.slots)
            fixed = tuple(i for i, slot in enumerate(template.slots) if not slot.variable)
            texts = tuple(template.slots[i].before for i in fixed)
            self._shapes[roles].setdefault(fixed, {}).setdefault(texts, []).append(template)

    def of(self, messages: Sequence[Message]) -> Template | None:
        texts = plain(messages)
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
