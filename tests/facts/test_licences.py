"""Licences as rows: each quotation stands in the licence's text, and a licence file is recognised word for word."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from freehold.facts import answer_terms, licence_of
from freehold.facts.licences import fingerprint, licence_of_text
from freehold.facts.tables import Facts

OUTCOMES = {"ALLOW", "ALLOW_WITH_NOTE", "WARN_COUNSEL", "BLOCK", "QUARANTINE"}
ROWS = Facts().rows("licences")
QUOTED = [row for row in ROWS if "text_key" in row.values]


def words(text: str) -> str:
    straight = str.maketrans({"“": '"', "”": '"', "’": "'", "–": "-"})
    return " ".join(text.translate(straight).lower().split())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_has_what_the_card_reads(row) -> None:  # type: ignore[no-untyped-def]
    values = row.values
    assert values["commercial"] in ("yes", "limited", "no", "unread")
    assert values["open"] in ("osi", "openmdw", "data", "rail", "no", "unread")
    assert values["out"] in ("free", "name", "inherit", "block", "research", "unread")
    assert values["outcome"] in OUTCOMES
    assert values["family"]
    assert row.source
    assert row.as_of
    assert "notice" not in values.get("carry", ()) or values["notice"]
    assert values["commercial"] != "unread" or (row.status, values["outcome"]) == ("unverified", "QUARANTINE")


def test_ids_and_aliases_name_one_row() -> None:
    names = [name for row in ROWS for name in (row.id, *row.values.get("aliases", ()))]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("row", QUOTED, ids=lambda row: row.id)
def test_each_clause_stands_in_the_text(row, shared: Path) -> None:  # type: ignore[no-untyped-def]
    folder, key = shared / "data" / "catalogs" / "licence-texts", row.values["text_key"]
    file = folder / key if (folder / key).is_file() else folder / f"{key}.LICENSE"
    if not file.is_file():
        pytest.skip(f"the text of {key} is not among the shared data")
    raw = file.read_text(encoding="utf-8")
    policy = file.with_name("USE_POLICY.md")
    text = words(raw + (policy.read_text(encoding="utf-8") if policy.is_file() else ""))
    for about, clause in row.values["clauses"].items() if "clauses" in row.values else ():
        for piece in clause.split(" ... "):
            assert words(piece) in text, about
    for field in ("notice", "display"):
        assert words(row.values.get(field, "")) in text
    assert hashlib.sha256(raw.encode()).hexdigest() == row.values["sha256"]


def test_a_licence_file_is_recognised_and_a_changed_one_is_not(shared: Path) -> None:
    facts = Facts()
    text = (shared / "data/catalogs/licence-texts/models/llama4/LICENSE").read_text(encoding="utf-8")
    found = licence_of_text(text, facts)
    assert found is not None
    assert found.id == "llama-4"
    assert licence_of_text(text.replace("\n", " ").replace("“", '"').replace("”", '"'), facts) == found
    assert licence_of_text(text.replace("700 million", "7 million"), facts) is None


def test_the_copyright_line_does_not_count() -> None:
    mit = "MIT License\n\nCopyright (c) 2024 Someone\n\nPermission is hereby granted"
    assert fingerprint(mit) == fingerprint(mit.replace("2024 Someone", "2026 Somebody Else"))


@pytest.mark.parametrize(
    ("model", "id"),
    [
        ("llama-3.2-11b-vision", "llama-3.2"),
        ("llama-v3p3-70b", "llama-3.3"),
        ("llama-4-scout", "llama-4"),
        ("glm-5.2", "glm"),
        ("allenai/OLMo-2-1124-13B-Instruct", "olmo"),
        ("moonshotai/kimi-k2.5", "kimi-k2"),
    ],
)
def test_the_licence_of_a_models_name(model: str, id: str) -> None:
    row = licence_of(model)
    assert row is not None
    assert row["id"] == id


@pytest.mark.parametrize("model", ["glm-5.3", "minimax-m3", "qwen3.8-2.4t-a95b", "mistral-large-4", "yi-1.5-34b"])
def test_what_nobody_read_stays_shut_at_the_gate(model: str) -> None:
    assert licence_of(model) is None
    assert answer_terms(model, "", "text", "internal", "decoder").outcome == "QUARANTINE"
