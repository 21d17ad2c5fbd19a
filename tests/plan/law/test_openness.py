"""How open a model is, on models that others have graded."""

from __future__ import annotations

import pytest

from freehold.facts.tables import Facts
from freehold.nouns import Fact
from freehold.plan.law.openness import COMPONENTS, Grade, grade

FACTS = Facts()


def graded(model: str, licence: str, facts: Facts = FACTS) -> Grade:
    return grade(Fact("models", model, {}, "test", "2026-11-25"), facts.get("licences", licence), facts)


@pytest.mark.parametrize(
    ("model", "licence", "mof", "conditional", "osaid"),
    [
        ("olmo-7b", "olmo", "I", False, True),
        ("granite-4.0-h-small", "granite", "III", False, None),  # its maker's badge: class III
        ("mistral-7b-instruct-v0.3", "mistral-apache", "III", True, False),
        ("deepseek-r1", "deepseek-mit", "III", True, False),
        ("gpt-oss-20b", "gpt-oss", "III", True, False),
        ("qwen3-8b", "qwen-apache", "III", True, False),
        ("smollm2-1.7b", "smollm", "III", True, None),
        ("llama-3-70b", "llama-3", "none", False, False),
        ("gemma-2-9b", "gemma-1-to-3", "none", False, False),
        ("kimi-k2", "kimi-k2", "none", False, False),
        ("bloom", "bloom", "none", False, False),
        ("mistral-large-4", "mistral-large-4", "none", False, None),
    ],
)
def test_classes(model: str, licence: str, mof: str, conditional: bool, osaid: bool | None) -> None:
    found = graded(model, licence)
    assert (found.mof, found.conditional, found.osaid) == (mof, conditional, osaid)
    assert found.why
    assert found.uses[0] == f"licences/{licence}"


def test_why_names_what_is_missing() -> None:
    assert "model card, data card, evaluation results" in graded("mistral-7b", "mistral-apache").why
    assert "exclusion of the EU" in graded("llama-4-scout", "llama-4").why
    assert "(unverified)" in graded("olmo-2-13b", "olmo").why
    assert graded("olmo-7b", "olmo").missing == ()


def test_an_open_tooling_model_lacks_only_its_data() -> None:
    two = [*COMPONENTS[:10]]
    row = {"models": "^mine", "published": dict.fromkeys(two, "mit"), "withheld": ["datasets"]}
    found = graded("mine-1b", "mit", Facts({"openness": {"mine": row}}))
    assert (found.mof, found.osaid, found.known) == ("II", False, 11)
    assert "datasets, data preprocessing code, checkpoints, research paper" in found.why


def test_a_paper_does_for_the_report_and_an_unlicensed_part_does_not_count() -> None:
    three = {part: "mit" for part in COMPONENTS[:6] if part != "technical-report"} | {"research-paper": "cc-by-4.0"}
    row = {"models": "^mine", "published": three, "withheld": []}
    assert not graded("mine", "mit", Facts({"openness": {"mine": row}})).conditional
    row["published"] = three | {"model-card": "unlicensed"}
    assert graded("mine", "mit", Facts({"openness": {"mine": row}})).conditional


def test_seventeen_components_and_each_row_names_only_them() -> None:
    assert len(set(COMPONENTS)) == 17
    for row in FACTS.rows("openness"):
        parts = [*row.values["published"], *row.values["withheld"]]
        assert set(parts) <= set(COMPONENTS), row.id
        assert len(parts) == len(set(parts)), row.id
        for licence in row.values["published"].values():
            assert licence == "unlicensed" or FACTS.find("licences", licence) is not None, (row.id, licence)
