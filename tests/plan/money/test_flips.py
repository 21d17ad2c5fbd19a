"""What would flip the advice; and the decisions that every plan must come to, through the money and the rule."""

from __future__ import annotations

from datetime import date

import pytest

from freehold.facts import PriceBook
from freehold.facts.tables import Facts
from freehold.nouns import Advice, Assumption, Flip, Measure
from freehold.plan.choose import choose
from freehold.plan.demand import by_hand
from freehold.plan.money.cost import FEW, Money
from freehold.plan.money.flips import flips
from freehold.plan.money.own import own_setups
from freehold.plan.money.ranges import ranges
from freehold.plan.money.setups import Setup, closed_setups, hosted_setups

TODAY = date(2026, 11, 25)
BOOK = PriceBook()


def decided(
    tokens: float, model: str, *, today: date = TODAY, closed: int = 3, open: tuple[str, ...] = (),
    rate: float = 8000.0, proved: bool = False, **own: float,
) -> tuple[Advice, dict[str, Flip], Money]:  # fmt: skip
    """A plan's decision from three numbers, with an H100 that runs gpt-oss-120b beside it, and what would flip it."""
    facts = Facts()
    demand = by_hand(tokens, model, share=0.75, calls=None, today=today)
    setups: list[Setup] = list(closed_setups(demand, BOOK, today, facts, most=closed))
    setups += hosted_setups(open, demand, BOOK, facts, today)
    card = facts.get("hardware", "h100-sxm")
    setups += own_setups("gpt-oss-120b", card, facts=facts, gpus=1, rate=Measure(rate, 0.7 * rate, 1.3 * rate))
    bills = [one for one in setups[0].bills.values() if one is not None]
    price = float(sum(one.total[0] for one in bills)) / tokens * 1e6
    given = {name.replace("_", "-"): value for name, value in own.items()}
    rested = ranges(demand, facts, setups=setups, present=price, own=given)
    full = Money(demand, setups, rested, book=BOOK, facts=facts, today=today)
    few = Money(demand, setups, rested, book=BOOK, facts=facts, today=today, draws=FEW)

    def word(fixed: dict[str, float]) -> str:
        advice = choose(demand, few.options(fixed, quick=True), proved=proved)
        return f"{advice.word}: {advice.way}"

    turned = flips(word, rested, now=word({}), facts=facts)
    return choose(demand, full.options(), proved=proved), {flip.assumption: flip for flip in turned}, full


def test_ten_million_tokens_a_month_stay_where_they_are() -> None:
    then = date(2024, 6, 1)
    advice, turned, drawn = decided(1e7, "gpt-4-turbo", today=then, closed=0, open=("llama-3-70b",))
    now = drawn.options()[0]
    assert advice.word == "STAY"
    assert now.year.high is not None
    assert now.year.high <= 3600
    assert "costs" in " ".join(advice.rejected.values()) or "saves in" in " ".join(advice.rejected.values())
    assert turned["volume"].at is not None
    assert turned["volume"].at > 2e7


def test_a_billion_tokens_on_gpt_4o_must_move_and_a_cheaper_model_takes_most_off() -> None:
    advice, turned, drawn = decided(1e9, "gpt-4o")
    assert (advice.word, advice.date, advice.way) == ("MUST MOVE BY", "2027-01-14", "cheaper")
    found = {option.name: option for option in drawn.options({"reasoning": 1.0, "volume": 1e9, "tokeniser": 1.0})}
    luna, rented = found["gpt-6-luna at OpenAI"], next(o for o in found.values() if o.way == "rent")
    assert found["gpt-4o as now"].month.value == pytest.approx(4375)
    assert luna.month.value == pytest.approx(200)
    assert rented.saves.value is not None
    assert luna.saves.value is not None
    assert rented.saves.value < luna.saves.value
    assert turned["rent-h100-sxm"].least < 2.95 < turned["rent-h100-sxm"].most


def test_two_billion_steady_tokens_on_a_four_dollar_model_go_to_open_ones() -> None:
    hosted, _, _ = decided(2e9, "gpt-6.1-sol", closed=0, open=("gpt-oss-120b",), peak=1.3)
    assert hosted.word == "HOSTED OPEN"
    owned, _, drawn = decided(2e9, "gpt-6.1-sol", closed=0, peak=1.3, proved=True, overhead=0.0)
    assert owned.word == "OWN"
    unproved, _, _ = decided(2e9, "gpt-6.1-sol", closed=0, peak=1.3, overhead=0.0)
    assert unproved.word == "NEEDS PROOF"
    assert drawn.options()[0].month.value == pytest.approx(8000, rel=0.01)


def test_the_bill_doubles_on_the_first_of_december() -> None:
    bills = [
        decided(1e9, "gemini-4-argon", today=date(2026, 11, 30))[2],
        decided(1e9, "gemini-4-argon", today=date(2026, 12, 1))[2],
    ]
    before, after = (drawn.options({"volume": 1e9})[0].month.value for drawn in bills)
    assert before is not None
    assert after is not None
    assert after / before == pytest.approx(2)


def one(name: str, value: float, low: float, high: float, unit: str = "factor", log: bool = True) -> Assumption:
    return Assumption(name, value, low, high, unit, "", "", log=log)


def test_a_flip_is_the_nearest_value_on_either_side() -> None:
    volume = one("volume", 1e6, 9e5, 1.1e6, "tokens/month")

    def word(fixed: dict[str, float]) -> str:
        at = fixed.get("volume", 1e6)
        return "OWN" if at > 3.7e6 else "STAY" if at > 2.5e4 else "STAY CHEAPER"

    (found,) = flips(word, [volume], now="STAY")
    assert found.becomes == "OWN"
    assert found.at == pytest.approx(3.7e6, rel=0.01)
    assert (found.least, found.most) == (1e4, 1e8)


def test_an_assumption_that_changes_nothing_is_robust() -> None:
    (found,) = flips(lambda fixed: "STAY", [one("share", 0.1, 0.0, 0.2, "share", log=False)], now="STAY")
    assert found.at is None
    assert (found.least, found.most) == (0.0, 1.0)


def test_those_that_flip_come_first_and_the_nearest_of_them_first() -> None:
    def word(fixed: dict[str, float]) -> str:
        return "OWN" if fixed.get("far", 1) > 5 or fixed.get("near", 1) > 1.5 else "STAY"

    given = [one("never", 1, 0.9, 1.1), one("far", 1, 0.5, 9), one("near", 1, 0.5, 3)]
    assert [flip.assumption for flip in flips(word, given, now="STAY")] == ["near", "far", "never"]
