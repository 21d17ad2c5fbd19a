"""Guessing ahead: Leviathan's worked numbers, the check's price with many streams, and don't."""

from __future__ import annotations

import re

import pytest
from tests.plan.speed.test_speed import LLAMA_8B, MIXTRAL, card

from freehold.errors import BadSetting
from freehold.facts import facts
from freehold.fit import Architecture
from freehold.plan.speed.calibrate import calibration
from freehold.plan.speed.speculate import DRAFT, asked, best, checking, expected, gain, needed


@pytest.mark.parametrize(
    ("accepted", "ahead", "guess", "times"), [(0.8, 4, 0.05, 2.80), (0.6, 4, 0.1, 1.65), (0.5, 4, 0.2, 1.08)]
)
def test_the_published_gains(accepted: float, ahead: int, guess: float, times: float) -> None:
    assert gain(accepted, ahead, guess) == pytest.approx(times, abs=0.005)


def test_one_free_guess_brings_its_acceptance() -> None:
    """DeepSeek-V3: 85 to 90 % accepted, 1.85 to 1.90 tokens a step."""
    assert gain(0.85, 1, 0.0) == pytest.approx(1.85)
    assert expected(0.9, 1) == pytest.approx(1.9)
    assert expected(1.0, 3) == 4


def test_the_best_number_and_dont() -> None:
    good, bad = best(0.8, guess=0.05), best(0.3, guess=0.2)
    assert good.worth
    assert good.gain >= gain(0.8, 4, 0.05)
    assert not bad.worth
    assert bad.why.startswith("don't")
    assert bad.ahead == 1


def test_with_many_streams_the_check_is_not_free() -> None:
    h100, dense = card("h100"), Architecture.of(LLAMA_8B)
    few, many = (checking(dense, h100, "FP8", gpus=1, streams=n, context=512) for n in (1, 512))
    assert few(4) == pytest.approx(1, abs=0.2)
    assert many(4) > 2
    assert not best(0.7, guess=0.1, check=many).worth
    assert best(0.7, guess=0.1, check=few).worth


def test_experts_make_the_check_dearer() -> None:
    h100 = card("h100")
    dense, mixed = (
        checking(Architecture.of(c), h100, "FP8", gpus=2, streams=1, context=64)(4) for c in (LLAMA_8B, MIXTRAL)
    )
    assert mixed > 1.8 * dense


def test_an_absurd_acceptance_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"Acceptance is 1\.2"):
        expected(1.2, 4)


def test_many_streams_ask_for_more_than_one() -> None:
    hardware = facts().get("hardware", "h100-sxm")
    alone = needed(
        guess=DRAFT, check=checking(Architecture.of(LLAMA_8B), hardware, "BF16", gpus=1, streams=1, context=1000)
    )
    many = needed(
        guess=DRAFT, check=checking(Architecture.of(LLAMA_8B), hardware, "BF16", gpus=1, streams=256, context=1000)
    )
    assert alone is not None
    assert 0.1 < alone < 0.4  # reading the weights is most of a step, and checking is nearly free
    assert many is None or many > alone
    assert needed(guess=DRAFT, check=lambda ahead: float(ahead + 1)) is None  # checking as dear as writing: never


def test_what_guessing_asks_for_is_a_sentence() -> None:
    by = calibration(card("h100-sxm"), "BF16")
    said = asked(Architecture.of(LLAMA_8B), card("h100-sxm"), "BF16", gpus=1, streams=64, context=1000, by=by)
    assert re.fullmatch(
        r"A draft model .* one call at a time from \d+% .*, with 64 at once (never|from \d+% .*)\.", said
    )
