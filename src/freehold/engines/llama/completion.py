"""What an engine is asked, and what it answers: Request -> Completion, or Piece after Piece.

Request(messages=[{"role": "user", "content": "Hi"}], max_tokens=32)
Completion(text="Hello!", tokens=[19556, 17, 2], logprobs=[-0.2, -0.1, -0.01], stopped="eos", prompt_tokens=31, ...)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from freehold.errors import BadSetting, EngineFailed
from freehold.nouns import Message

__all__ = ["FIELDS", "Answers", "Completion", "Piece", "Request", "completion", "limit", "speculation"]

FIELDS = ["content", "tokens", "completion_probabilities", "stop_type", "tokens_evaluated", "timings"]  # asked for
STOPPED: dict[str, Literal["eos", "stop", "length"]] = {"eos": "eos", "word": "stop", "limit": "length"}
SPECULATION = {"ngram": {"kind", "match", "tokens"}, "draft": {"kind", "path", "tokens"}}


@dataclass(frozen=True, slots=True)
class Request:
    """What to answer: `messages`, or the ids of a whole prompt.

    `adapter` counts in the engine's adapters (None: the bare base). `schema` is a JSON schema that the answer is held
    to. `logprobs` is how many of the likeliest tokens to report at each position (0: the chosen one alone; None: not
    even that).
    `prefix`: how many leading ids to keep from question to question. Temperature 0 is greedy; above it, the same `seed`
    draws the same tokens.
    `gone` says whether nobody waits any more: it is asked between tokens, and ends the answer in the child.
    """

    messages: Sequence[Message] = ()
    prompt_ids: Sequence[int] | None = None
    max_tokens: int = 256
    adapter: int | None = None
    schema: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = 0
    temperature: float = 0.0
    seed: int = 0
    prefix: int = 0
    gone: Callable[[], bool] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step of a stream brought: whole characters only."""

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. `tokens` and `logprobs` include the end token where one was written (`stopped` is "eos").

    `logprobs` are of the bare model, before any schema; NaN for a token that ends inside a character (llama.cpp's
    server reports none for those). `top` holds, for each token, the likeliest ids and their log-probabilities.
    """

    text: str
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[dict[int, float]] = field(default_factory=list)
    stopped: Literal["eos", "stop", "length"] = "eos"
    prompt_tokens: int = 0
    seconds: float = field(default=0.0, compare=False)
    drafted: int = 0
    accepted: int = 0


class Answers(Protocol):
    """What a decoder student asks of an engine: the embedded one, or the scripted one of the tests."""

    @property
    def slots(self) -> int: ...
    def complete(self, request: Request, /) -> Completion: ...
    def ids(self, messages: Sequence[Message], /) -> list[int]: ...
    def end(self) -> int: ...
    def obeys(self, schema: Mapping[str, Any], /) -> None: ...
    def compiles(self, schema: Mapping[str, Any], /) -> bool: ...
    def with_adapter(self, path: Path, /) -> int: ...
    def cpu_seconds(self) -> float: ...
    def close(self) -> None: ...


def limit(request: Request, prompt: int, *, context: int, adapters: int) -> int:
    """How many tokens may be written after a prompt of `prompt` tokens; raises BadSetting for what can't be asked."""
    if request.adapter is not None and not 0 <= request.adapter < adapters:
        raise BadSetting(f"The engine has {adapters} adapters; there is no number {request.adapter}.")
    if request.prefix and request.prompt_ids is None:
        raise BadSetting("A kept prefix needs a prompt in ids.")
    if prompt < 1 or request.max_tokens < 1:
        raise BadSetting("A request needs a prompt of at least one token and max_tokens of at least 1.")
    if prompt >= context:
        raise BadSetting(
            f"The prompt has {prompt:,} tokens, and the engine's context {context:,}.",
            "Start it with a larger context.",
        )
    return min(request.max_tokens, context - prompt)


def speculation(said: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Checked: None, {"kind": "ngram", "match": 2, "tokens": 8} or {"kind": "draft", "path": ..., "tokens": 8}.

    ngram: where the last `match` tokens stood before in the prompt or the answer, the `tokens` that followed are tried.
    """
    if said is None:
        return None
    kind = str(said.get("kind"))
    if kind not in SPECULATION or set(said) != SPECULATION[kind]:
        raise BadSetting(f"The speculation {dict(said)} is not understood.", f"Known: {SPECULATION}.")
    return said


def completion(said: Mapping[str, Any], probs: list[dict[str, Any]], tokens: list[int], seconds: float) -> Completion:
    """From what llama.cpp's server says of a finished answer, in its own names."""
    rows = _aligned(tokens, probs)
    timings = said["timings"]
    return Completion(
        text=said["content"],
        tokens=tokens,
        logprobs=[math.nan if row is None else _number(row["logprob"]) for row in rows],
        top=[{} if row is None else {t["id"]: _number(t["logprob"]) for t in row["top_logprobs"]} for row in rows],
        stopped=STOPPED[said["stop_type"]],
        prompt_tokens=said["tokens_evaluated"],
        seconds=seconds,
        drafted=timings.get("draft_n", 0),
        accepted=timings.get("draft_n_accepted", 0),
    )


def _number(said: float | None) -> float:
    """llama.cpp writes null for what is no number."""
    if said is None:
        raise EngineFailed(
            "The embedded engine's log-probabilities are no numbers: the model's weights are damaged.",
            "Fetch or make the model again.",
        )
    return float(said)


def _aligned(tokens: Sequence[int], probs: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """One row a token; None where the server reports none, which is inside a character."""
    rows: list[dict[str, Any] | None] = []
    left = iter(probs)
    row = next(left, None)
    for token in tokens:
        fits = row is not None and row["id"] == token
        rows.append(row if fits else None)
        row = next(left, None) if fits else row
    return rows
