"""Speculation is on only where it pays: margin, interval, and the same answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.engines.llama.completion import Request
from freehold.engines.llama.process import Settings
from freehold.engines.llama.speculate import NGRAMS, speculate
from freehold.engines.scripted import ScriptedEngine
from freehold.errors import BadSetting

ASKED = [Request([{"role": "user", "content": f"ask number {i}"}]) for i in range(24)]
SETTINGS = Settings(Path("model.gguf"))


class Start:
    """Starts scripted engines: `pace` seconds a token without speculation, and with it what `paces` says."""

    def __init__(
        self, paces: Callable[[dict[str, object]], float], otherwise: str = "yes", spread: float = 0.0
    ) -> None:
        self.paces, self.otherwise, self.spread = paces, otherwise, spread
        self.started: list[ScriptedEngine] = []

    def __call__(self, settings: Settings) -> ScriptedEngine:
        said = settings.speculation
        pace = 0.01 if said is None else self.paces(dict(said))
        text = "yes" if said is None else self.otherwise
        engine = Uneven({}, otherwise=(text, 0.9), pace=pace, drafts=(0, 0) if said is None else (40, 10))
        engine.spread = itertools.cycle((1 + self.spread, 1 - self.spread)) if said else itertools.repeat(1.0)
        self.started.append(engine)
        return engine


class Uneven(ScriptedEngine):
    """One whose pace wavers."""

    spread: itertools.cycle[float] | itertools.repeat[float]

    def complete(self, request: Request, /):  # type: ignore[no-untyped-def]
        said = super().complete(request)
        return replace(said, seconds=said.seconds * next(self.spread))


def test_it_is_on_where_it_wins_and_the_best_setting_is_taken() -> None:
    start = Start(lambda said: 0.005 if said["match"] == 3 else 0.009)
    found = speculate(SETTINGS, ASKED, start=start)
    assert found.on
    assert found.setting == {"kind": "ngram", "match": 3, "tokens": 8}
    assert found.ratio.value == pytest.approx(2.0)
    assert (found.n, found.same, found.scored, found.ratio.n) == (16, 16, 16, 16)
    assert found.acceptance.value == pytest.approx(0.25)
    assert found.with_it.value == pytest.approx(2 * (found.without.value or 0))
    assert [setting for setting, _ in found.tried] == list(NGRAMS)
    assert all(engine.closed for engine in start.started)


@pytest.mark.parametrize(
    ("pace", "otherwise", "spread", "why"),
    [
        (0.0095, "yes", 0.0, "only from 1.10"),  # it wins by too little
        (0.02, "yes", 0.0, "0.50 times as fast"),
        (0.0098, "yes", 0.5, "only from 1.10"),  # the interval doesn't exclude "no faster"
        (0.005, "no", 0.0, "16 of 16 answers are not the same"),
    ],
)
def test_else_it_is_off_and_says_why(pace: float, otherwise: str, spread: float, why: str) -> None:
    found = speculate(SETTINGS, ASKED, start=Start(lambda _: pace, otherwise, spread))
    assert not found.on
    assert why in found.why


def test_a_draft_model_is_tried_beside_the_ngrams() -> None:
    start = Start(lambda said: 0.004 if said["kind"] == "draft" else 0.01)
    found = speculate(SETTINGS, ASKED, draft=Path("small.gguf"), start=start)
    assert found.on
    assert found.setting["path"] == "small.gguf"
    assert "draft model small.gguf" in found.why


def test_too_few_prompts_decide_nothing() -> None:
    with pytest.raises(BadSetting, match="16 prompts or more; there are 15"):
        speculate(SETTINGS, ASKED[:15], start=Start(lambda _: 0.01))


class Unscored(Uneven):
    """One that does not tell what it knew of a drafted token, as llama.cpp's server."""

    def complete(self, request: Request, /):  # type: ignore[no-untyped-def]
        said = super().complete(request)
        known = said.logprobs[:1]
        return replace(said, logprobs=[*known, *[math.nan] * (len(said.logprobs) - 1)])


def test_without_the_log_probabilities_of_the_drafted_it_is_off() -> None:
    def start(settings: Settings) -> ScriptedEngine:
        kind, pace = (Uneven, 0.01) if settings.speculation is None else (Unscored, 0.005)
        drafts = (0, 0) if settings.speculation is None else (40, 10)
        engine = kind({}, otherwise=("yes", 0.9), pace=pace, drafts=drafts)
        engine.spread = itertools.repeat(1.0)
        return engine

    found = speculate(SETTINGS, ASKED, start=start)
    assert (found.on, found.same, found.scored) == (False, 16, 0)
    assert "of 16 of 16 answers the engine gives other log-probabilities, or none." in found.why
    unasked = [replace(request, logprobs=None) for request in ASKED]  # where nobody needs them
    assert speculate(SETTINGS, unasked, start=Start(lambda _: 0.005)).on


def test_a_time_limit_leaves_three_prompts_to_each() -> None:
    start = Start(lambda _: 0.005)
    found = speculate(SETTINGS, ASKED, start=start, seconds=0.0)
    assert (found.on, found.n) == (True, 3)
    assert [ratio.n for _, ratio in found.tried] == [3, 3, 3]
    assert len(start.started[0].asked) == 4 * (1 + 3)
