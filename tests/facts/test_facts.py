"""Whose a model is, dates that fine-tunes inherit, and terms by their clauses."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from freehold.errors import BadSetting
from freehold.facts import answer_terms, licence_of, load, machine_cost, retirement, terms, vendor_of


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("gpt-4o-mini", "openai"),
        ("o3-mini", "openai"),
        ("ft:gpt-4o-mini-2024-07-18:acme::9x", "openai"),
        ("azure/gpt-4o", "azure-openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("bedrock/anthropic.claude-3", "aws-bedrock"),
        ("models/gemini-2.5-pro", "google"),
        ("deepseek-chat", "deepseek"),
        ("mistral-large-latest", "mistral"),
        ("xai/grok-4", "xai"),
        ("llama-3.3-70b", None),
        ("together_ai/openai/gpt-oss-20b", None),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws-bedrock"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5", "aws-bedrock"),
        ("vertex_ai/claude-sonnet-4-5@20250929", "google"),
        ("text-embedding-3-small", "openai"),
        ("code-davinci-002", "openai"),
        ("", None),
    ],
)
def test_whose_model_it_is(model: str, vendor: str | None) -> None:
    assert vendor_of(model) == vendor


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4o-mini", "2027-01-14"),
        ("gpt-4o-mini-2024-07-18", "2027-01-14"),
        ("openai/gpt-4o-mini", "2027-01-14"),
        ("ft:gpt-4o-mini-2024-07-18:acme::9x", "2027-01-14"),
        ("ft:gpt-4o-mini:acme", "2027-01-14"),
        ("gpt-4.1-mini-2099-01-01", "2027-01-14"),
        ("gpt-4", "2026-10-23"),
        ("gpt-4-0613", "2026-10-23"),
        ("gpt-5-nano", "2026-12-11"),
        ("claude-sonnet-4-5-20250929", "2026-11-30"),
        ("azure/gpt-4o-mini", "2027-04-14"),
        ("gpt-6-luna", None),
        ("foo", None),
        ("gpt-3.5-turbo", "2026-10-23"),
        ("gpt-4-turbo", "2026-10-23"),
        ("gpt-5", "2026-12-11"),
        ("gpt-5-mini", "2026-12-11"),
        ("gpt-4o", "2027-01-14"),
        ("gpt-4.1", "2027-01-14"),
        ("ft:gpt-4o-2024-08-06:acme::9x", "2027-01-14"),
        ("ft:gpt-3.5-turbo-0125:acme::9x", "2026-10-23"),
        ("ft:gpt-4.1-nano-2025-04-14:acme::9x", "2026-10-23"),
        ("ft:o3-mini-2025-01-31:acme::9x", "2026-10-23"),  # no row of its own: its base's
        ("claude-sonnet-4-5@20250929", "2026-11-30"),
        ("azure/us/gpt-4o", "2027-04-14"),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "2027-04-08"),  # not on Anthropic's day
        ("vertex_ai/claude-sonnet-4-5@20250929", None),  # Google says only when not before
        ("gemini-2.5-pro", "2026-12-01"),
    ],
)
def test_when_a_model_is_switched_off(model: str, day: str | None) -> None:
    found = retirement(model)
    assert (found and found[0]) == day
    assert found is None or ("http" in found[1] or "litellm" in found[1])


FILES = "vendors.json retirements.csv terms.json machines.json licences.json prices.csv tiers.csv hosts.csv"


@pytest.mark.parametrize("name", FILES.split())
def test_every_fact_has_a_source_and_a_date(name: str) -> None:
    assert load(name)
    for row in load(name):
        assert row["source"].strip()
        assert date(2025, 1, 1) < date.fromisoformat(row["as_of"]) <= date(2026, 12, 31)


def test_facts_are_read_only() -> None:
    with pytest.raises(TypeError):
        load("terms.json")[0]["outcome"] = "ALLOW"  # type: ignore[index]


@pytest.mark.parametrize(
    ("vendor", "kind", "use", "rule", "outcome"),
    [
        ("openai", "labels", "internal", "T1", "ALLOW"),
        ("azure-openai", "labels", "internal", "T1", "ALLOW"),
        ("openai", "text", "internal", "T2", "WARN_COUNSEL"),
        ("openai", "json", "internal", "T2", "WARN_COUNSEL"),
        ("openai", "labels", "sold", "T3", "BLOCK"),
        ("openai", "text", "sold", "T3", "BLOCK"),
        ("anthropic", "labels", "internal", "T4", "ALLOW_WITH_NOTE"),
        ("anthropic", "labels", "sold", "T5", "BLOCK"),
        ("anthropic", "text", "internal", "T5", "BLOCK"),
        ("google", "labels", "internal", "T6", "WARN_COUNSEL"),
        ("deepseek", "text", "sold", "T7", "ALLOW"),
        ("mistral", "labels", "internal", "T10", "QUARANTINE"),
        (None, "labels", "internal", "T10", "QUARANTINE"),
    ],
)
def test_terms(vendor: str | None, kind: str, use: str, rule: str, outcome: str) -> None:
    notice = terms(vendor, kind, use)  # type: ignore[arg-type]
    assert (notice.rule, notice.outcome) == (rule, outcome)
    assert notice.text
    assert rule == "T10" or notice.clause


@pytest.mark.parametrize(
    ("vendor", "kind", "student", "rule"),
    [
        ("openai", "labels", "label", "T1"),
        ("openai", "labels", "decoder", "T2"),
        ("openai", "json", "extract", "T2"),
        ("anthropic", "json", "extract", "T4"),
        ("anthropic", "tools", "extract", "T4"),
        ("anthropic", "json", "decoder", "T5"),
        ("anthropic", "labels", "decoder", "T5"),
    ],
)
def test_terms_by_kind_of_student(vendor: str, kind: str, student: str, rule: str) -> None:
    assert terms(vendor, kind, "internal", student).rule == rule  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "family", "outcome"),
    [
        ("meta-llama/Llama-2-70b-chat-hf", "llama-2", "BLOCK"),
        ("llama3:8b", "llama-3", "BLOCK"),
        ("llama-3.1-8b-instant", "llama-3.1+", "ALLOW_WITH_NOTE"),
        ("llama-v3p1-70b-instruct", "llama-3.1+", "ALLOW_WITH_NOTE"),
        ("meta-llama/llama-4-maverick", "llama-3.1+", "ALLOW_WITH_NOTE"),
        ("Qwen/Qwen-7B-Chat", "qwen-1", "BLOCK"),
        ("qwen2.5-72b-instruct", "qwen-72b", "ALLOW_WITH_NOTE"),
        ("qwen3:8b", "qwen-apache", "ALLOW"),
        ("google/gemma-2-9b-it", "gemma-1-to-3", "ALLOW_WITH_NOTE"),
        ("gemma-4-31b", "gemma-4", "ALLOW"),
        ("together_ai/openai/gpt-oss-120b", "gpt-oss", "ALLOW"),
        ("deepseek-ai/DeepSeek-R1", "deepseek-mit", "ALLOW"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-la", "ALLOW_WITH_NOTE"),
        ("mistral-large-2411", "mistral-mrl", "BLOCK"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral-apache", "ALLOW"),
    ],
)
def test_an_open_models_answers_follow_its_licence(model: str, family: str, outcome: str) -> None:
    row = licence_of(model)
    assert row is not None
    notice = answer_terms(model, "", "text", "internal", "decoder")
    assert (row["family"], notice.rule, notice.vendor, notice.outcome) == (family, "T9", family, outcome)
    assert notice.clause or outcome in ("ALLOW", "BLOCK")


@pytest.mark.parametrize(
    "model", ["gpt-4o", "qwen3-max", "qwen2.5-3b", "deepseek-chat", "deepseek-r1-distill-llama-70b", "x", ""]
)
def test_a_closed_or_unread_model_has_no_licence_on_file(model: str) -> None:
    assert licence_of(model) is None


def test_the_classifier_clause_is_quoted() -> None:
    assert "categorize, classify, or organize data" in terms("openai", "labels").clause


def test_an_unknown_use_names_the_known_ones() -> None:
    with pytest.raises(BadSetting, match="internal, sold"):
        terms("openai", "labels", "rented")


def test_the_default_machine_is_dated_and_marked_as_assumed() -> None:
    cost = machine_cost()
    assert cost.unit == "USD/h"
    assert 0.02 < (cost.value or 0) < 0.5
    assert cost.method.startswith("assumed: ")
    assert "2026-" in cost.method


def test_no_fact_opens_a_connection() -> None:
    code = """
import sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(f"opened: {event} {args}"))
from freehold.facts import machine_cost, price, retirement, terms, vendor_of
from freehold.nouns import Tokens
assert price("gpt-4o-mini", Tokens(1000, 1), 1.79e9)
machine_cost(), retirement("gpt-4o"), terms(vendor_of("gpt-4o"), "labels")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("model", "said", "kind", "rule", "vendor"),
    [
        ("our-proxy/gpt-4o", "deepseek", "text", "T2", "openai"),
        ("our-proxy/gpt-4o", "openai", "text", "T2", "openai"),
        ("our-proxy/gpt-4o", "", "text", "T10", "unknown"),
        ("our-proxy/best", "deepseek", "text", "T7", "deepseek"),
        ("deepseek/gpt-4o", "", "text", "T2", "openai"),
        ("vertex_ai/claude-sonnet-4-5", "", "text", "T5", "anthropic"),
        ("azure/gpt-4o", "", "text", "T2", "azure-openai"),
        ("openrouter/deepseek/deepseek-chat", "", "text", "T7", "deepseek"),
    ],
)
def test_a_host_before_the_name_launders_no_answer(model: str, said: str, kind: str, rule: str, vendor: str) -> None:
    notice = answer_terms(model, said, kind, "internal", "decoder")  # type: ignore[arg-type]
    assert (notice.rule, notice.vendor) == (rule, vendor)
