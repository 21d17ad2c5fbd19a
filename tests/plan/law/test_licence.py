"""Cards: what a licence asks of one company, what rules a model out, and what several licences ask together."""

from __future__ import annotations

import pytest

from freehold.errors import BadSetting
from freehold.facts import union
from freehold.facts.tables import Facts
from freehold.nouns import Card, Duty, Fact
from freehold.plan.law.company import Company, company_of
from freehold.plan.law.licence import combined, licence_card, ruled_out

FACTS = Facts()
OUTSIDE = Company(users_month=1e6, revenue_year=5e6)
SELLER = Company(users_month=1e6, revenue_year=5e6, sold=True)


def card(licence: str, company: Company = OUTSIDE, part: str = "base", **more: bool) -> Card:
    return licence_card(licence, part, FACTS.get("licences", licence), company, **more)


def duty(card: Card, about: str) -> Duty:
    return next(duty for duty in card.duties if duty.rule == f"{card.family}/{about}")


def model(id: str, **values: object) -> Fact:
    return Fact("models", id, dict(values), "test", "2026-11-25")


def test_a_company_in_the_eu_may_not_take_llama_4() -> None:
    german = company_of(FACTS, country="DE", users_month=1e6)
    found = ruled_out(model("llama-4-scout"), FACTS.get("licences", "llama-4"), german)
    assert len(found) == 1
    assert "the rights granted under Section 1(a)" in found[0]
    assert "European Union" in found[0]
    assert card("llama-4", german).outcome == "BLOCK"
    assert not ruled_out(model("llama-4-scout"), FACTS.get("licences", "llama-4"), OUTSIDE)


def test_llama_3_2_is_closed_to_the_eu_only_where_it_sees() -> None:
    german, licence = company_of(FACTS, country="DE"), FACTS.get("licences", "llama-3.2")
    assert not ruled_out(model("llama-3.2-3b"), licence, german)
    assert ruled_out(model("llama-3.2-11b", multimodal=True), licence, german)
    assert licence_card("v", "base", licence, german, multimodal=True).outcome == "BLOCK"


@pytest.mark.parametrize(
    ("licence", "users", "outcome"),
    [
        ("llama-3", 699_999_999, "ALLOW"),
        ("llama-3", 700_000_001, "BLOCK"),
        ("llama-3", None, "ALLOW_WITH_NOTE"),
        ("qwen-72b", 100_000_001, "BLOCK"),
        ("qwen-72b", 100_000_000, "ALLOW"),
    ],
)
def test_users_a_month(licence: str, users: float | None, outcome: str) -> None:
    assert duty(card(licence, Company(users_month=users)), "limit").outcome == outcome


def test_revenue_a_year_ends_stabilitys_licence() -> None:
    licence = FACTS.get("licences", "stable-diffusion-3")
    assert ruled_out(model("sd3"), licence, Company(revenue_year=1_000_001))
    assert not ruled_out(model("sd3"), licence, Company(revenue_year=999_999))


def test_kimi_shows_its_name_above_a_size() -> None:
    big = Company(users_month=1e6, revenue_year=12 * 20_000_001, sold=True)
    shown = duty(card("kimi-k2", big), "display")
    assert (shown.text, shown.outcome) == ("Kimi K2", "ALLOW_WITH_NOTE")
    assert duty(card("kimi-k2", SELLER), "display").outcome == "ALLOW"
    assert duty(card("kimi-k3", big), "revenue_year").outcome == "WARN_COUNSEL"
    assert card("kimi-k3", Company(revenue_year=1e9)).outcome == "ALLOW"  # own use is free


def test_the_checklist_has_the_words_to_show() -> None:
    sold = card("llama-3.1", SELLER)
    assert duty(sold, "display").text == "Built with Llama"
    assert duty(sold, "prefix").text == "Llama"
    assert duty(sold, "notice").text.startswith(
        "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright ©"
    )
    assert duty(card("llama-3", SELLER), "display").text == "Built with Meta Llama 3"
    assert duty(card("qwen-72b", SELLER), "display").text == "Built with Qwen"


