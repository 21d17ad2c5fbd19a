"""decoder.json and own.json of what was tuned: the prompt, the room that a call takes, the schema if there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from freehold.engines.decoder import Prompt, Recipe, as_logged
from freehold.nouns import Message, Task

__all__ = ["Room", "own_json", "recipe_of", "room", "room_of", "schema_of"]

STEP = 64  # contexts and answers come in multiples of it
AFFORDABLE = 1500  # ids of a prompt with examples: at 8 long ones a call would take half a minute on a CPU
SPARE = 1.5  # times the longest logged one: an answer may be longer than any before it


@dataclass(frozen=True, slots=True)
class Room:
    """In ids: of a whole call, and of an answer. `shown`: how many examples there is room for, at most."""

    context: int
    answer: int
    shown: int = 0


class Reads(Protocol):
    def ids(self, messages: Sequence[Message], /) -> list[int]: ...
    def tokenize(self, text: str, /) -> list[int]: ...


def room_of(longest_prompt: int, longest_answer: int, most: int) -> Room:
    """Half as much again as any logged call took, within what the base was made for."""
    answer = _up(SPARE * longest_answer + 8)
    return Room(min(most, _up(SPARE * longest_prompt) + answer), min(answer, most))


def room(engine: Reads, task: Task, texts: Sequence[str], answers: Sequence[str], shown: int, most: int) -> Room:
    """The room for a call with `shown` examples, by the longest texts and answers; fewer examples, one at least, where
    a middling prompt would have more than AFFORDABLE ids with them."""
    prompt = Prompt.of(task.template)
    text, answer = max(texts, key=len), max(answers, key=len)
    said = len(engine.tokenize(answer))
    bare = len(engine.ids(prompt.messages(text)))
    middle = sorted(map(len, answers))[len(answers) // 2]
    example = next(i for i, a in enumerate(answers) if len(a) == middle)
    one = len(engine.ids(prompt.messages(text, [(texts[example], answers[example])]))) - bare
    usual = len(engine.ids(prompt.messages(sorted(texts, key=len)[len(texts) // 2])))
    k = max(1, min(shown, (AFFORDABLE - usual) // max(1, one)))
    wide = max(bare, min(bare + k * one, int(AFFORDABLE / SPARE)))
    return replace(room_of(wide, said, most), shown=k)


def recipe_of(task: Task, size: Room, *, answers: Sequence[str], quant: str) -> Recipe:
    """That of the adapter; a rival differs in its mode and examples. A schema takes the blanks of the log's answers."""
    schema = schema_of(task)
    return Recipe(
        mode="adapter",
        prompt=Prompt.of(task.template),
        context=size.context,
        max_tokens=size.answer,
        schema=None if schema is None else as_logged(schema, answers),
        quant=quant,
    )


def schema_of(task: Task) -> dict[str, Any] | None:
    """The JSON schema that every call asked for (response_format), or None."""
    said = task.params.get("response_format", [])
    found = said[0] if len(said) == 1 and isinstance(said[0], dict) else {}
    form = found.get("json_schema") if found.get("type") == "json_schema" else None
    schema = form.get("schema") if isinstance(form, dict) else None
    return schema if isinstance(schema, dict) else None


def own_json(texts: Sequence[str], answers: Sequence[str]) -> bytes:
    """own.json: the rows that nothing was learned from."""
    return msgspec.json.encode({"texts": list(texts), "answers": list(answers)})


def _up(ids: float) -> int:
    return -(-int(ids) // STEP) * STEP
