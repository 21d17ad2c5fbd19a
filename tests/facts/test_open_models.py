"""The rows of open models and formats: each can be counted, and says where it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from freehold.errors import BadSetting
from freehold.facts.open_models import active_of, architecture, form, has_architecture, of_folder, parameters_of
from freehold.facts.tables import Facts
from freehold.fit import weight_bytes

FAMILIES = (
    "llama-2-70b", "llama-3-70b", "llama-3.1-405b", "llama-3.2-3b", "llama-3.3-70b", "llama-4-scout", "mistral-7b",
    "mixtral-8x7b", "falcon-40b", "gemma-7b", "gemma-2-9b", "gemma-3-27b", "gemma-4-31b", "olmo-2-13b", "phi-3-mini",
    "phi-4", "rwkv", "tinyllama", "smollm2", "deepseek-v3", "deepseek-r1", "deepseek-v4-pro", "qwen2.5-7b",
    "qwen3-30b-a3b", "qwen3.5-27b", "qwen3.8-27b", "yi-1.5-34b", "gpt-oss-120b", "glm-5.2", "kimi-k2", "kimi-k3",
    "nemotron-3-nano", "granite-4.2-8b", "legal-bert", "meditron", "minilm", "stable-diffusion",
)  # fmt: skip


def test_every_family_is_found_by_its_name() -> None:
    facts = Facts()
    for name in FAMILIES:
        assert facts.get("models", name).values["name"], name
    with pytest.raises(BadSetting, match="models has no 'lama-3-70b'") as caught:
        facts.get("models", "lama-3-70b")
    assert "llama-3-70b" in caught.value.hint


def test_every_row_can_be_counted_and_cites() -> None:
    facts = Facts()
    licences, seen = {row.id for row in facts.rows("licences")}, set()
    for row in facts.rows("models"):
        v = row.values
        assert v["licence"] in licences, row.ref
        assert v["kind"] in ("decoder", "encoder", "image"), row.ref
        assert not {row.id, *v.get("aliases", ())} & seen, row.ref
        seen |= {row.id, *v.get("aliases", ())}
        assert set(v.get("quality", {})) == set(v.get("quality_sources", {})), row.ref
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", v.get("released", "2020-01")), row.ref
        assert ("released" in v) == ("released_source" in v), row.ref
        if not has_architecture(row):
            continue
        a = architecture(row)
        assert a.known, row.ref
        assert 0 < (active_of(row) or 0) <= (parameters_of(row) or 0), row.ref
        assert weight_bytes(a, "Q4_K_M") < weight_bytes(a, "BF16"), row.ref


def test_what_makes_no_text_is_refused_with_a_sentence() -> None:
    facts = Facts()
    with pytest.raises(BadSetting, match=r"models/stable-diffusion-1\.5 makes pictures"):
        architecture(facts.get("models", "stable-diffusion"))
    large = facts.get("models", "mistral-large-3")
    assert (parameters_of(large), active_of(large)) == (675_000_000_000, 41_000_000_000)
    with pytest.raises(BadSetting, match="has no configuration"):
        architecture(large)


def test_formats_are_as_their_writers_print_them() -> None:
    facts = Facts()
    a = architecture(facts.get("models", "llama-3.1-8b"))
    for row in facts.rows("formats"):
        made = form(row)
        if row.id.startswith(("q", "iq")):
            bits = weight_bytes(a, made) * 8 / 8_030_261_248
            assert bits == pytest.approx(row.values.get("shown", bits), rel=0.045), row.ref
    assert facts.get("formats", "Q4_K_M").id == "q4-k-m"


def test_a_teams_own_bits_hold_and_nonsense_is_said() -> None:
    facts = Facts({"formats": {"q4-k-m": {"bits": 5.0}, "ours": {"bits": 2.5}, "bad": {"bits": 100}}})
    a = architecture(facts.get("models", "llama-3.1-8b"))
    assert weight_bytes(a, form(facts.get("formats", "q4-k-m"))) == 8_030_261_248 * 5 // 8
    assert weight_bytes(a, form(facts.get("formats", "ours"))) == pytest.approx(8_030_261_248 * 2.5 / 8)
    with pytest.raises(BadSetting, match="bits of formats/bad is 100"):
        form(facts.get("formats", "bad"))
    with pytest.raises(BadSetting, match="formats/bad: bits is 'four'"):
        Facts({"formats": {"bad": {"bits": "four"}}})


def test_a_folder_says_its_own_size(tmp_path: Path) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 100,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert of_folder(tmp_path)[1] is None
    (tmp_path / "model.safetensors").write_bytes(b"0" * 321)
    a, weights = of_folder(tmp_path)
    assert (a.hidden, weights) == (64, 321)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadSetting, match="isn't JSON"):
        of_folder(tmp_path)
    with pytest.raises(BadSetting, match=r"has no config\.json"):
        of_folder(tmp_path / "nowhere")
