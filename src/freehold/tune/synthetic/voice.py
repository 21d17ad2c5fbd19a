"""What is asked of a teacher, in words, and what it said: the engine on this machine, or a host (host.py).

    Wanted(messages, tokens=40, stop=("\\n",), temperature=0.8, seed=7) ─say→ Said(text, stopped="eos", seconds=0.2)

stopped   eos, stop: whole · length: cut · too long: no room for an answer, so it was not asked · refused: by its host
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from freehold.engines.llama.completion import Completion, Request
from freehold.nouns import Message
from freehold.tune.synthetic.made import Said

__all__ = ["CONTEXT", "Local", "Speaks", "Wanted", "Writes"]

CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """`schema`: a JSON schema that the answer is held to. `again`: the prompt is asked several times, and read once."""

    messages: Sequence[Message]
    tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    schema: Mapping[str, Any] | None = None
    again: bool = False


class Speaks(Protocol):
    """A teacher at work. `parallel`: how many it may be asked for at a time."""

    parallel: int

    def say(self, wanted: Wanted, /) -> Said: ...


class Writes(Protocol):
    """The embedded engine, or the scripted one."""

    def complete(self, request: Request, /) -> Completion: ...
    def ids(self, messages: Sequence[Message], /) -> list[int]: ...


class Local:
    """The engine has one slot, so that the same seed writes the same words."""

    parallel = 1

    def __init__(self, engine: Writes) -> None:
        self._engine = engine

    def say(self, wanted: Wanted, /) -> Said:
        ids = self._engine.ids(wanted.messages)
        if len(ids) + wanted.tokens > CONTEXT:
            return Said("", "too long")
        found = self._engine.complete(
            Request(
                prompt_ids=ids,
                max_tokens=wanted.tokens,
                schema=wanted.schema,
                stop=wanted.stop,
                logprobs=None,
                temperature=wanted.temperature,
                seed=wanted.seed,
                prefix=len(ids) - 1 if wanted.again else 0,
            )
        )
        return Said(found.text.strip(), found.stopped, found.seconds)
