"""Memory is predicted from the config: parameters exactly, a training within what it then takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import BaseUnusable, TooLittleMemory
from freehold.fit import (
    GIB,
    Shape,
    available,
    lora_parameters,
    parameters,
    refuse,
    serving,
    tagging,
    total,
    training,
    weight_bytes,
)

SMOL: dict[str, Any] = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_70B = LLAMA_8B | {
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
}  # fmt: skip
MISTRAL = LLAMA_8B | {"vocab_size": 32000}
QWEN: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "count"),
    [(LLAMA_8B, 8_030_261_248), (LLAMA_70B, 70_553_706_496), (MISTRAL, 7_241_732_096), (SMOL, 134_515_008),
     (QWEN, 494_032_768)],
)  # fmt: skip
def test_parameters_are_exact(config: dict[str, Any], count: int) -> None:
    assert parameters(Shape.of(config)) == count


def test_the_formulas_give_the_published_sizes() -> None:
    big, small = Shape.of(LLAMA_70B), Shape.of(LLAMA_8B)
    assert lora_parameters(big, 16) == 207_093_760
    assert weight_bytes(big, "NF4") / 1e9 == pytest.approx(39.5, abs=0.1)
    assert weight_bytes(big, "Q8_0") / 1e9 == pytest.approx(75.0, abs=0.1)
    assert weight_bytes(small, "Q4_K_M") / 1e9 == pytest.approx(4.91, abs=0.01)
    assert serving(small, "BF16", context=1)["cache"] == 131_072
    assert serving(big, "BF16", context=8192)["cache"] == 8192 * 327_680
    assert training(small, "full", tokens=1, longest=1, answers=1)["weights, gradients, Adam"] / 1e9 == pytest.approx(
        128.5, abs=0.1
    )


@pytest.mark.parametrize(("tokens", "longest", "answers", "measured"), [(620, 340, 200, 2152), (2080, 260, 480, 4767)])
def test_a_training_takes_about_what_is_predicted(tokens: int, longest: int, answers: int, measured: int) -> None:
    """Against the peak resident MiB of two such steps on SmolLM2-135M in bfloat16, on one CPU thread."""
    need = training(Shape.of(SMOL), "lora", tokens=tokens, longest=longest, answers=answers)
    assert total(need) / 2**20 == pytest.approx(measured, rel=0.2)


def test_four_bits_and_fused_attention_take_less() -> None:
    shape = Shape.of(LLAMA_8B)
    how = {"tokens": 1024, "longest": 1024, "answers": 256}
    lora, qlora = training(shape, "lora", **how), training(shape, "qlora", **how)
    assert qlora["weights"] < 0.4 * lora["weights"]
    assert training(shape, "lora", **how, fused=True)["activations"] < 0.7 * lora["activations"]


def test_a_taggers_training_takes_about_what_was_measured() -> None:
    """MiniLM (6 layers of 384, 22.6 M weights) in bf16 on texts of about 420 tokens: 1.49 GiB at the peak."""
    size = {"hidden": 384, "layers": 6, "heads": 12}
    need = total(tagging(22_565_376, **size, tokens=4096, longest=430, width=2))
    assert 1.49 * GIB < need < 1.3 * 1.49 * GIB
    wide = tagging(22_565_376, **size, tokens=4096, longest=430, width=4)
    assert wide["activations"] == 6 * 4096 * (34 * 384 + 5 * 12 * 430) * 2


def test_too_little_is_said_with_its_parts() -> None:
    need = training(Shape.of(LLAMA_8B), "lora", tokens=1024, longest=512, answers=256)
    refuse(need, "Tuning an 8B", have=10**12)
    with pytest.raises(
        TooLittleMemory, match=r"Tuning an 8B needs about \d\d\.\d GiB \(.*weights 15\.0.*8\.0 GiB"
    ) as e:
        refuse(need, "Tuning an 8B", have=8 << 30, hint="--bits 4")
    assert (e.value.exit_code, e.value.hint) == (37, "--bits 4")


def test_what_is_free_is_known_and_a_config_without_its_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 100 << 20 < available() < 1 << 50
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Path, "is_file", lambda _path: False)
        assert available() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "where there is no /proc"
    with pytest.raises(BaseUnusable, match="num_attention_heads"):
        Shape.of({"model_type": "bert"})
