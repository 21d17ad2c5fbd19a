"""What we write is what transformers computes: ids, logits, greedy tokens; adapters; every format loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.engines.gguf.read import check
from freehold.engines.gguf.types import FORMATS
from freehold.engines.gguf.weights import HfWeights, Lora, Merged, open_weights
from freehold.engines.gguf.write import bytes_of, write, write_adapter
from freehold.engines.llama.forced import Forced
from freehold.errors import AdapterMismatch, BaseUnusable, EngineFailed

Tiny = Callable[..., Path]
HARD = [
    "a", " a", "  a", "\n\n a\t b", "1234567890", "don't I'LL we've", "Zürich 東京 São ñ 😀👍🏽",
    "x=1;y[2]={'a': 3.14}",
    "<|im_start|>user\nhi<|im_end|>\n", '{"people":4,"city":"Zürich"}', "½ ﷺ \u200b​", "   trailing   ", "!!!???...",
    "CamelCase snake_case kebab-case", "http://a.b/c?d=e&f=%20", "é", "\r\n\r\n", "١٢٣ ４５６", "I'm 'S 'll THEY'RE",
]  # fmt: skip
SHAPES: list[dict[str, Any]] = [
    {"kind": "llama", "hidden": 64},
    {"kind": "qwen2", "hidden": 64},
    {"kind": "llama", "hidden": 96, "tied": False},
    {"kind": "qwen2", "hidden": 512, "heads": 8},
    {"kind": "llama", "hidden": 64, "splits": "llama2"},
    {"kind": "mixtral", "hidden": 64},
]


def reference(folder: Path, ids: list[int], lora: Lora | None = None) -> Any:
    """transformers' float32 logits [n, vocabulary]."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if lora is not None:
        base = HfWeights.open(folder)
        from freehold.engines.gguf.names import hf_name, permuted

        whole, weights = Merged(base, lora), dict(model.named_parameters())
        with torch.no_grad():
            for name in lora.pairs:
                merged = permuted(name, whole.tensor(name), base.shape, back=True)
                weights[hf_name(name)].copy_(torch.from_numpy(merged))
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


@pytest.mark.parametrize("how", SHAPES, ids=lambda how: "-".join(map(str, how.values())))
def test_float32_is_what_transformers_computes(tiny: Tiny, tmp_path: Path, how: dict[str, Any]) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = tiny(**how)
    weights = HfWeights.open(folder)
    write(weights, tmp_path / "f32.gguf", "F32")
    check(tmp_path / "f32.gguf")
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = words.encode(HARD[6] + HARD[9] + HARD[5], add_special_tokens=False)
    with Forced.start(tmp_path / "f32.gguf", kv="f32", flash=False, context=256, threads=1) as engine:
        ours = {text: engine.ids(text) for text in HARD}
        logits, greedy = engine.logits(ids), engine.greedy(ids, 12)
    theirs = {text: words.encode(text, add_special_tokens=False) for text in HARD}
    if how.get("splits") == "llama2":  # a blank is put in front only where a text begins, which a special token does
        theirs = {t: i for t, i in theirs.items() if "<|" not in t}
    assert {text: ours[text] for text in theirs} == theirs
    wanted = reference(folder, ids)
    assert np.abs(logits - wanted).max() <= 1e-3
    follow = reference(folder, ids + greedy)[len(ids) - 1 : -1]
    assert np.array_equal(follow.argmax(1), greedy)


@pytest.mark.parametrize("hidden", [64, 96, 512])
@pytest.mark.parametrize("form", ["BF16", "Q8_0", "Q4_K_M"])
def test_every_format_loads_and_stays_near(tiny: Tiny, tmp_path: Path, form: str, hidden: int) -> None:
    folder = tiny(kind="llama" if hidden != 512 else "qwen2", hidden=hidden, heads=8 if hidden == 512 else 4)
    weights = HfWeights.open(folder)
    kinds = write(weights, tmp_path / "model.gguf", form)
    file = check(tmp_path / "model.gguf")
    assert {name: placed.type for name, placed in file.tensors.items()} == kinds
    size = (tmp_path / "model.gguf").stat().st_size
    assert bytes_of(weights, form) == pytest.approx(size, rel=0.25)
    ids = list(range(5, 60))
    wanted = reference(folder, ids)
    with Forced.start(tmp_path / "model.gguf", context=128, threads=1) as engine:
        logits = engine.logits(ids)
    error = np.sqrt(np.mean((logits - wanted) ** 2) / np.var(wanted))
    # random weights amplify rounding far beyond what a trained model shows; a wrong layout gives about 1.4
    assert error < {"BF16": 0.08, "Q8_0": 0.25, "Q4_K_M": 0.9}[form], error
    back = open_weights(tmp_path / "model.gguf")
    near = np.abs(back.tensor("blk.1.ffn_down.weight") - weights.tensor("blk.1.ffn_down.weight")).max()
    assert near < {"BF16": 0.01, "Q8_0": 0.01, "Q4_K_M": 0.2}[form]


