"""A stage goes up only by evidence, a user stays in, and a bet that no evidence backs wins no more than its level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.serve.ladder.stage import GAPS, LEAST, LEVEL, Stage, evidence, who

STEPS = (0.01, 0.05, 0.25)


def through(bar: float, agreement: float, most: int, seed: int = 0) -> list[tuple[str, float, int]]:
    """Each step that a student takes within `most` pairs: its name, its share and the pairs so far."""
    stage = Stage(bar, STEPS)
    found: list[tuple[str, float, int]] = []
    for n, agrees in enumerate((np.random.default_rng(seed).random(most) < agreement).tolist(), 1):
        if stage.pair(agrees):
            found.append((stage.name, stage.share, n))
    return found


def test_what_each_step_must_show() -> None:
    """At bar 0.95 a tenth of the promise's wrong answers is 0.5 % of calls."""
    found = []
    for share in (0.0, *STEPS, 1.0):
        stage = Stage(0.95, STEPS, share=share)
        found.append((stage.name, stage.next, round(stage.least, 6)))
    assert found[:4] == [
        ("shadow", 0.01, 0.45), ("canary", 0.05, 0.85), ("canary", 0.25, 0.93), ("canary", 1.0, 0.945),
    ]  # fmt: skip
    assert Stage(0.5, (0.01,)).least == 0.0  # that it answers at all
    assert Stage(0.95, STEPS).level == pytest.approx(LEVEL / 4)


def test_a_good_student_goes_all_the_way() -> None:
    found = through(0.95, 0.98, 5000)
    assert [(name, share) for name, share, _ in found] == [
        ("canary", 0.01), ("canary", 0.05), ("canary", 0.25), ("full", 1.0),
    ]  # fmt: skip
    assert found[0][2] == LEAST
    assert found[-1][2] < 2500


def test_a_student_right_at_its_bar_gets_through_in_time() -> None:
    assert through(0.95, 0.95, 120_000)[-1][:2] == ("full", 1.0)


def test_the_reason_says_what_was_shown() -> None:
    stage = Stage(0.95, STEPS, share=0.01)
    why = next(why for why in (stage.pair(True) for _ in range(1000)) if why)
    assert why == stage.why
    assert why.endswith("pairs, 0 differ: P(agreement > 0.85) >= 0.9875")
    assert (stage.agree, stage.differ) == (0, 0)  # the next step's evidence starts here
    assert str(stage) == "canary at 0.05"


def test_no_step_below_the_least() -> None:
    stage = Stage(0.5, (0.01,))
    assert [stage.pair(False) for _ in range(LEAST)][:-1] == [None] * (LEAST - 1)
    assert stage.share == 0.01


@pytest.mark.parametrize("share", [0.05, 0.25])
def test_a_student_that_adds_too_much_seldom_goes_up(share: float) -> None:
    """At agreement exactly p0 at most 1.25 % of runs may ever go up."""
    draw, up = np.random.default_rng(3), 0
    for _ in range(100):
        stage = Stage(0.95, STEPS, share=share)
        up += any(stage.pair(agrees) for agrees in (draw.random(1000) < stage.least).tolist())
    assert up <= 4  # 100 runs at 1.25 %: 99 % of the time at most 4


@given(st.integers(0, 3000), st.integers(0, 300), st.floats(0.01, 0.999), st.floats(0.0, 1.0))
def test_a_bet_against_a_true_hypothesis_gains_nothing(agree: int, differ: int, least: float, part: float) -> None:
    """Whatever was seen: the next pair leaves the mean of the bet where it is at p0, and no higher below."""
    now = evidence(agree, differ, least)
    p = least * part
    after = math.log(
        p * math.exp(evidence(agree + 1, differ, least) - now)
        + (1 - p) * math.exp(evidence(agree, differ + 1, least) - now)
    )
    assert after <= 1e-9
    assert part < 1.0 or after == pytest.approx(0.0, abs=1e-9)


def test_bets_are_on_agreement_above_the_least() -> None:
    assert all(0.0 < gap < 1.0 for gap in GAPS)


@given(st.text(max_size=20), st.lists(st.floats(0.001, 0.999), min_size=2, max_size=5, unique=True))
def test_who_is_in_stays_in(who: str, shares: list[float]) -> None:
    steps = sorted(shares)
    inside = [Stage(0.95, steps, salt="s", share=share).at(who) for share in [0.0, *steps, 1.0]]
    assert inside == sorted(inside)
    assert (inside[0], inside[-1]) == (False, True)


def test_the_share_is_that_of_users_and_differs_from_rung_to_rung() -> None:
    users = [f"user {i}" for i in range(20_000)]
    one, other = (Stage(0.95, STEPS, salt=salt, share=0.05) for salt in ("a", "b"))
    inside = {u for u in users if one.at(u)}, {u for u in users if other.at(u)}
    assert all(800 < len(found) < 1200 for found in inside)  # 1,000; six standard deviations are 185
    assert len(inside[0] & inside[1]) < 110  # 50


@pytest.mark.parametrize(
    ("share", "resumed"), [(0.05, 0.05), (0.07, 0.05), (0.009, 0.0), (0.99, 0.25), (1.0, 1.0), (0.0, 0.0)]
)
def test_a_share_that_is_no_step_resumes_at_the_one_below(share: float, resumed: float) -> None:
    assert Stage(0.95, STEPS, share=share).share == resumed


def test_closed_is_for_good() -> None:
    stage = Stage(0.5, STEPS, share=1.0)
    stage.close()
    assert (stage.name, stage.share, stage.at("u")) == ("closed", 0.0, False)
    assert not any(stage.pair(True) for _ in range(100))


def test_without_steps_it_goes_from_shadow_to_full() -> None:
    stage = Stage(0.95)
    assert stage.next == 1.0
    assert stage.least == pytest.approx(0.945)


def test_whose_call_it_is() -> None:
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]
    answered = [*said, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "more"}]
    assert who({"user": "u-1", "messages": said}, "user", "team") == "user u-1"
    assert who({"messages": said}, "user", "team") == "key team"
    conversation = who({"messages": said})
    assert conversation.startswith("conversation ")
    assert "hello" not in conversation
    assert who({"messages": answered, "user": "u-1"}, "conversation", "team") == conversation
    turned = [{"content": "s", "role": "system"}, {"content": "hello", "role": "user"}]
    assert who({"messages": turned, "user": ""}) == conversation
    assert who({"messages": [{"role": "user", "content": "other"}]}) != conversation
    assert who({"messages": "?", "user": 5}) == who({})
    assert who({"messages": [{"role": "user", "content": "\ud800"}]}) != conversation
