"""A log's answers, parsed: leaves by path, and how the JSON is put down.

    '{"intent": "Book", "slots": {"dish": ["soup", "tea"], "when": null}}'
    Parsed.leaves   {("intent",): "Book", ("slots", "dish"): ["soup", "tea"], ("slots", "when"): None}
    Parsed.keys     {(): ("intent", "slots"), ("slots",): ("dish", "when")}      of every object with something in it

A list of texts and numbers is one leaf; a list that holds objects is an object whose keys are 0, 1, 2, ...
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.engines.extract.form import Path, Style

__all__ = ["Parsed", "parse_all", "style_of"]

LOOKED_AT = 500
DEEPEST = 8
FENCE = ("```json\n", "\n```")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One answer: a leaf is a text, a number, true, false, null, a list of those, or an empty object or list."""

    answer: Any
    leaves: dict[Path, Any]
    keys: dict[Path, tuple[str | int, ...]]


def parse_all(answers: Sequence[str]) -> list[Parsed | None]:
    """None where an answer is no JSON object or list of objects."""
    return [_parsed(text) for text in answers]


def _parsed(text: str) -> Parsed | None:
    text = text.strip()
    if text.startswith(FENCE[0]) and text.endswith(FENCE[1]):
        text = text[len(FENCE[0]) : -len(FENCE[1])]
    try:
        answer = json.loads(text, parse_constant=_refuse)
        if not isinstance(answer, dict | list) or not _proper(answer, 0):
            return None
        json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):  # also half of a surrogate pair, and 1e999: nobody could be sent them
        return None
    leaves: dict[Path, Any] = {}
    keys: dict[Path, tuple[str | int, ...]] = {}
    for path, value in _walk((), answer, keys):
        leaves[path] = value
    return Parsed(answer, leaves, keys)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _proper(value: Any, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth <= DEEPEST and all(_proper(v, depth + 1) for v in inner)


def _walk(path: Path, value: Any, keys: dict[Path, tuple[str | int, ...]]) -> Iterator[tuple[Path, Any]]:
    nested = isinstance(value, list) and any(isinstance(v, dict | list) for v in value)
    if nested or (isinstance(value, dict) and value):
        inner = dict(enumerate(value)) if nested else value
        keys[path] = tuple(inner)
        for key, one in inner.items():
            yield from _walk((*path, key), one, keys)
    elif path:
        yield path, value


def style_of(answers: Sequence[str], parsed: Sequence[Parsed | None]) -> Style:
    """The style that most of the first answers are written in, to the letter."""
    some = [(a.strip(), p.answer) for a, p in zip(answers, parsed, strict=True) if p is not None][:LOOKED_AT]
    fenced = sum(a.startswith(FENCE[0]) for a, _ in some) * 2 > len(some)
    before, after = FENCE if fenced else ("", "")
    forms = [
        Style(item, key, indent, ascii, before, after)
        for item, key, indent in ((", ", ": ", None), (",", ":", None), (",", ": ", 2), (",", ": ", 4))
        for ascii in (False, True)
    ]
    hits = Counter({i: sum(form.dump(answer) == text for text, answer in some) for i, form in enumerate(forms)})
    return forms[max(range(len(forms)), key=lambda i: (hits[i], -i))]
