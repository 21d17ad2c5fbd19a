"""Private data in a log: how many calls hold which type, in which field, with an example of which only the shape shows.

    user: "write to ana@firm.example"  →  email, user: 1 call, 1 piece, "xxx@xxxx.xxxxxxx"

Texts that come again (a system prompt, a popular question) are looked at once: what was found is kept by the text's
hash, for the last texts seen. Rules find what they can (traffic.private); names they can't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from freehold.audit.tallies.tally import Seen
from freehold.nouns import Private
from freehold.traffic.private import CHECKED, Recogniser, find

__all__ = ["PrivateTally", "masked"]

FIELDS = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
          "function": "tool"}  # fmt: skip
KEPT = 50_000  # texts whose findings are remembered, in each of two generations
LONGEST = 40  # characters of an example
SEPARATORS = frozenset(" -._@:/+()#'%,=~")
Findings = tuple[tuple[str, int, str], ...]  # kind, pieces, masked example


class Row(msgspec.Struct):
    """Of one kind in one field; the example is the log's first, at (part, line)."""

    calls: int
    pieces: int
    part: int
    line: int
    example: str


class PrivateTally(msgspec.Struct):
    """Counts per kind and field, the two joined by a tab."""

    rows: dict[str, Row] = {}

    def add(self, seen: Sequence[Seen], /) -> None:
        of = RULES.of
        for one in seen:
            found: dict[str, tuple[int, str]] = {}
            call = one.call
            for field, text in texts_of(call.messages, call.row, call.answer, call.user):
                for kind, pieces, example in of(text):
                    name = f"{kind}\t{field}"
                    before = found.get(name)
                    found[name] = (pieces + before[0], before[1]) if before else (pieces, example)
            for name, (pieces, example) in found.items():
                self._count(name, Row(1, pieces, *one.order, example))

    def _count(self, name: str, more: Row) -> None:
        row = self.rows.get(name)
        if row is None:
            self.rows[name] = more
            return
        row.calls += more.calls
        row.pieces += more.pieces
        if (more.part, more.line) < (row.part, row.line):
            row.part, row.line, row.example = more.part, more.line, more.example

    def merge(self, later: PrivateTally, /) -> None:
        for name, row in later.rows.items():
            self._count(name, msgspec.structs.replace(row))

    def found(self) -> tuple[Private, ...]:
        """What the audit says: the kind and field in most calls first."""
        rows = sorted(self.rows.items(), key=lambda item: (-item[1].calls, item[0]))
        return tuple(
            Private(kind, field, row.calls, row.pieces, row.example, kind in CHECKED)
            for (kind, _, field), row in ((name.partition("\t"), row) for name, row in rows)
        )


def texts_of(
    messages: Sequence[Mapping[str, Any]], row: Mapping[str, Any], answer: str | None, user: str | None
) -> list[tuple[str, str]]:
    """Each text of a call with the field it stands in: what was asked, what was answered, and who asked."""
    texts: list[tuple[str, str]] = []
    for message in messages:
        _add(texts, message, FIELDS.get(message.get("role", ""), "user"))
    answered = False
    response = row.get("response")
    choices = response.get("choices") if isinstance(response, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        said = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(said, dict):
            answered = True
            _add(texts, said, "assistant")
    if not answered and answer:
        texts.append(("assistant", answer))
    if user:
        texts.append(("user id", user))
    return texts


def _add(texts: list[tuple[str, str]], message: Mapping[str, Any], field: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        texts.append((field, content))
    elif isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                texts.append((field, text))
    if "tool_calls" not in message and "function_call" not in message:
        return
    calls = message.get("tool_calls")
    asked = [c.get("function") for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    for function in (*asked, message.get("function_call")):
        given = function.get("arguments") if isinstance(function, dict) else None
        if given:
            texts.append(("tool arguments", given if isinstance(given, str) else msgspec.json.encode(given).decode()))


class Remembered:
    """What a recogniser found in the texts seen last, by their hash: two generations, the older one is dropped."""

    def __init__(self, find: Callable[..., Any] | Recogniser = find) -> None:
        self._find = find if callable(find) else find.find
        self._new: dict[int, Findings] = {}
        self._old: dict[int, Findings] = {}

    def of(self, text: str) -> Findings:
        key = hash(text)  # 64 bits, keyed anew in each process; kept in memory alone
        found = self._new.get(key)
        if found is not None:
            return found
        found = self._old.get(key)
        if found is None:
            found = self._look(text)
        if len(self._new) >= KEPT:
            self._old, self._new = self._new, {}
        self._new[key] = found
        return found

    def _look(self, text: str) -> Findings:
        said = self._find(text)
        if not said:
            return ()
        kinds: dict[str, tuple[int, str]] = {}
        for piece in said:
            pieces, example = kinds.get(piece.kind, (0, ""))
            kinds[piece.kind] = pieces + 1, example or masked(text[piece.start : piece.end])
        return tuple((kind, pieces, example) for kind, (pieces, example) in kinds.items())


RULES = Remembered()


def masked(piece: str) -> str:
    """The shape of it alone: x for a letter, 9 for a digit, usual separators as they are, and ? for the rest."""
    return "".join(map(_shape, piece[:LONGEST])) + ("..." if len(piece) > LONGEST else "")


def _shape(c: str) -> str:
    if c.isalnum():
        return "9" if c.isdigit() else "x"
    return c if c in SEPARATORS else "?"