def adapter(path: Path, folder: Path, rank: int = 4, names: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")) -> Path:
    """An adapter as PEFT saves it."""
    from safetensors.numpy import save_file

    random, config = np.random.default_rng(1), json.loads((folder / "config.json").read_bytes())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    out = {"q_proj": hidden, "k_proj": hidden // 2, "v_proj": hidden // 2, "down_proj": hidden}
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name in (*names, "down_proj"):
            room = "mlp" if name == "down_proj" else "self_attn"
            stem = f"base_model.model.model.layers.{layer}.{room}.{name}"
            wide = inner if name == "down_proj" else hidden
            tensors[f"{stem}.lora_A.weight"] = random.normal(0, 0.2, (rank, wide)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = random.normal(0, 0.2, (out[name], rank)).astype(np.float32)
    save_file(tensors, path)
    return path


def test_what_is_tuned_on_experts_is_what_is_shrunk(tiny: Tiny, tmp_path: Path) -> None:
    """PEFT's own sum beside the frozen base is the merged GGUF's, and the base's with the adapter's file."""
    import torch
    from safetensors.torch import save_file

    from freehold.tune.decoder.model import adapter as tensors_of
    from freehold.tune.decoder.model import attach, load

    folder = tiny(kind="mixtral", hidden=64)
    model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.2)
    tensors = tensors_of(model)
    assert {name.split(".")[-3] for name in tensors} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    save_file(tensors, tmp_path / "adapter.safetensors")
    ids = list(range(5, 60))
    with torch.no_grad():
        tuned = model(torch.tensor([ids])).logits[0].numpy()
    base = HfWeights.open(folder)
    lora = Lora.open(tmp_path / "adapter.safetensors", base, alpha=8.0)
    write(base, tmp_path / "base.gguf", "F32")
    write(Merged(base, lora), tmp_path / "merged.gguf", "F32")
    write_adapter(lora, base.shape, tmp_path / "adapter.gguf")
    how: dict[str, Any] = {"kv": "f32", "flash": False, "context": 128, "threads": 1}
    with Forced.start(tmp_path / "merged.gguf", **how) as engine:
        assert np.abs(engine.logits(ids) - tuned).max() <= 1e-3
    with Forced.start(tmp_path / "base.gguf", adapter=tmp_path / "adapter.gguf", **how) as engine:
        assert np.abs(engine.logits(ids) - tuned).max() <= 1e-3
    with Forced.start(tmp_path / "base.gguf", **how) as engine:
        assert np.abs(engine.logits(ids) - tuned).max() > 1.0


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_an_adapter_file_is_the_same_as_merging_it(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    folder = tiny(kind=kind, hidden=64)
    base = HfWeights.open(folder)
    lora = Lora.open(adapter(tmp_path / "adapter.safetensors", folder), base, alpha=8.0)
    assert (lora.rank, lora.scale) == (4, 2.0)
    write(base, tmp_path / "base.gguf", "F32")
    write(Merged(base, lora), tmp_path / "merged.gguf", "F32")
    write_adapter(lora, base.shape, tmp_path / "adapter.gguf")
    ids = list(range(5, 60))
    how: dict[str, Any] = {"kv": "f32", "flash": False, "context": 128, "threads": 1}
    with Forced.start(tmp_path / "merged.gguf", **how) as engine:
        merged = engine.logits(ids)
    with Forced.start(tmp_path / "base.gguf", adapter=tmp_path / "adapter.gguf", **how) as engine:
        added = engine.logits(ids)
    with Forced.start(tmp_path / "base.gguf", **how) as engine:
        plain = engine.logits(ids)
    assert np.abs(merged - reference(folder, ids, lora)).max() <= 1e-3
    assert np.abs(merged - added).max() <= 1e-3
    assert np.abs(merged - plain).max() > 1.0


def test_an_adapter_of_another_base_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    small, large = tiny(kind="llama", hidden=64), tiny(kind="llama", hidden=96, tied=False)
    path = adapter(tmp_path / "adapter.safetensors", small)
    with pytest.raises(AdapterMismatch, match=r"another base.* 64 in it, .*96"):
        Lora.open(path, HfWeights.open(large), alpha=8.0)


def test_a_base_in_gguf_keeps_its_keys(tiny: Tiny, tmp_path: Path) -> None:
    folder = tiny(kind="llama", hidden=64)
    write(HfWeights.open(folder), tmp_path / "a.gguf", "F32")
    write(open_weights(tmp_path / "a.gguf"), tmp_path / "b.gguf", "F32")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_the_chats_own_end_token_is_said_where_it_is_another_than_the_tokenizers(tiny: Tiny, tmp_path: Path) -> None:
    weights, key = HfWeights.open(tiny(kind="llama", hidden=64)), "tokenizer.ggml.eot_token_id"
    write(weights, tmp_path / "a.gguf", "F32")
    with Forced.start(tmp_path / "a.gguf", context=64, threads=1) as engine:
        ids = engine.ids("hello there")
        said = engine.greedy(ids, 4)
    assert len(said) == 4
    eos = check(tmp_path / "a.gguf").keys["tokenizer.ggml.eos_token_id"]
    write(weights, tmp_path / "same.gguf", "F32", end=eos)
    assert (tmp_path / "same.gguf").read_bytes() == (tmp_path / "a.gguf").read_bytes()
    write(weights, tmp_path / "b.gguf", "F32", end=said[0])
    assert check(tmp_path / "b.gguf").keys[key] == said[0]
    with Forced.start(tmp_path / "b.gguf", context=64, threads=1) as engine:
        assert engine.greedy(ids, 4) == said[:1]  # llama.cpp stops there
    write(open_weights(tmp_path / "b.gguf"), tmp_path / "c.gguf", "F32", end=said[1])
    assert check(tmp_path / "c.gguf").keys[key] == said[0]  # a base that says its own keeps it


def test_a_model_of_another_kind_is_refused_by_name(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "gemma"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gemma3_text"}')
    with pytest.raises(BaseUnusable, match=r"'gemma3_text'.*Known: llama, mistral, qwen2"):
        HfWeights.open(folder)


@pytest.mark.parametrize("lost", ["llama.attention.head_count", "llama.context_length", "token_embd.weight"])
def test_a_gguf_that_does_not_say_its_shape_is_refused(tiny: Tiny, tmp_path: Path, lost: str) -> None:
    path = tmp_path / "a.gguf"
    write(HfWeights.open(tiny(kind="llama", hidden=64)), path, "F32")
    path.write_bytes(path.read_bytes().replace(lost.encode(), lost[:-1].encode() + b"_", 1))
    with pytest.raises(BaseUnusable, match=rf"lacks {lost}\."):
        open_weights(path)


def test_a_pickle_under_the_name_of_safetensors_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((tiny(kind="llama", hidden=64) / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.")
    with pytest.raises(BaseUnusable, match="is a pickle, which can run code"):
        HfWeights.open(folder)


def test_a_library_that_dies_is_told(tiny: Tiny, tmp_path: Path) -> None:
    write(HfWeights.open(tiny(kind="llama", hidden=64)), tmp_path / "f32.gguf", "F32")
    with Forced.start(tmp_path / "f32.gguf", context=64, threads=1) as engine:
        with pytest.raises(EngineFailed, match="longer than the context of 64"):
            engine.logits(list(range(65)))
        engine.process.kill()
        engine.process.wait()
        with pytest.raises(EngineFailed, match="ended with -9"):
            engine.logits([1, 2, 3])
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "f32.gguf").read_bytes()[:20000])
    with pytest.raises(EngineFailed, match=r"does not load cut\.gguf"):
        Forced.start(tmp_path / "cut.gguf", context=64, threads=1)


def test_formats_are_the_known_ones() -> None:
    assert FORMATS == ("F32", "BF16", "Q8_0", "Q4_K_M")
