"""Does speculation pay on these prompts? Guessed tokens are checked several at once: quicker where guesses are right.

    speculate(settings, requests) -> Speculation(on=False, why="n-gram 2 to 4: 3 of 100 drafted tokens were right, ...")

    each setting ─the first prompts→ how fast beside none ─the best→ the other prompts → on, or not

The two engines take turns, so that a busy machine slows both; a ratio compares one prompt with itself. It is on only
where it wins by MARGIN on prompts that did not choose it, its interval excludes "no faster", and every answer is the
same with the same log-probabilities: a score is made of them, and what is kept home depends on it. (llama.cpp's server
tells none of a drafted token, as of 2026-11: where they are asked for, speculation is measured and stays off.) n-gram
speculation needs no second model: what followed the last tokens where they stood before is tried again. A
draft model is tried the same way where one is given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.stats import t

from freehold.engines.llama.completion import Completion, Request
from freehold.engines.llama.engine import Engine
from freehold.engines.llama.process import Settings
from freehold.errors import BadSetting
from freehold.nouns import Measure
from freehold.tell import Tell, quiet

__all__ = ["FEWEST", "MARGIN", "NGRAMS", "Speculation", "speculate"]

MARGIN = 0.10  # how much faster it must be to be worth a setting more
FEWEST = 8  # prompts to choose with, and at least as many to decide with
LEAST = 3  # prompts of a try that a time limit doesn't end
CLOSE = 1e-3  # nat between two log-probabilities that count as the same: sums of several tokens are split otherwise
METHOD = "mean of logarithms, t 95 %"
NGRAMS: tuple[Mapping[str, Any], ...] = (
    {"kind": "ngram", "match": 2, "tokens": 4},
    {"kind": "ngram", "match": 3, "tokens": 8},
    {"kind": "ngram", "match": 6, "tokens": 12},
)


class Runs(Protocol):
    def complete(self, request: Request, /) -> Completion: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Speculation:
    """`setting` is the best one tried, to be used only where `on`. `acceptance` is the share of drafted tokens that
    were right, `ratio` how many times as fast an answer is with it, prompt included. `same` of the `n` answers are the
    same text, `scored` of them with the same log-probabilities. `tried`: the first ratio of each.
    """

    setting: Mapping[str, Any]
    acceptance: Measure
    with_it: Measure
    without: Measure
    ratio: Measure
    same: int
    scored: int
    n: int
    on: bool
    why: str
    tried: tuple[tuple[Mapping[str, Any], Measure], ...]


def speculate(
    settings: Settings,
    requests: Sequence[Request],
    *,
    draft: Path | None = None,
    start: Callable[[Settings], Runs] = Engine,
    seconds: float = math.inf,
    tell: Tell = quiet,
) -> Speculation:
    """Try speculation on the team's prompts, greedy, one at a time. After about `seconds` fewer prompts decide, 3 at
    least. Raises BadSetting for fewer than 16 prompts."""
    if len(requests) < 2 * FEWEST:
        raise BadSetting(f"Speculation is tried on {2 * FEWEST} prompts or more; there are {len(requests)}.")
    candidates = [*NGRAMS, *([{"kind": "draft", "path": str(draft), "tokens": 8}] if draft is not None else [])]
    first, rest = requests[:FEWEST], requests[FEWEST:]
    ends = [time.monotonic() + seconds * (i + 1) / (len(candidates) + 1) for i in range(len(candidates) + 1)]
    plain = start(replace(settings, speculation=None))
    try:
        tried = []
        for i, setting in enumerate(candidates):
            tell("try speculation", i / len(ends))
            tried.append((setting, _ratio(_pairs(plain, start, settings, setting, first, ends[i]))))
        best = max(tried, key=lambda one: one[1].value or 0.0)[0]
        tell("try speculation", len(candidates) / len(ends))
        found = _decided(best, _pairs(plain, start, settings, best, rest, ends[-1]), tuple(tried))
        tell("try speculation", 1.0)
        return found
    finally:
        plain.close()


Pair = tuple[Completion, Completion]


def _pairs(
    plain: Runs,
    start: Callable[[Settings], Runs],
    settings: Settings,
    setting: Mapping[str, Any],
    asked: Sequence[Request],
    end: float,
) -> list[Pair]:
    """Each prompt without and with it; which goes first takes turns. `end`: no new one is begun after it."""
    eager = start(replace(settings, speculation=setting))
    try:
        for engine in (plain, eager):
            engine.complete(asked[0])  # a first call loads the file's pages
        pairs: list[Pair] = []
        for i, request in enumerate(asked):
            if i >= LEAST and time.monotonic() > end:
                break
            order = (plain, eager) if i % 2 else (eager, plain)
            said = [engine.complete(request) for engine in order]
            pairs.append((said[0], said[1]) if i % 2 else (said[1], said[0]))
        return pairs
    finally:
        eager.close()


def _decided(setting: Mapping[str, Any], pairs: Sequence[Pair], tried: tuple[Any, ...]) -> Speculation:
    ratio = _ratio(pairs)
    drafted = sum(b.drafted for _, b in pairs)
    accepted = sum(b.accepted for _, b in pairs)
    same = sum(a.text == b.text for a, b in pairs)
    scored = sum(a.text == b.text and _close(a.logprobs, b.logprobs) for a, b in pairs)
    assert ratio.value is not None
    assert ratio.low is not None
    wins = drafted > 0 and ratio.value >= 1 + MARGIN and ratio.low > 1
    return Speculation(
        setting=setting,
        acceptance=Measure(accepted / drafted if drafted else None, n=drafted, method="share of drafted tokens"),
        with_it=_speed([b for _, b in pairs]),
        without=_speed([a for a, _ in pairs]),
        ratio=ratio,
        same=same,
        scored=scored,
        n=len(pairs),
        on=wins and scored == len(pairs),
        why=f"{_facts(setting, ratio, drafted, accepted, len(pairs))}{_off(wins, same, scored, len(pairs))}.",
        tried=tried,
    )


def _close(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether both say the same of each token, "not known" (NaN) included."""
    return len(ours) == len(theirs) and all(
        math.isnan(a) == math.isnan(b) and not abs(a - b) > CLOSE for a, b in zip(ours, theirs, strict=True)
    )


