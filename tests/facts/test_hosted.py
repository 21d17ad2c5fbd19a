"""Prices of hosted models, grid carbon and default ranges: as published, under names that other tables know."""

from __future__ import annotations

from datetime import date

import pytest

from freehold.facts import PriceBook
from freehold.facts.listed import midnight
from freehold.facts.tables import Facts

FACTS = Facts()
HOSTED = FACTS.rows("hosted")


@pytest.mark.parametrize(
    ("name", "input", "cached", "output"),
    [
        ("openai/gpt-6-astra", 10, 1, 50),
        ("openai/gpt-6.1-sol", 2, 0.1, 10),
        ("openai/gpt-6.1-terra", 1, 0.05, 5),
        ("openai/gpt-6-luna", 0.1, 0.01, 0.5),
        ("openai/gpt-5.6-luna", 0.2, 0.02, 1.2),
        ("anthropic/claude-opus-5-5", 4, 0.2, 20),
        ("anthropic/claude-haiku-5-5", 0.1, 0.01, 0.5),
        ("google/gemini-4-argon", 2, 0.1, 10),
        ("google/gemini-3.8-flash", 0.75, 0.075, 3.75),
        ("deepinfra/gpt-oss-120b", 0.037, None, 0.17),
        ("groq/gpt-oss-120b", 0.15, 0.075, 0.6),
        ("cerebras/gpt-oss-120b", 0.35, None, 0.75),
        ("deepinfra/gemma-4-26b-a4b-it", 0.07, None, 0.34),
        ("cerebras/gemma-4-31b", 0.99, None, 1.49),
        ("nebius/llama-3.3-70b-instruct", 0.13, None, 0.4),
    ],
)
def test_a_price_as_published(name: str, input: float, cached: float | None, output: float) -> None:
    row = FACTS.get("hosted", name).values
    assert (row["input"], row.get("cached"), row["output"]) == (input, cached, output)


def test_sources_that_disagree_keep_both_numbers() -> None:
    row = FACTS.get("hosted", "together/llama-3.3-70b-instruct-turbo")
    assert (row.values["input_low"], row.values["input_high"]) == (0.88, 1.04)
    assert "disagree" in row.source
    assert row.values["retires"] == "2026-10-22"


def test_closed_rows_are_what_the_price_list_says_on_their_day() -> None:
    book = PriceBook()
    closed = [row for row in HOSTED if row.values["kind"] == "closed"]
    assert len(closed) >= 15
    for row in closed:
        rates = book.rates(row.values["book"], midnight(row.as_of) + 43_200)
        assert rates is not None, row.id
        band = rates.bands[0]
        assert float(band.input) * 1e6 == pytest.approx(row.values["input"]), row.id
        assert float(band.output or 0) * 1e6 == pytest.approx(row.values["output"]), row.id


def test_open_rows_name_models_that_are_on_file() -> None:
    for row in HOSTED:
        if row.values["kind"] == "open":
            assert FACTS.find("models", row.values["model"]) is not None, row.id
        assert row.values["input"] >= 0, row.id
        assert row.values["output"] > 0, row.id
        if "retires" in row.values:
            date.fromisoformat(row.values["retires"])


@pytest.mark.parametrize(("country", "grams"), [("us", 369), ("fr", 56), ("de", 381), ("se", 41), ("poland", 662)])
def test_carbon_of_a_grid(country: str, grams: float) -> None:
    assert FACTS.get("carbon", country).values["grams_per_kwh"] == pytest.approx(grams, abs=0.5)


def test_a_model_cards_emissions_are_those_of_a_grid_or_wrong() -> None:
    """Llama 3 70B: 1,900 t for 6.4M GPU-hours at 700 W. Llama 3.3's 12.9 t for 7.0M is a hundredth of any mix."""
    grids = [row.values["grams_per_kwh"] / 1000 for row in FACTS.rows("carbon")]
    fossil = FACTS.get("carbon", "us").values["grams_per_kwh"] / 1000
    assert pytest.approx(fossil, rel=0.2) == 1_900_000 / (6.4e6 * 0.7)
    assert sum(grid < 12_900 / (7.0e6 * 0.7) for grid in grids) < 0.05 * len(grids)


def test_default_ranges_bracket_their_value() -> None:
    for row in FACTS.rows("assumptions"):
        values = row.values
        assert values["low"] <= values["value"] <= values["high"], row.id
        assert values.get("least", 0) <= values["low"], row.id
        assert values.get("most", 1e12) >= values["high"], row.id
        assert values["what"], row.id
