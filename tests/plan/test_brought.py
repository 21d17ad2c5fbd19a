"""A model that somebody brings: what its files say goes before the formula."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.errors import BadSetting
from freehold.facts import facts
from freehold.facts.open_models import architecture
from freehold.fit import parameters
from freehold.plan.brought import UNREAD, brought
from freehold.plan.speed.place import fit_on

CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 256, "torch_dtype": "bfloat16",
    "max_position_embeddings": 512,
}  # fmt: skip


def folder(path: Path, stored: int = 12_345) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(b"\0" * stored)
    return path


def test_a_name_stays_a_name() -> None:
    assert brought("llama-3-70b", facts()) == "llama-3-70b"


def test_a_folder_is_a_row_and_its_bytes_go_before_the_formula(tmp_path: Path) -> None:
    table = facts()
    name = brought(str(folder(tmp_path / "Ours-1B")), table)
    row = table.get("models", name)
    assert (name, row.status, row.values["licence"], row.values["context"]) == ("ours-1b", "given", UNREAD, 512)
    device = table.get("hardware", "l4")
    a = architecture(row)
    assert fit_on(row, a, device, 1, "BF16", context=64).weights == 12_345
    assert fit_on(row, a, device, 1, "Q8_0", context=64).weights == pytest.approx(parameters(a) * 8.5 / 8, rel=0.05)


def test_a_licence_is_known_by_its_words(tmp_path: Path) -> None:
    path = folder(tmp_path / "ours")
    (path / "LICENSE").write_text((Path(__file__).resolve().parents[2] / "LICENSE").read_text())
    table = facts()
    assert table.get("models", brought(str(path), table)).values["licence"] == "apache-2.0"
    (path / "LICENSE").write_text("Do what you like.")
    assert table.get("models", brought(str(path), table)).values["licence"] == UNREAD


def test_a_gguf_says_its_own_bytes(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="needs freehold[text]")
    import numpy as np

    path = tmp_path / "ours.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in (
        ("block_count", 1),
        ("embedding_length", 32),
        ("feed_forward_length", 64),
        ("context_length", 128),
    ):
        writer.add_uint32(f"llama.{key}", value)
    writer.add_uint32("llama.attention.head_count", 2)
    writer.add_uint32("llama.attention.head_count_kv", 1)
    writer.add_file_type(0)
    writer.add_tensor("token_embd.weight", np.zeros((40, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    table = facts()
    row = table.get("models", brought(str(path), table))
    assert row.values["stored"] == 40 * 32 * 4
    assert (row.values["native"], row.values["context"], row.values["config"]["vocab_size"]) == ("F32", 128, 40)


@pytest.mark.parametrize(("name", "said"), [("none.gguf", "can't be read"), ("empty", "has no config.json")])
def test_what_holds_no_model_is_a_sentence(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSetting, match=said):
        brought(str(tmp_path / name), facts())