def _facts(setting: Mapping[str, Any], ratio: Measure, drafted: int, accepted: int, n: int) -> str:
    guessed = f"{accepted:,} of {drafted:,} drafted tokens were right" if drafted else "nothing was drafted"
    speed = f"{ratio.value:.2f} times as fast ({ratio.low:.2f} to {ratio.high:.2f}, n = {n})"
    return f"{_named(setting)}: {guessed}, {speed}"


def _off(wins: bool, same: int, scored: int, n: int) -> str:
    if not wins:
        return f"; it is on only from {1 + MARGIN:.2f}, with an interval above 1"
    if same < n:
        return f"; it is not on, because {n - same} of {n} answers are not the same"
    if scored < n:
        return (
            f"; it is not on, because of {n - scored} of {n} answers the engine gives other log-probabilities, or none"
        )
    return ", and every answer is the same"


def _named(setting: Mapping[str, Any]) -> str:
    if setting["kind"] == "draft":
        return f"draft model {Path(setting['path']).name}"
    return f"n-gram {setting['match']} to {setting['tokens']}"


def _ratio(pairs: Sequence[Pair]) -> Measure:
    return _log_mean([a.seconds / b.seconds for a, b in pairs], "times")


def _speed(said: Sequence[Completion]) -> Measure:
    return _log_mean([len(one.tokens) / one.seconds for one in said], "tokens/s")


def _log_mean(values: Sequence[float], unit: str) -> Measure:
    """Geometric mean with its interval."""
    logs = np.log(np.array(values))
    half = float(t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    middle = float(logs.mean())
    return Measure(math.exp(middle), math.exp(middle - half), math.exp(middle + half), len(logs), unit, METHOD)
