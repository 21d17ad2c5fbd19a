"""The form of a task's JSON answers: what is copied, what is chosen, and how it is written down again.

{"intent": "Book", "slots": {"city": "Oslo", "dish": ["soup", "tea"], "when": null}}

labels   ("intent",)         one of ["Book", "Rate", ...]; a label may also be: key left out
spans    ("slots", "city")   copied from the input by a rule (extract/rules.py); many: never | sometimes | always a list
empty    what stands where nothing was found: the key left out (""), or a JSON text (null, "", [], "unknown"),
         by the value of the governor, the label on which the presence of the others depends most
order    of the keys of each object: fixed, or as their values stand in the input

Writer(form).write(labels, spans, text) -> the answer's text, with the log's separators, escapes and fences
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from freehold.engines.extract.rules import Value, value

__all__ = ["Form", "Label", "Node", "Path", "Span", "SpanField", "Style", "Writer"]

Path = tuple[str | int, ...]
Span = tuple[int, int, int]  # span field, first and last-but-one character in the text
ABSENT = ""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field whose value is one of few: JSON texts, "" for a key that is left out."""

    path: Path
    values: tuple[str, ...]


class SpanField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field copied from the input. `empty` by the governor's value; `layer`: fields whose spans may overlap are
    tagged in different layers."""

    path: Path
    rule: str
    many: Literal["never", "sometimes", "always"]
    empty: tuple[str, ...]
    layer: int = 0


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object or a list of objects: what stands for it where nothing is in it, by the governor's value, and the
    order of its keys (None: as their values stand in the input)."""

    path: Path
    empty: tuple[str, ...]
    order: tuple[str | int, ...] | None


class Style(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the JSON is put down: `before` and `after` it (a code fence), separators, indent, escapes."""

    item: str = ", "
    key: str = ": "
    indent: int | None = None
    ascii: bool = False
    before: str = ""
    after: str = ""

    def dump(self, answer: Any) -> str:
        separators = (self.item, self.key)
        text = json.dumps(answer, ensure_ascii=self.ascii, separators=separators, indent=self.indent)
        return self.before + text + self.after


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`governor` is the index of a label, -1 where there is none. `pieces`: spans may begin inside a word.
    `allowed` [governor's values][...] are the span fields, and the `choices` per label, seen with each; `needed` are
    those that every logged answer with it has."""

    root: Literal["object", "list"]
    labels: tuple[Label, ...]
    spans: tuple[SpanField, ...]
    nodes: tuple[Node, ...]
    governor: int
    allowed: tuple[tuple[int, ...], ...]
    choices: tuple[tuple[tuple[int, ...], ...], ...]
    style: Style
    pieces: bool = False
    needed: tuple[tuple[int, ...], ...] = ()

    @property
    def layers(self) -> int:
        return max((field.layer for field in self.spans), default=-1) + 1

    def layer(self, which: int) -> list[int]:
        """The span fields of one layer; its tags are 0 (outside), then 2k + 1 (first word of field k), 2k + 2."""
        return [i for i, field in enumerate(self.spans) if field.layer == which]


class Writer:
    """Writes answers of one form."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._nodes = {node.path: node for node in form.nodes}
        keys: dict[Path, dict[str | int, None]] = {path: {} for path in self._nodes}
        for path in [*(f.path for f in form.labels), *(f.path for f in form.spans), *self._nodes]:
            for depth in range(len(path)):
                keys[path[:depth]].setdefault(path[depth])
        self._keys = {path: list(found) for path, found in keys.items()}

    def write(self, labels: Sequence[int], spans: Sequence[Span], text: str) -> str | None:
        """The answer's text; None where a rule makes nothing of a span, or a field is missing that no logged answer
        lacks (the answer can't be written)."""
        form = self.form
        governor = labels[form.governor] if form.governor >= 0 else 0
        if form.needed and not {field for field, _, _ in spans}.issuperset(form.needed[governor]):
            return None
        leaves: dict[Path, Any] = {}
        places: dict[Path, int] = {}
        for i, field in enumerate(form.spans):
            own = sorted(s for s in spans if s[0] == i)
            made = [value(field.rule, text[a:b]) for _, a, b in own]
            if any(m is None for m in made):
                return None
            if own:
                leaves[field.path] = _shaped(made, field.many)
                places[field.path] = own[0][1]
            elif field.empty[governor] != ABSENT:
                leaves[field.path] = json.loads(field.empty[governor])
        for label, chosen in zip(form.labels, labels, strict=True):
            if label.values[chosen] != ABSENT:
                leaves[label.path] = json.loads(label.values[chosen])
        built = self._build((), leaves, places, governor)
        return form.style.dump(built[0] if built else [] if form.root == "list" else {})

    def _build(
        self, path: Path, leaves: Mapping[Path, Any], places: Mapping[Path, int], governor: int
    ) -> tuple[Any, int] | None:
        """The value at a path and where its first word stands (-1: nowhere); None where there is nothing at it."""
        if path in leaves:
            return leaves[path], places.get(path, -1)
        node = self._nodes.get(path)
        if node is None:
            return None
        found = {key: b for key in self._keys[path] if (b := self._build((*path, key), leaves, places, governor))}
        if not found:
            return None if node.empty[governor] == ABSENT else (json.loads(node.empty[governor]), -1)
        first = min((at for _, at in found.values() if at >= 0), default=-1)
        if any(isinstance(key, int) for key in found):
            return [found[key][0] for key in sorted(found, key=_place)], first
        keys = sorted(found, key=lambda k: found[k][1]) if node.order is None else node.order
        return {key: found[key][0] for key in keys if key in found}, first


def _place(key: str | int) -> tuple[bool, str | int]:
    """Of a list's items: 2 before 10."""
    return isinstance(key, str), key


def _shaped(made: Sequence[Value | None], many: str) -> Any:
    return list(made) if many == "always" or (many == "sometimes" and len(made) > 1) else made[0]
