"""What each way costs: the worked arithmetic of published break-evens, and that options of one plan hang together."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from freehold.errors import BadSetting
from freehold.facts import PriceBook
from freehold.facts.tables import Facts
from freehold.nouns import Assumption, Demand, Measure, Option
from freehold.plan.demand import by_hand
from freehold.plan.money.bills import MONTHS, Bill, bill, mix_of
from freehold.plan.money.cost import FEW, Money, options
from freehold.plan.money.own import own_setups
from freehold.plan.money.ranges import ranges, tokens
from freehold.plan.money.setups import Setup, closed_setups, hosted_setups, student_setup

TODAY = date(2026, 11, 25)
BOOK = PriceBook()
PLAIN = {
    "growth": 1.0, "closed-price-change": 1.0, "hosted-price-change": 1.0, "tokeniser": 1.0, "reasoning": 1.0,
    "fallback": 0.0, "peak": 1.0, "speed": 1.0, "people": 0.0, "overhead": 0.0,
}  # fmt: skip
"""Nothing but the price of tokens and of one machine, as the worked examples have it."""
TENTH = {"people": 0.1, "salary": 180_000.0}  # $1,500 a month


def asked(total: float, model: str, share: float = 0.75, today: date = TODAY) -> Demand:
    return by_hand(total, model, share=share, calls=None, today=today)


def stay(demand: Demand, today: date = TODAY) -> Setup:
    return closed_setups(demand, BOOK, today, Facts(), most=0)[0]


def machine(price: float, rate: float | None = None, **more: object) -> Setup:
    """One rented device at a price an hour; without a rate it is never full."""
    return Setup(
        "rent", "one rented machine", "llama-3.3-70b", hardware="h100-sxm", gpus=1, replicas=1,
        load=None if rate else 1e-12, rate=Measure(rate) if rate else None, hourly=(price, price, price),
        people="people", days="days-own", **more,  # type: ignore[arg-type]
    )  # fmt: skip


def money(
    demand: Demand, *setups: Setup, today: date = TODAY, draws: int = 400, **fixed: float
) -> dict[str, Option]:  # fmt: skip
    facts = Facts()
    all_of = (stay(demand, today), *setups)
    rested = ranges(demand, facts, setups=all_of)
    given = {"volume": tokens(demand), **{name.replace("_", "-"): value for name, value in fixed.items()}}
    known = {one.name for one in rested}
    found = options(
        demand, all_of, rested, book=BOOK, facts=facts, today=today, draws=draws,
        fixed={name: value for name, value in given.items() if name in known},
    )  # fmt: skip
    return {option.name: option for option in found}


def even(model: str, setup: Setup, **fixed: float) -> float | None:
    return money(asked(1e9, model), setup, **{**PLAIN, **fixed})[setup.name].break_even.value


@pytest.mark.parametrize(
    ("model", "alone", "staffed"), [("gpt-4o", 133e6, 476e6), ("gpt-5", 170e6, 606e6), ("gpt-6-luna", 2.92e9, 10.4e9)]
)
def test_the_volume_at_which_a_gpu_of_80_cents_breaks_even(model: str, alone: float, staffed: float) -> None:
    assert even(model, machine(0.8)) == pytest.approx(alone, rel=0.01)
    assert even(model, machine(0.8), **TENTH) == pytest.approx(staffed, rel=0.01)


@pytest.mark.parametrize(
    ("model", "volume"),
    [("claude-opus-5-5", 0.457e9), ("gpt-6.1-sol", 0.913e9), ("gpt-6.1-terra", 1.83e9), ("gpt-6-luna", 18.3e9)],
)
def test_the_volume_at_which_an_h100_with_a_tenth_of_a_person_breaks_even(model: str, volume: float) -> None:
    assert even(model, machine(2.95), **TENTH) == pytest.approx(volume, rel=0.01)


def test_a_machine_that_is_full_before_it_pays_never_breaks_even() -> None:
    found = money(asked(1e9, "gpt-6-luna"), machine(0.8, 1000.0), **PLAIN)["one rented machine"]
    assert found.break_even.value is None
    assert "never" in found.break_even.method
    assert found.utilisation.value is None
    assert "1.1 times" in found.utilisation.method


def test_the_load_at_which_an_h100_with_gpt_oss_120b_breaks_even() -> None:
    # 8,021 tokens/s at $2.95: $0.102 a million when full, so 51 % against $0.20
    found = money(asked(1e9, "gpt-6-luna"), machine(2.95, 8021.0), **PLAIN)["one rented machine"]
    assert found.utilisation.value == pytest.approx(0.51, abs=0.005)


@pytest.mark.parametrize(("share", "year"), [(0.75, 1800), (0.5, 2400), (0.0, 3600)])
def test_ten_million_tokens_a_month_on_gpt_4_turbo(share: float, year: float) -> None:
    then = date(2024, 6, 1)
    found = money(asked(1e7, "gpt-4-turbo", share, then), today=then, **PLAIN)["gpt-4-turbo as now"]
    assert found.year.value == pytest.approx(year)
    assert found.month.value == pytest.approx(year / 12)
    assert found.per_million.value == pytest.approx(year / 120)


def test_a_price_that_is_announced_is_in_the_months_after_its_day() -> None:
    before, after = (
        money(asked(1e9, "gemini-4-argon"), today=day, **PLAIN)["gemini-4-argon as now"]
        for day in (date(2026, 11, 30), date(2026, 12, 1))
    )
    assert before.month.value == pytest.approx(4000)
    assert after.month.value == pytest.approx(8000)
    assert before.months[1][1] == pytest.approx(8000)
    assert any("announced" in note for note in before.notes)
    assert not any("announced" in note for note in after.notes)


def test_cached_tokens_and_the_batch_cost_less() -> None:
    demand = asked(1e9, "gpt-4o")
    cached = replace(demand, cached=Measure(6e8))
    cached = replace(cached, models=(replace(demand.models[0], cached=6e8),))
    assert money(cached, **PLAIN)["gpt-4o as now"].month.value == pytest.approx(150 * 2.5 + 600 * 1.25 + 250 * 10)
    half = replace(demand, batch=Measure(1.0))
    assert money(half, **PLAIN)["gpt-4o as now"].month.value == pytest.approx(4375 / 2)


def test_a_long_prompt_is_priced_in_its_band() -> None:
    short = by_hand(1e9, "claude-haiku-5-5", share=0.75, calls=1e6, today=TODAY)
    long = by_hand(1e9, "claude-haiku-5-5", share=0.75, calls=5e3, today=TODAY)  # 150,000 tokens each
    costs = [bill(mix_of(demand), "claude-haiku-5-5", BOOK, TODAY) for demand in (short, long)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[1].total[0] / costs[0].total[0] == pytest.approx(5)


def test_a_price_by_the_hour_is_the_mean_of_a_week() -> None:
    found = bill(mix_of(asked(1e9, "deepseek-v4-flash", 1.0)), "deepseek-v4-flash", BOOK, TODAY)
    row = Facts().get("hosted", "deepseek/deepseek-v4-flash")
    assert found is not None
    assert found.total[0] == pytest.approx(row.values["input"] * 1000)


def test_a_model_without_a_price_leaves_the_bill_unknown() -> None:
    demand = asked(1e9, "house-model-1")
    found = money(demand, machine(2.95))
    assert found["house-model-1 as now"].month.value is None
    assert found["one rented machine"].saves.value is None
    assert any("no price on file" in note for note in found["house-model-1 as now"].notes)


def test_replicas_follow_the_peak_and_the_spare_of_the_replay_stays() -> None:
    demand = asked(1e9, "gpt-4o")
    plain = {**PLAIN, **TENTH}
    one = machine(1.0, 1000.0)  # 380 tokens/s mean: full at a peak of 2.6 times the mean
    for peak, replicas in ((1.0, 1), (2.4, 1), (5.0, 2), (13.0, 5)):
        found = money(demand, one, **{**plain, "peak": peak})["one rented machine"]
        assert found.parts["machines"] == pytest.approx(replicas * 730.5)
    spare = replace(one, load=1.5, rate=None, replicas=3)
    assert money(demand, spare, **plain)["one rented machine"].parts["machines"] == pytest.approx(
        3 * 730.5 * 1, rel=0.5
    )


def test_bought_machines_bear_their_wear_and_pay_back_in_cash() -> None:
    demand, facts = asked(5e9, "gpt-4o"), Facts()
    bought = own_setups("gpt-oss-120b", facts.get("hardware", "h100-sxm"), facts=facts, gpus=1, load=0.5)[1]
    assert bought.way == "buy"
    assert bought.capital == (30_000, 21_000, 39_000)
    fixed = {**PLAIN, "residual": 0.3, "life": 36.0, "servers": 1.0, "colo": 0.0, "electricity": 0.1, "pue": 1.5,
             "power": 1.0, "days-own": 0.0}  # fmt: skip
    found = money(demand, replace(bought, capital=(30_000.0,) * 3), **fixed)[bought.name]
    assert found.parts["machines"] == pytest.approx(30_000 * 0.7 / 36)
    assert found.energy.value == pytest.approx(0.7 * 1.5 * 730.5)
    assert found.parts["power"] == pytest.approx(0.7 * 1.5 * 730.5 * 0.1)
    saved = 5 * 4375 - found.parts["power"]  # cash: the wear isn't paid a month
    assert found.payback.value == pytest.approx(30_000 / saved)


def test_students_leave_the_rest_at_the_closed_price() -> None:
    demand = asked(1e9, "gpt-4o")
    setup = student_setup((0.4, 0.3, 0.5), Measure(0.0816, unit="USD/h", method="a small machine"))
    found = money(demand, setup, **{**PLAIN, "home": 0.4, "people-students": 0.0})[setup.name]
    assert found.parts["closed"] == pytest.approx(0.6 * 4375)
    assert found.parts["machines"] == pytest.approx(0.0816 * 730.5)
    assert found.saves.value == pytest.approx(0.4 * 4375 - 0.0816 * 730.5)


def test_students_take_a_part_and_the_rest_goes_to_a_cheaper_model() -> None:
    demand = asked(1e9, "gpt-4o")
    luna = closed_setups(demand, BOOK, TODAY, Facts())[1]
    setup = student_setup((0.4, 0.3, 0.5), Measure(0.0816), rest=luna)
    fixed = {**PLAIN, "home": 0.4, "people-students": 0.0, "days-cheaper": 2.0, "days-students": 3.0, "salary": 220e3}
    found = money(demand, setup, **fixed)[setup.name]
    assert setup.name.endswith("the rest to gpt-6-luna at OpenAI")
    assert found.parts["closed"] == pytest.approx(0.6 * 200)
    assert found.once.value == pytest.approx(5000)


def test_rent_is_the_markets_or_the_median_of_what_is_asked() -> None:
    facts = Facts()
    market = own_setups("x", facts.get("hardware", "h100-sxm"), facts=facts, gpus=8)[0]
    assert (market.hourly, market.uses) == ((2.95, 1.99, 5.0), ("rents/h100-sxm-market",))
    assert market.name == "x on 8 rented NVIDIA H100 SXM 80 GB"
    offers = own_setups("x", facts.get("hardware", "l40s"), facts=facts, gpus=1)[0]
    assert offers.hourly is not None
    assert offers.hourly[0] == pytest.approx(1.45)
    assert "unverified" in offers.notes[0]
    ours = Facts({"rents": {"ours": {"hardware": "h100-sxm", "way": "rent", "price": 1.5}}})
    assert own_setups("x", ours.get("hardware", "h100-sxm"), facts=ours, gpus=1)[0].hourly == (1.5, 1.5, 1.5)


@pytest.mark.parametrize("price", [0.0, 9_000.0, 99_000.0])
def test_a_price_of_ones_own_outside_the_shipped_range_has_none(price: float) -> None:
    ours = Facts({"rents": {"h100-sxm-buy": {"price": price}, "h100-sxm-market": {"price": price / 1e4}}})
    rent, buy = own_setups("x", ours.get("hardware", "h100-sxm"), facts=ours, gpus=1)
    assert buy.capital == (price, price, price)
    assert rent.hourly == (price / 1e4,) * 3


def test_a_node_is_bought_whole_where_the_devices_fill_it() -> None:
    facts = Facts()
    card, node = (own_setups("x", facts.get("hardware", "h100-sxm"), facts=facts, gpus=n)[1] for n in (2, 8))
    assert (card.capital, card.card) == ((30_000, 21_000, 39_000), True)
    assert node.capital == (325_000 / 8, 300_000 / 8, 350_000 / 8)
    assert not node.card


@pytest.mark.parametrize(
    ("field", "value"), [("input", "many"), ("output", -1), ("retires", "soon"), ("context", "long")]
)  # fmt: skip
def test_a_hosts_row_of_nonsense_is_said(field: str, value: object) -> None:
    def made() -> object:
        own = Facts({"hosted": {"groq/gpt-oss-120b": {field: value}}})
        return hosted_setups(["gpt-oss-120b"], asked(1e9, "gpt-4o"), BOOK, own, TODAY)

    with pytest.raises(BadSetting, match=field):
        made()


def test_savings_are_paired_and_their_interval_is_narrower_than_the_bills() -> None:
    demand, facts = asked(1e9, "gpt-4o"), Facts()
    setups = closed_setups(demand, BOOK, TODAY, facts)
    found = options(demand, setups, ranges(demand, facts), book=BOOK, facts=facts, today=TODAY)
    now, other = found[0], next(option for option in found if option.model == "gpt-6.1-terra")
    assert now.month.low is not None
    assert now.month.high is not None
    assert other.saves.low is not None
    assert now.month.low < 4375 < now.month.high
    assert now.month.n == 4000
    assert "4,000 draws" in now.month.method
    assert other.saves.low > now.month.low - (other.month.high or 0)  # unpaired ends would be further apart
    assert other.chance.value is not None
    assert other.chance.low is not None
    assert other.chance.low < other.chance.value < (other.chance.high or 0)
    assert "assumptions/growth" in other.uses
    assert "hosted/openai/gpt-6.1-terra" in other.uses


def test_the_same_seed_gives_the_same_cents_and_another_assumption_changes_no_other() -> None:
    demand, facts = asked(1e9, "gpt-4o"), Facts()
    setups = closed_setups(demand, BOOK, TODAY, facts)
    plain = ranges(demand, facts)
    more = (*plain, Assumption("unused", 1.0, 0.5, 2.0, "factor", "", ""))
    first, again, third, other = (
        options(demand, setups, given, book=BOOK, facts=facts, today=TODAY, draws=500, seed=seed)
        for given, seed in ((plain, 1), (plain, 1), (more, 1), (plain, 2))
    )
    assert [o.month for o in first] == [o.month for o in again]
    assert [o.month.value for o in first] == [o.month.value for o in third]
    assert [o.year.value for o in first] != [o.year.value for o in other]


def test_quick_options_agree_with_full_ones() -> None:
    demand, facts = asked(1e9, "gpt-4o"), Facts()
    setups = (*closed_setups(demand, BOOK, TODAY, facts), machine(2.95, 8000.0))
    drawn = Money(demand, setups, ranges(demand, facts, setups=setups), book=BOOK, facts=facts, today=TODAY, draws=FEW)
    for full, quick in zip(drawn.options(), drawn.options(quick=True), strict=True):
        assert quick.month.value == pytest.approx(full.month.value)
        assert quick.saves.value == pytest.approx(full.saves.value)
        assert (quick.chance.value, quick.payback.value) == (full.chance.value, full.payback.value)


def test_a_host_that_stops_within_a_year_or_takes_too_little_is_ruled_out_with_its_reason() -> None:
    demand = replace(asked(1e9, "gpt-4o"), longest=Measure(200_000.0))
    found = hosted_setups(["gpt-oss-120b"], demand, BOOK, Facts(), TODAY)
    assert all("1 in 1,000 calls" in one.out[0] for one in found)
    assert not any(one.out for one in hosted_setups(["gpt-oss-120b"], asked(1e9, "gpt-4o"), BOOK, Facts(), TODAY))
    own = Facts({"hosted": {"deepinfra/gpt-oss-120b": {"retires": "2027-03-01"}}})
    ending = hosted_setups(["gpt-oss-120b"], asked(1e9, "gpt-4o"), BOOK, own, TODAY)[0]
    assert ending.out == ("DeepInfra stops selling it on 2027-03-01",)


def test_closed_models_say_how_good_they_are_and_none_of_them_ends_within_a_year() -> None:
    found = closed_setups(asked(1e9, "gpt-4o"), BOOK, TODAY, Facts())
    assert found[0].way == "closed"
    names = [one.model for one in found[1:]]
    assert names[0] == "gpt-6-luna"
    assert not {"gpt-5", "gpt-4o", "claude-sonnet-4-5"} & set(names)
    assert "no published figure" in found[1].notes[0]


def test_a_team_overrides_a_price_and_an_assumption() -> None:
    own = Facts({
        "hosted": {"deepinfra/gpt-oss-120b": {"input": 1.0, "output": 2.0}},
        "assumptions": {"growth": {"value": 3.0, "low": 2.0, "high": 4.0}},
    })  # fmt: skip
    demand = asked(1e9, "gpt-4o")
    one = next(
        s for s in hosted_setups(["gpt-oss-120b"], demand, BOOK, own, TODAY, most=9) if s.provider == "DeepInfra"
    )
    assert one.bill is not None
    assert one.bill.total[0] == pytest.approx(750 * 1.0 + 250 * 2.0)
    growth = next(one for one in ranges(demand, own) if one.name == "growth")
    assert (growth.value, growth.status) == (3.0, "given")


def test_a_plan_rests_only_on_what_its_setups_need() -> None:
    demand, facts = asked(1e9, "gpt-4o"), Facts()
    named = {one.name for one in ranges(demand, facts, setups=closed_setups(demand, BOOK, TODAY, facts))}
    assert {"growth", "closed-price-change", "days-cheaper", "volume"} <= named
    assert not {"people", "residual", "home", "hosted-price-change", "peak"} & named
    assert "assumptions/people" not in {fact.ref for fact in facts.used}


def test_an_unknown_assumption_cant_be_fixed() -> None:
    demand, facts = asked(1e9, "gpt-4o"), Facts()
    setups = closed_setups(demand, BOOK, TODAY, facts)
    with pytest.raises(BadSetting, match="groth"):
        options(demand, setups, ranges(demand, facts), book=BOOK, facts=facts, today=TODAY, fixed={"groth": 2.0})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"groth": 2.0}, "groth"),
        ({"fallback": 1.5}, "fallback"),
        ({"growth": (2.0, 3.0, 4.0)}, "growth"),
        ({"rent-h100": -1.0}, "rent-h100"),
    ],
)
def test_an_assumption_that_cant_be_is_said(given: dict[str, float], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        ranges(asked(1e9, "gpt-4o"), Facts(), own=given)


def test_a_bill_has_twelve_months() -> None:
    found = bill(mix_of(asked(1e9, "gpt-4o")), "gpt-4o", BOOK, date(2026, 12, 31))
    assert isinstance(found, Bill)
    assert found.total.shape == (MONTHS,)
