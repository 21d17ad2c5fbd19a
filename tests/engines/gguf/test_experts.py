"""A Mixtral as GGUF: its experts are three tensors a layer, in every type, and come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold import fit
from freehold.engines.gguf.folder import hf_folder
from freehold.engines.gguf.names import Shape, expert_of, gguf_name, hf_name, hf_names
from freehold.engines.gguf.read import check
from freehold.engines.gguf.types import types_of
from freehold.engines.gguf.weights import HfWeights, open_weights
from freehold.engines.gguf.write import bytes_of, write
from freehold.errors import BaseUnusable

LAYERS, HIDDEN, INNER, EXPERTS = 2, 64, 96, 3
WORDS = ["<|endoftext|>", *"Ġabcdefghijklmnopqrstuvwxyz", "th"]
CONFIG = {
    "model_type": "mixtral", "vocab_size": len(WORDS), "hidden_size": HIDDEN, "intermediate_size": INNER,
    "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": EXPERTS,
    "num_experts_per_tok": 2, "max_position_embeddings": 128, "rms_norm_eps": 2.0**-17, "tie_word_embeddings": False,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
}  # fmt: skip
TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
    "added_tokens": [{"id": 0, "content": WORDS[0], "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False, "special": True}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": {word: i for i, word in enumerate(WORDS)}, "merges": [["t", "h"]]},
}  # fmt: skip


def tensors() -> dict[str, Any]:
    """As transformers' save_pretrained names a Mixtral's."""
    sides = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
             "self_attn.v_proj": (HIDDEN // 2, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
             "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,),
             "block_sparse_moe.gate": (EXPERTS, HIDDEN)}  # fmt: skip
    for expert in range(EXPERTS):
        stem = f"block_sparse_moe.experts.{expert}"
        sides |= {f"{stem}.w1": (INNER, HIDDEN), f"{stem}.w2": (HIDDEN, INNER), f"{stem}.w3": (INNER, HIDDEN)}
    found = {f"model.layers.{layer}.{name}.weight": side for layer in range(LAYERS) for name, side in sides.items()}
    found |= {"model.embed_tokens.weight": (len(WORDS), HIDDEN), "lm_head.weight": (len(WORDS), HIDDEN),
              "model.norm.weight": (HIDDEN,)}  # fmt: skip
    random = np.random.default_rng(0)
    return {name: random.normal(0, 0.1, side).astype(np.float32) for name, side in found.items()}


def saved(folder: Path, weights: dict[str, Any], **more: Any) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | more))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": WORDS[0], "bos_token": WORDS[0]}))
    return folder


def test_names_go_there_and_back() -> None:
    assert expert_of("model.layers.3.block_sparse_moe.experts.11.w1.weight") == ("blk.3.ffn_gate_exps.weight", 11)
    assert expert_of("model.layers.3.block_sparse_moe.gate.weight") is None
    assert gguf_name("model.layers.3.block_sparse_moe.gate.weight") == "blk.3.ffn_gate_inp.weight"
    assert hf_name("blk.3.ffn_gate_inp.weight") == "model.layers.3.block_sparse_moe.gate.weight"
    for name in tensors():
        if found := expert_of(name):
            assert hf_names(found[0], EXPERTS)[found[1]] == name
        else:
            assert hf_names(str(gguf_name(name)), EXPERTS) == [name]


def test_its_parameters_are_counted() -> None:
    weights = tensors()
    shape = Shape.of(CONFIG)
    one = 3 * HIDDEN * INNER
    assert fit.parameters(shape) == sum(tensor.size for tensor in weights.values())
    assert fit.parameters(shape) - fit.active(shape) == LAYERS * one * (EXPERTS - 2)


def test_a_folder_to_gguf_and_back_is_the_same(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    weights = HfWeights.open(saved(tmp_path / "hf", tensors()))
    write(weights, tmp_path / "a.gguf", "F32")
    file = check(tmp_path / "a.gguf")
    assert (file.hyper("expert_count"), file.hyper("expert_used_count")) == (EXPERTS, 2)
    assert file.tensors["blk.1.ffn_down_exps.weight"].shape == (INNER, HIDDEN, EXPERTS)
    found = open_weights(tmp_path / "a.gguf").shape
    assert replace(found, rope_scaling=weights.shape.rope_scaling) == weights.shape
    hf_folder(tmp_path / "a.gguf", tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == tensors().keys()
    assert all(np.array_equal(back[name], tensor) for name, tensor in tensors().items())
    config = json.loads((tmp_path / "back" / "config.json").read_bytes())
    assert config["architectures"] == ["MixtralForCausalLM"]
    assert Shape.of(config) == weights.shape


@pytest.mark.parametrize(("form", "near"), [("BF16", 0.002), ("Q8_0", 0.003), ("Q4_K_M", 0.03)])
def test_experts_in_every_format(tmp_path: Path, form: str, near: float) -> None:
    weights = HfWeights.open(saved(tmp_path / "hf", tensors()))
    kinds = write(weights, tmp_path / "a.gguf", form)
    file = check(tmp_path / "a.gguf")
    assert {name: placed.type for name, placed in file.tensors.items()} == kinds
    assert kinds["blk.0.ffn_gate_inp.weight"] == "F32"
    assert bytes_of(weights, form) == pytest.approx((tmp_path / "a.gguf").stat().st_size, rel=0.25)
    for part in ("gate", "up", "down"):
        name = f"blk.1.ffn_{part}_exps.weight"
        assert kinds[name] != "F32"
        assert np.abs(open_weights(tmp_path / "a.gguf").tensor(name) - weights.tensor(name)).max() < near


def test_beside_eight_experts_attention_gets_more_bits() -> None:
    """As llama.cpp's quantiser has it, and published Q4_K_M files of Mixtral 8x7B."""
    shapes = {f"blk.4.attn_{part}.weight": (4096, 1024) for part in ("q", "k", "v", "output")}
    shapes["blk.4.ffn_up_exps.weight"] = (4096, 14336, 8)
    eight = types_of("Q4_K_M", shapes, layers=32, tied=False, experts=8)
    assert list(eight.values()) == ["Q4_K", "Q8_0", "Q8_0", "Q5_K", "Q4_K"]
    four = types_of("Q4_K_M", shapes, layers=32, tied=False, experts=4)
    assert list(four.values()) == ["Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q4_K"]


def test_experts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    whole, last = tensors(), f"model.layers.1.block_sparse_moe.experts.{EXPERTS - 1}.w2.weight"
    lost = {name: tensor for name, tensor in whole.items() if name != last}
    with pytest.raises(BaseUnusable, match=r"hold 2 experts of blk\.1\.ffn_down_exps\.weight, .* says 3 experts"):
        HfWeights.open(saved(tmp_path / "a", lost))
    with pytest.raises(BaseUnusable, match=r"of blk\.1\.ffn_down_exps\.weight in .* are of different sizes"):
        HfWeights.open(saved(tmp_path / "b", lost | {last: whole[last][:, 1:].copy()}))
    with pytest.raises(BaseUnusable, match=r"hold 3 experts of .*, where config\.json says no experts"):
        HfWeights.open(saved(tmp_path / "c", whole, num_local_experts=0))
    router = "model.layers.0.block_sparse_moe.gate.weight"
    with pytest.raises(BaseUnusable, match=r"lack blk\.0\.ffn_gate_inp\.weight"):
        HfWeights.open(saved(tmp_path / "d", {name: tensor for name, tensor in whole.items() if name != router}))
