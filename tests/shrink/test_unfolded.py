"""A base that is a GGUF, as a folder for torch, and back: the same weights, ids and keys; and the real small base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from freehold.engines.gguf.folder import hf_folder
from freehold.engines.gguf.read import check
from freehold.engines.gguf.weights import HfWeights, open_weights
from freehold.engines.gguf.write import write
from freehold.engines.llama.forced import Forced
from freehold.errors import BaseUnusable

TEXTS = [
    "x  12", "table for  4", "12345", "\n\n7", "   99", "v1.2.3", "  1\t2", "don't I'LL we've",
    "Zürich 東京 São ñ 😀👍🏽",
    "½ ﷺ \u200b", "   trailing   ", "\r\n\r\n", "١٢٣ ４５６", "<|im_start|>user\nhi 5<|im_end|>\n", "e\u0301",
    "THEY'RE 'S",
    '{"intent":"BookRestaurant","slots":{"party_size_number":4}}', "if x:\n    return  [1, 2]\n", "a-b_c/d\\e",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_there_and_back(tiny: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    first = tiny(kind=kind, hidden=64)
    write(open_weights(first), tmp_path / "a.gguf", "F32")
    folder = hf_folder(tmp_path / "a.gguf", tmp_path / "hf")
    theirs = AutoModelForCausalLM.from_pretrained(first).state_dict()
    ours = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert {n: t.numpy().tobytes() for n, t in ours.items()} == {n: t.numpy().tobytes() for n, t in theirs.items()}
    words, original = PreTrainedTokenizerFast.from_pretrained(folder), PreTrainedTokenizerFast.from_pretrained(first)
    with Forced.start(tmp_path / "a.gguf", context=64, threads=1) as engine:
        for text in TEXTS:
            assert engine.ids(text) == words.encode(text, add_special_tokens=False), text
    assert words.chat_template == original.chat_template
    assert (words.bos_token_id, words.eos_token_id) == (original.bos_token_id, original.eos_token_id)
    write(open_weights(folder), tmp_path / "b.gguf", "F32")
    assert check(tmp_path / "b.gguf").tensors == check(tmp_path / "a.gguf").tensors
    assert check(tmp_path / "b.gguf").keys == check(tmp_path / "a.gguf").keys
    before = (folder / "model.safetensors").stat().st_mtime_ns
    hf_folder(tmp_path / "a.gguf", folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_tokenizer_of_another_kind_is_refused(tiny: Callable[..., Path], tmp_path: Path) -> None:
    write(open_weights(tiny(kind="llama", hidden=64, splits="llama2")), tmp_path / "a.gguf", "F32")
    with pytest.raises(BaseUnusable, match=r"tokenizer of the kind 'llama'.*Give the Hugging Face folder"):
        hf_folder(tmp_path / "a.gguf", tmp_path / "hf")


def test_the_real_base_keeps_its_keys_and_ids(smollm2: Path, tmp_path: Path) -> None:
    """Dequantised, written as a folder, and from there as BF16: what the shipped file says, this one says."""
    from transformers import PreTrainedTokenizerFast

    folder = hf_folder(smollm2, tmp_path / "hf")
    write(HfWeights.open(folder), tmp_path / "bf16.gguf", "BF16")
    shipped, ours = check(smollm2), check(tmp_path / "bf16.gguf")
    matters = [k for k in shipped.keys if k.startswith(("llama.", "tokenizer."))]
    assert len(matters) > 18
    for key in matters:
        assert ours.keys[key] == shipped.keys[key], key
    assert set(ours.tensors) == set(shipped.tensors)
    name = "blk.29.attn_q.weight"
    assert np.abs(ours.tensor(name) - shipped.tensor(name)).max() < 0.01
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    with Forced.start(tmp_path / "bf16.gguf", context=64, threads=1) as a, Forced.start(smollm2, threads=1) as b:
        for text in TEXTS:
            assert a.ids(text) == b.ids(text) == words.encode(text, add_special_tokens=False), text
