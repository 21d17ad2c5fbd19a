"""Whether a call is one of a task that never leaves the house, though it has another form than the task's calls.

    the same messages    a role developer for system, content in parts, further fields, other white space
    the task's words     all its fixed texts of 20 characters and more stand somewhere in the request (a task that has
                         none so long: all its fixed texts), whatever stands around them

White space, punctuation and capitals don't count. A call of another task is that task's where the words are in its own
template too. What is not found: a template that was said in other words, translated, encoded, or only in part.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from freehold.nouns import Call, Template
from freehold.serve.ladder.route import Decision, Rung

__all__ = ["stays"]

LEAST = 20  # characters of a fixed text that is some task's own
APART = re.compile(r"[\W_]+")
FORM = "it has this task's words in another form"


def stays(call: Call, body: dict[str, Any], decision: Decision, rungs: Sequence[Rung]) -> Decision:
    """`decision`, or the refusal of a call that may be one of a task with leaves = false. `body` is the request."""
    kept = [one for one in rungs if not one.leaves]
    if not kept or decision.where == "refused" or any(one.task.name == decision.task for one in kept):
        return decision
    messages = [_plain(message) for message in call.messages]
    said = _squeezed("".join(_texts(body)))
    own = next((_squeezed("".join(_fixed(one.task.template))) for one in rungs if one.task.name == decision.task), "")
    for one in kept:
        marks = [mark for mark in _marks(one.task.template) if mark not in own]
        same = not decision.task and _as_system(one.task.template).variables(messages) is not None
        if same or (marks and all(mark in said for mark in marks)):
            return Decision("refused", "never_leaves", one.task.name, FORM)
    return decision


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its role and its text alone."""
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(text for text in texts if isinstance(text, str))
    return {"role": "system" if role == "developer" else role, "content": content}


@lru_cache(256)
def _as_system(template: Template) -> Template:
    return Template(tuple(replace(s, role="system") if s.role == "developer" else s for s in template.slots))


def _fixed(template: Template) -> list[str]:
    return [text for slot in template.slots for text in (slot.before, *slot.inside, slot.after)]


@lru_cache(256)
def _marks(template: Template) -> tuple[str, ...]:
    fixed = _fixed(template)
    long = [text for text in fixed if len(" ".join(text.split())) >= LEAST]
    return tuple(mark for text in long or fixed if (mark := _squeezed(text)))


def _squeezed(text: str) -> str:
    """Letters and digits alone, all small."""
    return APART.sub("", text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def _texts(value: Any) -> list[str]:
    """Every text in it, in order."""
    found: list[str] = []
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            left += reversed(one.values())
        elif isinstance(one, list):
            left += reversed(one)
    return found
