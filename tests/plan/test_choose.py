"""The rule that turns options into one word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from freehold.nouns import Demand, Measure, ModelDemand, Option, Way
from freehold.plan.choose import choose, decision

BILL = 4_000.0


def option(way: Way, month: float, *, chance: float = 1.0, payback: float | None = 1.0, model: str = "",
           out: tuple[str, ...] = (), parts: dict[str, float] | None = None, once: float = 100) -> Option:  # fmt: skip
    def usd(value: float | None, unit: str = "USD/month") -> Measure:
        return Measure(value, value, value, 100, unit)

    return Option(
        way, f"the {way} one", model or way, usd(month), usd(12 * month), usd(once), usd(1), usd(BILL - month),
        Measure(chance), usd(None), Measure(None), Measure(payback, unit="months"), Measure(None), Measure(None),
        out=out, parts=parts or {},
    )  # fmt: skip


def demand(days_left: int | None = None) -> Demand:
    zero = Measure(0.0)
    part = ModelDemand(
        "gpt-x", 1.0, 9e8, 0.0, 1e8, Measure(BILL), "2027-01-14" if days_left is not None else "", days_left
    )
    return Demand(zero, Measure(9e8), zero, Measure(1e8), zero, Measure(BILL), models=(part,))


STAY = option("closed", BILL)


def test_stay_where_nothing_saves() -> None:
    advice = choose(demand(), [STAY, option("hosted", 5_000), option("rent", 9_000)])
    assert (advice.word, advice.way) == ("STAY", "closed")
    assert "$5,000" in advice.sentence
    assert "1,000 a month more, 1.2 times" in advice.rejected["the hosted one"]


@pytest.mark.parametrize(("way", "word"), [("cheaper", "STAY CHEAPER"), ("hosted", "HOSTED OPEN")])
def test_what_saves_surely_is_taken(way: Way, word: str) -> None:
    assert choose(demand(), [STAY, option(way, 1_000)]).word == word


def test_a_saving_that_is_not_sure_is_none() -> None:
    advice = choose(demand(), [STAY, option("cheaper", 1_000, chance=0.79)])
    assert advice.word == "STAY"
    assert "79 % of the draws only, not 80 %" in advice.rejected["the cheaper one"]
    assert choose(demand(), [STAY, option("cheaper", 1_000, chance=0.8)]).word == "STAY CHEAPER"


def test_own_machines_ask_for_a_proof_and_say_what_to_do_until_then() -> None:
    ways = [STAY, option("cheaper", 3_000), option("rent", 500)]
    advice = choose(demand(), ways)
    assert (advice.word, advice.way) == ("NEEDS PROOF", "rent")
    assert "until then: the cheaper one" in advice.instead[0]
    assert choose(demand(), ways, proved=True).word == "OWN"


def test_what_is_left_when_staying_ends_may_ask_for_a_proof() -> None:
    ways = [STAY, option("rent", 500), option("hosted", 900, out=("no",))]
    advice = choose(demand(40), ways)
    assert (advice.word, advice.way, advice.date) == ("NEEDS PROOF", "rent", "2027-01-14")
    assert "the rent one is what is left: no proof says yet" in advice.sentence
    assert choose(demand(40), ways, proved=True).word == "MUST MOVE BY"
    assert choose(demand(40), [STAY, option("rent", 500, out=("no",))]).word == "BLOCKED"


def test_own_machines_pay_back_within_a_year_or_are_not_taken() -> None:
    slow = option("buy", 500, payback=13.0)
    advice = choose(demand(), [STAY, slow], proved=True)
    assert advice.word == "STAY"
    assert "after 13 months" in advice.rejected["the buy one"]
    assert choose(demand(), [STAY, replace(slow, payback=Measure(12.0))], proved=True).word == "OWN"


def test_students_for_a_part_are_a_hybrid() -> None:
    ways = [STAY, option("here", 500, parts={"closed": 100.0})]
    assert choose(demand(), ways, proved=True).word == "HYBRID"


def test_within_five_per_cent_the_way_with_less_to_run_is_taken() -> None:
    ways = [STAY, option("cheaper", 1_000), option("rent", 1_000 - 0.05 * BILL)]
    assert choose(demand(), ways, proved=True).way == "cheaper"
    assert choose(demand(), [*ways[:2], option("rent", 999 - 0.05 * BILL)], proved=True).way == "rent"


def test_a_model_that_is_switched_off_must_be_left_also_where_staying_is_cheapest() -> None:
    advice = choose(demand(50), [STAY, option("cheaper", 5_000), option("hosted", 6_000)])
    assert (advice.word, advice.date, advice.way) == ("MUST MOVE BY", "2027-01-14", "cheaper")
    assert "which costs $5,000 a month in place of $4,000, and about $100 once" in advice.sentence
    assert decision(advice) == "move to another closed model"
    assert choose(demand(366), [STAY, option("cheaper", 5_000)]).word == "STAY"


def test_the_work_of_moving_counts_in_the_first_year() -> None:
    """Where a little bill must move, a way that costs more to get to isn't taken for cents a month."""
    ways = [STAY, option("cheaper", BILL - 1, once=1_500), option("hosted", BILL - 900, once=30_000)]
    advice = choose(demand(50), ways)
    assert advice.way == "cheaper"
    assert "less in the first year: the work of getting there is $30,000" in advice.rejected["the hosted one"]
    assert choose(demand(50), [*ways[:2], option("hosted", BILL - 900, once=3_000)]).way == "hosted"


def test_where_no_way_is_left_it_is_blocked() -> None:
    advice = choose(demand(50), [STAY, option("hosted", 100, out=("its licence forbids it",))])
    assert advice.word == "BLOCKED"
    assert "no other way is left" in advice.sentence
    assert advice.rejected["the hosted one"] == "its licence forbids it"


def test_a_model_that_was_asked_for_and_may_not_be_taken_is_the_answer() -> None:
    ways = [STAY, option("cheaper", 1_000), option("rent", 100, model="llama", out=("EU companies have no rights",))]
    advice = choose(demand(), ways, wanted="llama")
    assert advice.word == "BLOCKED"
    assert "llama can't be taken: EU companies have no rights" in advice.sentence
    assert "without it: Take the cheaper one" in advice.instead[0]


def test_what_is_declared_rules_ways_out_and_is_priced_apart() -> None:
    ways = [STAY, option("cheaper", 1_000), option("buy", 3_000, payback=6.0)]
    free = choose(demand(), ways, proved=True)
    kept = choose(demand(), ways, proved=True, declared={"privacy": "house"})
    assert (free.word, kept.word) == ("STAY CHEAPER", "OWN")
    (constraint,) = kept.constraints
    assert constraint.costs.value == pytest.approx(2_000)
    assert kept.figure.value == pytest.approx(1_000)  # against staying, as without it
    assert "privacy = 'house' is declared" in kept.rejected["the cheaper one"]
    (nothing,) = choose(demand(), ways, proved=True, declared={"privacy": "own", "continuity": "owned"}).constraints[1:]
    assert nothing.name == "continuity"
