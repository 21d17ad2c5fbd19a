"""The decisions that every plan must come to (FACTS 6), each by the whole way from amounts to a word."""

from __future__ import annotations

import re
from datetime import date

import pytest
from tests.plan.conftest import Make

from freehold.errors import BadSetting
from freehold.facts import answer_terms, facts
from freehold.nouns import Option, Plan
from freehold.plan import plan
from freehold.plan.demand import by_hand
from freehold.plan.law.company import Company
from freehold.plan.law.licence import combined, licence_card
from freehold.plan.own import Wish


def word(made: Plan) -> str:
    assert made.advice
    return made.advice.word


def of(made: Plan, name: str) -> Option:
    return next(option for option in made.options if option.name.startswith(name))


def said(made: Plan) -> str:
    """Everything that the advice says."""
    assert made.advice
    return "\n".join([made.advice.sentence, *made.advice.instead, *made.advice.rejected.values()])


def test_ten_million_tokens_are_no_reason_to_move(typed: Make) -> None:
    """(i) The article's startup, while GPT-4 Turbo was to be had: at most $3,600 a year."""
    made = typed(10e6, "gpt-4-turbo", "2025-09-01")
    assert word(made) == "STAY"
    stay = made.options[0].month.value
    assert stay == pytest.approx(150)
    assert 12 * stay <= 3_600
    own = [o for o in made.options if o.way in ("rent", "buy")]
    assert own
    assert min(o.month.value or 0.0 for o in own) > 5 * stay
    assert made.advice
    assert "the cheapest of your own" in made.advice.sentence
    assert re.search(r"would save \$1\d\d a month; the work of moving, about \$[\d,]+, is paid within", said(made))
    assert "plan again when the volume rises to" in said(made)


def test_a_billion_tokens_on_gpt_4o_must_move_and_the_cheaper_model_saves_95_per_cent(typed: Make) -> None:
    """(ii) $4,375 a month → about $200; machines of one's own save less."""
    made = typed(1e9, "gpt-4o")
    assert made.advice
    assert (word(made), made.advice.date) == ("MUST MOVE BY", "2027-01-14")
    assert made.options[0].month.value == pytest.approx(4_375)
    luna = of(made, "gpt-6-luna")
    assert 0.94 < (luna.saves.value or 0.0) / 4_375 < 0.96
    own = [o for o in made.options if o.way in ("rent", "buy")]
    assert own
    assert all((o.saves.value or 0.0) < (luna.saves.value or 0.0) for o in own)
    assert made.flips


def test_a_forced_move_says_what_it_costs_not_how_surely_it_saves(typed: Make) -> None:
    made = typed(1e9, "gpt-4o")
    assert made.advice
    assert re.fullmatch(
        r"gpt-4o is switched off on 14 Jan 2027: move to gpt-6-luna at OpenAI, which costs \$\d+ a month \(P10 to P90 "
        r"\$\d+ to \$\d+\) in place of \$4,375, and about \$[\d,]+ once for the work\.",
        made.advice.sentence,
    )
    assert "record golden answers of gpt-4o before 14 Jan 2027" in said(made)
    assert "calls of gpt-6-luna that can wait for a day: -50 % at the batch price" in said(made)


def test_no_sentence_holds_an_iso_date_a_sum_of_nothing_or_two_full_stops(typed: Make) -> None:
    for made in (typed(1e9, "gpt-4o"), typed(10e6, "gpt-4-turbo", "2025-09-01"), typed(10e6, "gpt-4-turbo")):
        assert not re.search(r"\d{4}-\d\d-\d\d|\$-|\$0(\.00)? |\.\.|P\(saves\)|\b\d+%", said(made)), said(made)


def test_two_billion_tokens_at_four_dollars_are_worth_an_open_model(typed: Make) -> None:
    """(iii) Where the weights must be had elsewhere too; else another closed model of today is cheaper still."""
    made = typed(2e9, "gpt-4o", "2025-12-01", continuity="open", proved=True)
    assert word(made) in ("OWN", "HOSTED OPEN")
    assert made.advice
    (declared,) = made.advice.constraints
    assert declared.name == "continuity"
    assert (declared.costs.value or 0.0) > 0
    free = typed(2e9, "gpt-4o", "2025-12-01", proved=True)
    assert word(free) == "STAY CHEAPER"


