"""Which open model may stand in, and what rules each of the others out."""

from __future__ import annotations

from datetime import date

import pytest

from freehold.errors import BadSetting
from freehold.facts import facts
from freehold.nouns import Candidate
from freehold.plan.candidates import ARENA, arena, candidates, wanted
from freehold.plan.demand import by_hand
from freehold.plan.law.company import Company

FACTS = facts()
EUROPE = Company(eu=True, country="DE")


def looked(model: str, company: Company | None = None, longest: float | None = None, only: str = "") -> list[Candidate]:
    demand = by_hand(1e9, model, share=0.75, calls=None, today=date(2026, 11, 25))
    return candidates(demand, FACTS, company or Company(), longest=longest, only=only)


def of(found: list[Candidate], model: str) -> Candidate:
    return next(one for one in found if one.model == model)


def test_every_model_on_file_is_looked_at_and_those_that_may_be_taken_come_first() -> None:
    found = looked("gpt-4o")
    assert {one.model for one in found} == {row.id for row in FACTS.rows("models")}
    first_out = next(place for place, one in enumerate(found) if one.out)
    assert first_out > 0
    assert all(one.out for one in found[first_out:])


def test_what_is_plainly_weaker_or_has_no_figure_is_ruled_out() -> None:
    found = looked("gpt-4o")
    least = arena("gpt-4o", FACTS)
    assert least is not None
    for one in found:
        if not one.out:
            assert one.quality[ARENA] >= least.values["low"]
    assert "below 1,282: gpt-4o's lower limit" in of(found, "llama-3-70b").out[-1]
    assert of(found, "gpt-oss-120b").out == ("no arena score is published of it; --model takes it all the same",)


def test_without_a_figure_of_the_closed_model_only_the_better_half_is_taken() -> None:
    found = looked("gpt-6-luna")
    scored = [one for one in found if ARENA in one.quality]
    able = [one for one in found if not one.out]
    assert 0 < len(able) <= (len(scored) + 1) / 2
    assert "none is published of the model in use" in of(found, "llama-3.2-1b").out[0]


def test_a_licence_rules_out_by_who_asks() -> None:
    assert not of(looked("gpt-4o"), "llama-4-maverick").out
    assert "European Union" in of(looked("gpt-4o", EUROPE), "llama-4-maverick").out[0]


def test_a_context_that_is_too_short_rules_out() -> None:
    one = of(looked("gpt-4o", longest=60_000), "qwen3-32b")
    assert one.out == ("it reads 40,960 tokens, and the longest calls need 60,000",)


def test_a_model_that_was_named_is_held_to_no_leaderboard() -> None:
    (one,) = looked("gpt-4o", only="gpt-oss-120b")
    assert one.out == ()
    assert (one.parameters, one.openness, one.licence) == (116_829_156_672, "III", "gpt-oss")


@pytest.mark.parametrize("name", ["legal-bert", "stable-diffusion-1.5"])
def test_what_writes_no_text_can_not_be_wished_for(name: str) -> None:
    with pytest.raises(BadSetting, match="writes no text"):
        wanted(name, FACTS)