def test_what_a_copy_carries_is_due_once_it_goes_out() -> None:
    kept = card("apache-2.0", OUTSIDE)
    assert kept.outcome == "ALLOW"
    assert duty(kept, "changes").what.startswith("Once you distribute it: ")
    assert card("apache-2.0", SELLER).outcome == "ALLOW_WITH_NOTE"
    assert "host it for others" in duty(card("gemma-1-to-3", OUTSIDE), "agreement").what
    assert duty(card("gemma-1-to-3", OUTSIDE), "policy").outcome == "ALLOW_WITH_NOTE"  # holds for everybody


def test_the_source_goes_with_a_copy() -> None:
    kept, sold = card("gpl-3.0-only"), card("gpl-3.0-only", SELLER)
    assert duty(kept, "source").what.startswith("Once you distribute it: offer the source")
    assert duty(kept, "source").outcome == "ALLOW"
    assert duty(sold, "source").outcome == "ALLOW_WITH_NOTE"
    assert (
        duty(sold, "source").clause
        == "convey the machine-readable Corresponding Source under the terms of this License"
    )
    assert "or host it for others: offer the source" in duty(card("agpl-3.0-only"), "source").what


def test_without_derivatives_nothing_made_from_it_is_passed_on() -> None:
    kept, sold = card("cc-by-nd-4.0"), card("cc-by-nd-4.0", SELLER)
    assert duty(kept, "private").clause == "produce and reproduce, but not Share, Adapted Material"
    assert kept.outcome == "ALLOW_WITH_NOTE"
    assert (duty(sold, "private").outcome, sold.outcome) == ("BLOCK", "BLOCK")
    (why,) = ruled_out(model("x"), FACTS.get("licences", "cc-by-nd-4.0"), SELLER)
    assert why.startswith("Pass on nothing that is made from it")
    assert not ruled_out(model("x"), FACTS.get("licences", "cc-by-nd-4.0"), OUTSIDE)


@pytest.mark.parametrize("row", FACTS.rows("licences"), ids=lambda row: row.id)
def test_each_duty_of_a_row_is_on_the_card_and_in_the_union(row: Fact) -> None:
    """A word that a row carries and one of the two readers doesn't know would be lost without a sound."""
    carried = set(row.values.get("carry", ()))
    told = {duty.rule.rpartition("/")[2] for duty in card(row.id, SELLER).duties}
    assert carried <= told
    both = union([row.id, "own"], facts=FACTS)
    owed = {duty.rule.rpartition("/")[2] for duty in both.duties} | ({"private"} if both.private else set())
    assert carried <= owed


@pytest.mark.parametrize("licence", ["mistral-large-4", "qwen-3.8-flagship", "minimax-m3", "falcon-3", "glm-5.3"])
def test_an_unread_licence_is_blocked_and_unverified(licence: str) -> None:
    found = card(licence)
    assert found.outcome == "BLOCK"
    assert not found.verified
    assert ruled_out(model(licence), FACTS.get("licences", licence), OUTSIDE)


@pytest.mark.parametrize("row", FACTS.rows("licences"), ids=lambda row: row.id)
def test_each_duty_of_an_unverified_row_says_so(row: Fact) -> None:
    for company in (OUTSIDE, SELLER):
        found = licence_card("x", "base", row, company)
        assert {duty.verified for duty in found.duties} <= {row.status != "unverified"}
        assert all(duty.source and duty.as_of for duty in found.duties)


@pytest.mark.parametrize("licence", ["llama-1", "mistral-mrl", "mistral-mnpl", "qwen-research", "cc-by-nc-4.0"])
def test_no_commercial_use(licence: str) -> None:
    assert ruled_out(model("x"), FACTS.get("licences", licence), OUTSIDE)


def test_the_team_may_refuse_an_origin() -> None:
    company = company_of(FACTS, deny_origin=("cn",))
    found = ruled_out(model("qwen3-8b"), FACTS.get("licences", "qwen-apache"), company)
    assert found == ("Its weights come from CN, which the team does not take (deny-origin).",)
    assert ruled_out(model("tuned-by-us", origin="US"), FACTS.get("licences", "qwen-apache"), company) == ()


