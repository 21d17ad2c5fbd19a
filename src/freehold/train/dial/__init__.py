"""One dial, minutes or tokens: width, depth, batch, rate and schedule follow, each with its reason.

    overrides   what a person decides instead         shapes    the ladder: one number, all else by rule
    speed       seconds an id, measured here          enough    20 tokens a parameter; what repeats are worth
    size        the largest that has enough to learn  batch     ids a step and the rate
    memory      what it takes here                    plan      the rest of it      say       the reasons in words

dial(corpus, minutes=10) -> Plan(Shape(2, 96, ...), rows=24, steps=2300, rate=3.5e-3, ..., why=("Size: ...", ...))
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from freehold.errors import BadSetting
from freehold.launch.job import Parallel
from freehold.tell import Tell, quiet
from freehold.train.nouns import Corpus, Plan

__all__ = ["dial"]


def dial(
    corpus: Corpus,
    *,
    minutes: float | None = None,
    tokens: int | None = None,
    moe: bool = False,
    start: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    threads: int = 0,
    processes: int = 1,
    parallel: Parallel = "none",
    card: float = 0.0,
    seed: int = 0,
    tell: Tell = quiet,
) -> Plan:
    """The plan for these minutes on the clock of an unshared machine, or for these tokens; one of the two.

    `overrides`: of Shape's and Plan's fields, by name. `threads` of each process: 0 is one, or its share of the cores
    where that pays. `start`: the Hugging Face folder of a model that is trained on.
    `parallel`: how `processes` share it. `card`: bytes of the card that each has on other machines; nothing is measured
    then. Raises BadSetting, BaseUnusable, TooLittleMemory, MissingExtra.
    """
    if (minutes is None) == (tokens is None):
        raise BadSetting("Minutes or tokens decide a training, and one of them.", "Give --minutes or --tokens.")
    from freehold.train.dial.memory import checked
    from freehold.train.dial.overrides import read
    from freehold.train.dial.plan import decide, size_of
    from freehold.train.dial.size import Budget
    from freehold.train.dial.speed import measured, on_cards

    given = read(overrides or {})
    most = max(1, len(os.sched_getaffinity(0)) // processes)
    speed_of = partial(measured, threads=threads, most=most, dtype=given.get("dtype"), start=start, tell=tell)
    seconds = None if minutes is None else 60 * minutes
    budget = Budget(corpus.tokens, corpus.held_out_tokens, seconds, tokens, processes, parallel, card)
    size = size_of(corpus, budget, given, moe=moe, start=start, speed_of=speed_of)
    speed = size.speed or (on_cards(given.get("dtype"), threads) if card else speed_of(size.shape, size.rows))
    said = decide(size, budget, given, speed, again=start is not None, seed=seed)
    if said.rows < processes and parallel != "tp":
        raise BadSetting(f"rows is {said.rows}, and {processes} processes share them.", "Set one for each, or more.")
    return checked(said, corpus.held_out_tokens, start, parallel, processes, card)
