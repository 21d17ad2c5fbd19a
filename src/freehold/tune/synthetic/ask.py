"""The asking: row by row into made.jsonl, each row whole or not there; a run that was killed goes on behind the last.

    made.jsonl   {"text": "where is my money", "stopped": "eos", "seconds": 0.21}

The seeds are in the asks, and the engine has one slot: the same asks give the same words, killed or not. The time is
that of the asking alone, of all runs together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from freehold.engines.llama.completion import Completion, Request
from freehold.nouns import Message
from freehold.project.storage import Appender, read_bytes
from freehold.tell import Tell
from freehold.tune.synthetic.made import Ask, Said
from freehold.tune.synthetic.prompts import TEMPERATURE

__all__ = ["CONTEXT", "NAME", "Bounds", "Writes", "ask_all", "bounds_of"]

NAME = "made.jsonl"
CONTEXT = 4096
MOST = 512  # tokens of one text


class Writes(Protocol):
    """What is asked of a teacher: the engine, or the scripted one."""

    def complete(self, request: Request, /) -> Completion: ...
    def ids(self, messages: Sequence[Message], /) -> list[int]: ...


class Bounds(msgspec.Struct, frozen=True):
    """Tokens of a text, seconds of all; `one_line` where no logged text has a second line."""

    text: int
    seconds: float
    one_line: bool


def bounds_of(texts: Sequence[str], seconds: float) -> Bounds:
    """Room for half as much again as the longest logged one, at about 3 characters a token."""
    room = min(MOST, max(map(len, texts), default=0) // 2 + 16)
    return Bounds(room, seconds, not any("\n" in text for text in texts))


def ask_all(
    asks: Sequence[Ask],
    messages: Callable[[Ask], list[Message]],
    engine: Writes,
    work: Path,
    bounds: Bounds,
    *,
    what: str = "ask the teacher",
    tell: Tell,
) -> list[Said]:
    """What the teacher said to the first asks: to all of them, unless the time is up. Raises EngineFailed,
    StorageFailed."""
    file = Appender(work / NAME)
    try:
        said = msgspec.json.decode(b"[" + read_bytes(work / NAME).replace(b"\n", b",").rstrip(b",") + b"]",
                                   type=list[Said])  # fmt: skip
        spent = sum(one.seconds for one in said)
        for ask in asks[len(said) :]:
            if spent >= bounds.seconds:
                tell(f"the time is up after {len(said):,} of {len(asks):,} rows")
                break
            one = _one(ask, messages, engine, bounds)
            file.append(one)
            said.append(one)
            spent += one.seconds
            tell(what, len(said) / len(asks))
    finally:
        file.close()
    return said[: len(asks)]


def _one(ask: Ask, messages: Callable[[Ask], list[Message]], engine: Writes, bounds: Bounds) -> Said:
    """What it said; a prompt that leaves no room for a text is not asked."""
    ids = engine.ids(messages(ask))
    if len(ids) + bounds.text > CONTEXT:
        return Said("", "too long")
    found = engine.complete(
        Request(
            prompt_ids=ids,
            max_tokens=bounds.text,
            stop=("\n",) if bounds.one_line else (),
            logprobs=None,
            temperature=TEMPERATURE,
            seed=ask.seed,
            prefix=len(ids) - 1,  # a prompt is asked several times, and read once
        )
    )
    return Said(found.text.strip(), found.stopped, found.seconds)
