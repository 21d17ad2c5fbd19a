"""The law page: the gate, the AI Act's third, and the rules of laws.json on worked cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freehold.errors import BadSetting
from freehold.facts import answer_terms
from freehold.facts.tables import Facts
from freehold.nouns import Duty, Fact, Law, TermsNotice
from freehold.plan.law import Company, act_role, applies, law, licence_card

FACTS = Facts()
GERMAN = Company(eu=True, users_month=1e6, revenue_year=5e6, country="DE")
QLORA = {"parameters": 70_553_706_496, "tokens": 1e7, "original_flop": 6.35e24}


def gate(*models: str, student: str = "decoder", kind: Any = "text", use: str = "internal") -> tuple[TermsNotice, ...]:
    return tuple(replace(answer_terms(model, "", kind, use, student), rows=100) for model in models)


def page(
    company: Company = GERMAN, licence: str = "mistral-apache", notices: tuple[TermsNotice, ...] = (), **more: Any
) -> Law:
    asked: dict[str, Any] = {**QLORA, "private": False, "today": "2026-11-25", **more}
    cards = (licence_card(licence, "base", FACTS.get("licences", licence), company),)
    return law(cards, notices, company, facts=FACTS, **asked)


def rules(found: Law, rule: str) -> list[Duty]:
    return [duty for duty in found.duties if duty.rule == rule]


# the gate


def test_llama_4_in_the_eu_is_blocked_with_its_clause() -> None:
    found = page(licence="llama-4")
    assert len(found.blocked) == 1
    assert "principal place of business in, the European Union" in found.blocked[0]


def test_llama_3_outputs_do_not_teach_mistral() -> None:
    found = page(notices=gate("llama-3-70b-instruct"))
    assert [card.part for card in found.cards] == ["base", "teacher"]
    assert "improve any other large language model" in found.blocked[0]


def test_openai_chat_asks_for_counsel_and_a_classifier_is_allowed() -> None:
    chat, labels = gate("gpt-4o"), gate("gpt-4o", student="label", kind="labels")
    assert (chat[0].outcome, labels[0].outcome) == ("WARN_COUNSEL", "ALLOW")
    assert page(notices=chat).blocked == page(notices=labels).blocked == ()
    assert page(notices=chat).gate[0].rows == 100


def test_no_row_that_may_teach_blocks_and_one_does_not() -> None:
    assert "T5" in page(notices=gate("claude-sonnet-4-5")).blocked[0]
    assert page(notices=gate("claude-sonnet-4-5", "deepseek-chat")).blocked == ()


# the AI Act


def test_qlora_of_a_70b_is_far_from_a_third() -> None:
    role = act_role(FACTS, eu=True, **QLORA)
    assert role.flop.value == pytest.approx(4.2e18, rel=0.01)
    assert role.flop.value / QLORA["original_flop"] == pytest.approx(6.7e-7, rel=0.01)
    assert role.provider is False
    assert "not of a general-purpose model" in role.text


@pytest.mark.parametrize(("tokens", "provider"), [(4.9e12, False), (5.1e12, True)])
def test_continued_pretraining_of_an_8b_crosses_at_five_trillion_tokens(tokens: float, provider: bool) -> None:
    role = act_role(FACTS, eu=True, parameters=8.03e9, tokens=tokens, original_flop=7.2e23)
    assert role.third.value == pytest.approx(2.4e23)
    assert role.provider is provider


def test_an_unknown_original_has_the_presumed_third() -> None:
    asked = {"eu": True, "parameters": 8e9, "tokens": 1e9}
    assert act_role(FACTS, **asked).third.value == pytest.approx(3.3e22, rel=0.02)
    assert act_role(FACTS, **asked, systemic=True).third.value == pytest.approx(3.3e24, rel=0.02)


def test_training_that_is_not_known_stays_unknown() -> None:
    role = act_role(FACTS, eu=True, parameters=8e9, tokens=None)
    assert role.flop.value is None
    assert role.provider is None
    assert "no training is planned" in act_role(FACTS, eu=True, parameters=8e9, tokens=0).text
    unknown = rules(page(tokens=None), "EU-3")
    assert unknown[0].what.startswith("Where it applies, which is not known")
    assert unknown[0].outcome == "ALLOW_WITH_NOTE"


def test_a_provider_has_the_makers_duties() -> None:
    found = page(parameters=8.03e9, tokens=6e12, original_flop=7.2e23)
    assert found.role.startswith("provider of a general-purpose model")
    assert rules(found, "EU-3")[0].outcome == "WARN_COUNSEL"
    assert rules(found, "EU-4")
    assert rules(found, "EU-10")
    assert not rules(page(), "EU-10")


def test_transparency_has_words_and_dates() -> None:
    tell, mark = rules(page(), "EU-6")
    assert tell.text == "You are talking to an AI system."
    assert tell.since == "2026-08-02"
    assert "2026-12-02" in mark.what


def test_high_risk_starts_in_december_2027() -> None:
    hiring = replace(GERMAN, sector="hiring")
    before, after = rules(page(hiring), "EU-8"), rules(page(hiring, today="2027-12-02"), "EU-8")
    assert before[0].what.startswith("From 2027-12-02: ")
    assert not after[0].what.startswith("From ")
    assert rules(page(), "EU-8")[0].what == "No sector of Annex III was named."


def test_outside_the_eu_the_act_may_still_reach() -> None:
    found = page(Company(country="US"))
    assert [duty.rule for duty in found.duties if duty.rule.startswith("EU-")] == ["EU-1"]
    assert "used in the EU" in rules(found, "EU-1")[0].what


# the rest


def test_private_logs_and_health() -> None:
    assert rules(page(private=True), "GDPR-1")[0].outcome == "WARN_COUNSEL"
    assert not rules(page(), "GDPR-1")
    health = page(replace(GERMAN, sector="health"), private=True)
    assert "Special categories" in health.blocked[0]
    assert rules(health, "SEC-1")
    assert not page(replace(GERMAN, sector="health"), private=True, tokens=0).blocked


def test_american_thresholds_are_printed_as_not_applicable() -> None:
    found = page(Company(country="US"))
    assert rules(found, "US-2")[0].what == "Not applicable: your training is below 1e26 FLOP."
    assert not rules(page(), "US-2")
    huge = page(Company(country="US"), parameters=1e12, tokens=2e13)
    assert rules(huge, "US-2")[0].outcome == "WARN_COUNSEL"
    assert rules(huge, "US-3")[0].what.startswith("From 2027-01-01")


def test_weights_from_china_are_noted() -> None:
    assert rules(page(licence="qwen-apache"), "CN-2")
    assert not rules(page(), "CN-2")


def test_what_nobody_verified_is_counted_and_dated() -> None:
    found = page(Company(country="US"), licence="muse-spark-open")
    every = [*found.duties, *(duty for card in found.cards for duty in card.duties)]
    assert found.unverified == sum(not duty.verified for duty in every) > 1
    assert found.as_of == min(duty.as_of for duty in every)


def test_a_plan_rests_on_the_laws_it_shows() -> None:
    facts = Facts()
    law((), (), GERMAN, **QLORA, private=False, today="2026-11-25", facts=facts)
    assert {"laws/eu-3-fine-tuner", "laws/eu-6-tell"} <= {fact.ref for fact in facts.used}
    assert "laws/cn-1-public" not in {fact.ref for fact in facts.used}


def test_the_team_may_change_a_law() -> None:
    own = Facts({"laws": {"eu-3-fine-tuner": {"divisor": 10}}})
    assert act_role(own, eu=True, **QLORA).third.value == pytest.approx(6.35e23)


@pytest.mark.parametrize(
    ("condition", "world", "holds"),
    [
        ({}, {}, True),
        ({"eu": True}, {"eu": True}, True),
        ({"eu": True}, {"eu": False}, False),
        ({"eu": True}, {"eu": None}, None),
        ({"eu": True, "sold": True}, {"eu": None, "sold": False}, False),
        ({"country": ["US"]}, {"country": "US"}, True),
        ({"origins": ["CN"]}, {"origins": ("FR", "CN")}, True),
        ({"origins": ["CN"]}, {"origins": ()}, False),
        ({"flop": {"over": 5}}, {"flop": 6}, True),
        ({"flop": {"over": "threshold"}}, {"flop": 6}, False),
    ],
)
def test_conditions(condition: dict[str, Any], world: dict[str, Any], holds: bool | None) -> None:
    assert applies(condition, world, Fact("laws", "x", {"threshold": 7}, "test", "2026-11-25")) is holds


def test_each_law_asks_only_for_what_is_known_and_has_words() -> None:
    known = {"eu", "country", "sector", "sold", "private", "trains", "flop", "provider", "origins", "never"}
    for row in FACTS.rows("laws"):
        assert {*row.values.get("scope", {}), *row.values.get("when", {})} <= known, row.id
        assert row.values["what"]
        assert row.source
        assert row.as_of
        assert {v["over"] for v in row.values.get("when", {}).values() if isinstance(v, dict)} <= set(row.values)


@pytest.mark.parametrize("own", [{"divisor": "three"}, {"divisor": -1}, {"divisor": True}])
def test_a_law_overridden_with_nonsense_is_a_sentence(own: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="laws/eu-3-fine-tuner: divisor is"):
        act_role(Facts({"laws": {"eu-3-fine-tuner": own}}), eu=True, **QLORA)
