"""True stand-ins that answer from a dict, and keep what they were asked: for a student, and for the embedded engine.

ScriptedStudent({"where is my parcel": ("order_status", 0.998)}, otherwise=("other", 0.1))
ScriptedEngine({"where is my parcel": ('{"order": null}', 0.9)}, otherwise=("?", 0.1))
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from freehold.engines.llama.completion import Completion, Piece, Request, limit
from freehold.errors import EngineFailed, SchemaUnmet
from freehold.nouns import Answer, Message

__all__ = ["ScriptedEngine", "ScriptedStudent"]

START, END = 256, 257  # the scripted tokens: a text's bytes, and these two around each message
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


class ScriptedStudent:
    """Answers each text from `script`, else with `otherwise`; a text in neither raises KeyError.

    `asked` lists every text in order. Scores must be in [0, 1], as a real student's are.
    """

    def __init__(self, script: Mapping[str, tuple[str, float]], *, otherwise: tuple[str, float] | None = None) -> None:
        known = [*script.values(), *([otherwise] if otherwise else [])]
        for _, score in known:
            if not 0.0 <= score <= 1.0:
                raise ValueError(f"a score is {score}, which is not in [0, 1]")
        self.script = dict(script)
        self.otherwise = otherwise
        self.asked: list[str] = []

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        self.asked.extend(texts)
        return [Answer(*self._one(text)) for text in texts]

    def _one(self, text: str) -> tuple[str, float]:
        if text in self.script or self.otherwise is None:
            return self.script[text]
        return self.otherwise


class ScriptedEngine:
    """Answers as Engine does (llama/engine.py), from `script`: {what the last user message holds: (answer, its score)}.

    A token is a byte. Wrong requests are refused in the same words; a schema is checked for its types and required
    keys alone. `dies` is on how many of the next calls the engine dies: two running raise EngineFailed. `pace` is the
    seconds that a token is said to have taken, `drafts` the tokens drafted and accepted for each answer.
    """

    def __init__(
        self,
        script: Mapping[str, tuple[str, float]],
        *,
        otherwise: tuple[str, float] | None = None,
        context: int = 2048,
        slots: int = 1,
        adapters: Sequence[Path] = (),
        dies: int = 0,
        pace: float = 0.01,
        drafts: tuple[int, int] = (0, 0),
    ) -> None:
        self.script = dict(script)
        self.otherwise = otherwise
        self.context = context
        self.slots = slots
        self.adapters = list(adapters)
        self.dies = dies
        self.pace = pace
        self.drafts = drafts
        self.asked: list[Request] = []
        self.closed = False

    def template(self, messages: Sequence[Message]) -> str:
        """The prompt of the messages, one line for each, up to where the answer begins."""
        return "".join(f"<{m['role']}>{m['content']}</>" for m in messages) + "<assistant>"

    def tokenize(self, text: str, /, *, special: bool = True) -> list[int]:
        whole = text.encode()
        return [START, *whole] if special else list(whole)

    def ids(self, messages: Sequence[Message], /) -> list[int]:
        return self.tokenize(self.template(messages))

    def end(self) -> int:
        return END

    def with_adapter(self, path: Path, /) -> int:
        if path not in self.adapters:
            self.adapters.append(path)
        return self.adapters.index(path)

    def obeys(self, schema: Mapping[str, Any], /) -> None:
        if not self.compiles(schema):
            raise SchemaUnmet(f"The JSON schema can't be held to: {dict(schema)!r} is unsatisfiable.")

    def compiles(self, schema: Mapping[str, Any], /) -> bool:
        parts = [dict(part) for part in schema.get("allOf", [schema])]
        if any(part.get("type", "null") not in TYPES for part in parts):
            return False
        return all(_fits(part, other["const"]) for part in parts for other in parts if "const" in other)

    def complete(self, request: Request, /) -> Completion:
        self._check(request)
        ids = self.ids(request.messages) if request.prompt_ids is None else list(request.prompt_ids)
        room = limit(request, len(ids), context=self.context, adapters=len(self.adapters))
        if request.schema is not None:
            self.obeys(request.schema)
        self.asked.append(request)
        prompt = bytes(i for i in ids if i < START).decode(errors="replace")
        text, score = self._said(prompt.rpartition("<user>")[2].partition("</>")[0])
        cut = min((at for at in map(text.find, request.stop) if at >= 0), default=None)
        tokens = [*text[:cut].encode()] if cut is not None else [*text.encode(), END]
        stopped: Literal["eos", "stop", "length"] = "length" if len(tokens) > room else "eos" if cut is None else "stop"
        tokens = tokens[:room]
        return Completion(
            text=bytes(i for i in tokens if i < START).decode(errors="ignore"),
            tokens=tokens,
            logprobs=[math.nan if request.logprobs is None else math.log(score)] * len(tokens),
            top=[{token: math.log(score)} for token in tokens],
            stopped=stopped,
            prompt_tokens=len(ids),
            seconds=self.pace * len(tokens),
            drafted=self.drafts[0],
            accepted=self.drafts[1],
        )

    def complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        return [self.complete(request) for request in requests]

    def stream(self, request: Request) -> Generator[Piece, None, Completion]:
        """A character a piece."""
        whole = self.complete(request)
        for character in whole.text:
            yield Piece(character, tuple(character.encode()), (whole.logprobs[0],) * len(character.encode()))
        return whole

    def cpu_seconds(self) -> float:
        return self.pace * len(self.asked)

    def close(self) -> None:
        self.closed = True

    def _check(self, request: Request) -> None:
        if self.closed:
            raise EngineFailed("This engine has been closed.")
        died, self.dies = self.dies, max(0, self.dies - 2)
        if died >= 2:
            raise EngineFailed("The embedded engine died on the same call twice (as scripted).")

    def _said(self, text: str) -> tuple[str, float]:
        found = next((key for key in self.script if key in text), None)
        if found is None and self.otherwise is not None:
            return self.otherwise
        return self.script[text if found is None else found]


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return False
    if not isinstance(value, dict):
        return True
    within = schema.get("properties", {})
    return set(schema.get("required", ())) <= set(value) and all(
        _fits(within[k], value[k]) for k in within if k in value
    )
