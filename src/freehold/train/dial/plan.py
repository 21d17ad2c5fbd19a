"""From a size to a whole plan: steps, schedule, looks on the way; what a person said stands over all of it.

size_of(corpus, budget, given, ...) -> Size    decide(size, budget, given, speed) -> Plan, with its reasons
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting, BaseUnusable
from freehold.fit import Architecture
from freehold.train.dial.batch import betas, rate
from freehold.train.dial.overrides import SHAPE
from freehold.train.dial.say import reasons
from freehold.train.dial.shapes import rungs
from freehold.train.dial.size import FORWARD, LOOKING, Budget, Size, SpeedOf, climb, sized
from freehold.train.dial.speed import Speed
from freehold.train.model import shape_of
from freehold.train.nouns import Corpus, Plan, Shape

__all__ = ["context_of", "decide", "size_of"]

WARM, MOST_WARM = 0.05, 2000  # of the steps
LEAST, DECAY, CLIP, BALANCE = 0.0, 0.1, 1.0, 0.01
LOOKS, LOOK = 20, 64  # looks at held-out text on the way, at most; rows that one takes at least
CHARACTERS = 1.5  # bytes a token: below, a token is about a character


def size_of(
    corpus: Corpus, budget: Budget, given: Mapping[str, Any], *, moe: bool, start: Path | None, speed_of: SpeedOf
) -> Size:
    """Raises BadSetting, BaseUnusable, TooLittleMemory."""
    if start is not None:
        a, shape = _begun(start, corpus, given)
        return sized(shape, a, budget, speed_of)
    ladder = rungs(given, vocabulary=corpus.vocabulary, context=lambda width: context_of(width, corpus), moe=moe)
    return climb(ladder, budget, speed_of)


def context_of(width: int, corpus: Corpus) -> int:
    """A power of two; shorter where a token is a character, and where there is little text."""
    wanted = 1024 if width >= 768 else 512 if width >= 512 else 256
    if corpus.bytes_per_token < CHARACTERS:
        wanted //= 2
    return _within(wanted, corpus)


def _within(wanted: int, corpus: Corpus) -> int:
    while wanted > 16 and 8 * wanted > min(corpus.tokens, corpus.held_out_tokens):
        wanted //= 2
    return wanted


def _begun(start: Path, corpus: Corpus, given: Mapping[str, Any]) -> tuple[Architecture, Shape]:
    """A model keeps its shape; rows may be shorter than the longest that it was made for."""
    kept = [name for name in given if name in SHAPE and name != "context"]
    if kept:
        raise BadSetting(f"{kept[0]} can't be set: the model that is trained on keeps its shape.", "Leave it out.")
    try:
        config = msgspec.json.decode((start / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BaseUnusable(f"{start} has no config.json that can be read: {error}.", "Give another base.") from error
    shape = shape_of(config)
    asked = given.get("context", _within(min(512, shape.context), corpus))
    if asked > shape.context:
        raise BadSetting(f"context is {asked}, and the model was made for {shape.context}.", "Give at most that.")
    return Architecture.of(config, str(start)), replace(shape, context=asked)


def decide(
    size: Size, budget: Budget, given: Mapping[str, Any], speed: Speed, *, again: bool = False, seed: int = 0
) -> Plan:
    """`again`: of a model that has learned before. Raises BadSetting."""
    shape, rows = size.shape, given.get("rows", size.rows)
    steps = given.get("steps", max(1, round(size.tokens / (rows * shape.context))))
    tokens = steps * rows * shape.context
    plan = Plan(
        shape=shape,
        rows=rows,
        steps=steps,
        rate=rate(size.active, tokens, again=again),
        warm=min(MOST_WARM, max(1, round(WARM * steps))) if steps > 1 else 0,
        schedule="linear",
        least=LEAST,
        decay=DECAY,
        betas=betas(rows * shape.context),
        clip=CLIP,
        balance=BALANCE if shape.experts else 0.0,
        dtype=speed.dtype,
        evals=min(LOOKS, max(1, int(LOOKING * rows * steps / FORWARD / LOOK))),
        seed=seed,
        threads=speed.threads,
    )
    plan = replace(plan, **{name: value for name, value in given.items() if name not in SHAPE})
    if plan.warm >= plan.steps and plan.warm:
        raise BadSetting(f"warm is {plan.warm}, of {plan.steps} steps.", "Give fewer than there are steps.")
    return replace(plan, why=reasons(plan, size, budget, speed, given, again=again))