def test_the_teams_own_facts_hold() -> None:
    own = Facts({"licences": {"llama-3": {"mau": 10}}})
    assert licence_card("x", "base", own.get("licences", "llama-3"), OUTSIDE).outcome == "BLOCK"


@pytest.mark.parametrize(
    "own", [{"mau": "many"}, {"commercial": "maybe"}, {"carry": "agreement"}, {"mau_then": "beg"}, {"mau": -1}]
)
def test_a_licence_overridden_with_nonsense_is_a_sentence(own: dict[str, object]) -> None:
    def card() -> object:
        return licence_card("x", "base", Facts({"licences": {"llama-3": own}}).get("licences", "llama-3"), OUTSIDE)

    with pytest.raises(BadSetting, match=f"licences/llama-3: {next(iter(own))} is"):
        card()


def test_a_licence_of_ones_own_that_says_little_is_unread() -> None:
    own = Facts({"licences": {"house": {"source": "our counsel"}}})
    found = licence_card("x", "base", own.get("licences", "house"), OUTSIDE)
    assert (found.licence, found.commercial, found.outcome) == ("house", "unread", "BLOCK")


# several licences


def together(sold: bool, **parts: str):  # type: ignore[no-untyped-def]
    company = SELLER if sold else OUTSIDE
    return combined([card(licence, company, part) for part, licence in parts.items()], FACTS, sold=sold)


def test_llama_3_may_not_teach_mistral() -> None:
    found = together(False, base="mistral-apache", teacher="llama-3")
    assert [duty.outcome for duty in found.conflicts] == ["BLOCK"]
    assert "to improve any other large language model (excluding Meta Llama 3" in found.conflicts[0].clause


@pytest.mark.parametrize("licence", ["llama-2", "llama-3", "qwen-1"])
def test_a_family_may_teach_itself(licence: str) -> None:
    assert together(True, base=licence, teacher=licence).conflicts == ()


@pytest.mark.parametrize("licence", ["gemma-1-to-3", "deepseek-la", "muse-spark-open", "bloom"])
def test_a_student_inherits_its_teachers_licence(licence: str) -> None:
    found = together(True, base="mistral-apache", teacher=licence)
    assert not found.conflicts
    assert any(duty.rule == f"{licence}/inherit" for duty in found.duties)
    assert any(duty.rule == f"{licence}/agreement" for duty in found.duties)


@pytest.mark.parametrize("licence", ["mistral-mrl", "mistral-large-4"])
def test_research_and_unread_teachers_are_blocked(licence: str) -> None:
    assert together(False, base="mistral-apache", teacher=licence).conflicts[0].outcome == "BLOCK"


def test_a_name_that_begins_in_two_ways_is_flagged() -> None:
    assert together(True, base="mistral-apache", teacher="llama-3.1").prefix == "Llama"
    assert together(True, base="llama-3", adapter="llama-3.1").prefix == "Llama 3"  # begins with Llama too
    own = Facts({"licences": {"house": FACTS.get("licences", "llama-3.1").values | {"prefix": "House"}}})
    cards = [
        licence_card(n, p, own.get("licences", n), SELLER) for n, p in (("house", "base"), ("llama-3.1", "adapter"))
    ]
    found = combined(cards, own, sold=True)
    assert [duty.outcome for duty in found.conflicts] == ["WARN_COUNSEL"]
    assert found.prefix == ""
    assert combined(cards, own, sold=False).conflicts == ()


# the company


def test_a_country_says_whether_it_is_in_the_eu() -> None:
    assert company_of(FACTS, country="fr").eu
    assert not company_of(FACTS, country="GB").eu


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"country": "FR", "eu": False}, "country is FR, which is in the EU"),
        ({"country": "France"}, "two letters"),
        ({"users_month": -1}, "0 or more"),
        ({"revenue_year": float("inf")}, "0 or more"),
        ({"sector": "hirng"}, "hiring"),
        ({"deny_origin": ("CHN",)}, "two letters"),
    ],
)
def test_what_cannot_be_meant(typed: dict[str, object], said: str) -> None:
    with pytest.raises(BadSetting) as error:
        company_of(FACTS, **typed)  # type: ignore[arg-type]
    assert said in str(error.value)