def test_a_company_in_the_eu_may_not_take_llama_4(typed: Make) -> None:
    """(iv) One short reason in the sentence, the clause on the card."""
    made = typed(1e8, "gpt-4o", open_model="llama-4-scout", country="DE")
    assert made.advice
    assert made.law
    assert word(made) == "BLOCKED"
    assert made.advice.sentence == (
        "llama-4-scout can't be taken: no rights in multimodal models for a company whose principal place of business "
        "is in the EU."
    )
    (card,) = made.law.cards
    clauses = [duty.clause for duty in card.duties if duty.outcome == "BLOCK"]
    assert any("individual domiciled in" in clause for clause in clauses)
    assert word(typed(1e8, "gpt-4o", open_model="llama-4-scout", country="US")) == "MUST MOVE BY"


def test_llama_3_may_not_teach_mistral() -> None:
    """(v)"""
    tables = facts()

    def card(model: str, part: str) -> object:
        row = tables.get("models", model)
        return licence_card(model, part, tables.get("licences", str(row.values["licence"])), Company())

    found = combined([card("mistral-7b", "base"), card("llama-3-70b", "teacher")], tables, sold=False)  # type: ignore[list-item]
    assert [duty.outcome for duty in found.conflicts] == ["BLOCK"]


def test_openais_chat_goes_to_counsel_and_a_classifier_is_allowed() -> None:
    """(vi)"""
    assert answer_terms("gpt-4o", "openai", "text", "internal", "decoder").outcome == "WARN_COUNSEL"
    assert answer_terms("gpt-4o", "openai", "labels", "internal", "label").outcome == "ALLOW"


def test_seventy_billion_weights_in_four_bits_do_not_fit_24_gb_and_fit_48(typed: Make) -> None:
    """(vii) FACTS says 2.66 bits a weight with 1.5 GiB kept back; a tenth of the memory kept back leaves less."""
    small = typed(1e8, "gpt-4o", open_model="llama-3-70b", hardware="rtx-4090", format="Q4_K_M")
    bits = re.search(r"one rtx-4090 is too small: .*at most ([\d.]+) bits a weight; 4 are planned", said(small))
    assert bits
    assert 2.2 < float(bits[1]) < 2.7
    large = typed(1e8, "gpt-4o", open_model="llama-3-70b", hardware="l40s", format="AWQ")
    holds = re.search(r"one l40s holds a single call of up to ([\d,]+) tokens", said(large))
    assert holds
    assert int(holds[1].replace(",", "")) >= 2_000


def test_a_computer_that_is_too_small_says_how_many_bits_a_weight_may_have(typed: Make) -> None:
    made = typed(1e8, "gpt-4o", open_model="llama-3-70b", hardware="raspberry-pi-5")
    assert made.advice
    why = made.advice.rejected["llama-3-70b on raspberry-pi-5"]
    assert "does not fit" in why
    assert float(re.findall(r"at most ([\d.]+) bits a weight", why)[0]) < 2
    assert not [o for o in made.options if o.way in ("rent", "buy", "here")]


def test_a_price_that_doubles_on_a_day_doubles_the_bill_from_that_day_on(typed: Make) -> None:
    """(viii)"""
    before, after = (typed(10e6, "gemini-4-argon", day).options[0].month.value for day in ("2026-11-30", "2026-12-01"))
    assert (before, after) == (pytest.approx(40), pytest.approx(80))


def test_a_closed_model_without_a_price_is_said_with_the_near_names_and_how_to_give_one() -> None:
    today = date(2026, 11, 25)
    with pytest.raises(BadSetting, match="gtp-4o has no price on file") as error:
        plan(demand=by_hand(1e7, "gtp-4o", share=0.75, calls=None, today=today), today=today)
    assert "gpt-4o" in error.value.hint
    assert '[prices."gtp-4o"]' in error.value.hint


def test_the_same_amounts_day_and_seed_give_the_same_plan(typed: Make) -> None:
    first = typed(1e8, "gpt-4o", open_model="llama-3-70b", hardware="raspberry-pi-5")
    today = date(2026, 11, 25)
    demand = by_hand(1e8, "gpt-4o", share=0.75, calls=None, today=today)
    wish = Wish("llama-3-70b", "raspberry-pi-5")
    assert plan(demand=demand, wish=wish, today=today).sha256 == first.sha256
    assert plan(demand=demand, wish=wish, today=today, seed=1).sha256 != first.sha256
