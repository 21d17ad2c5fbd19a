"""Training's memory: ZeRO's shares, recomputing, LoRA of the whole and of experts."""

from __future__ import annotations

import pytest
from tests.fit.test_architecture import LLAMA, MIXTRAL

from freehold.fit import Architecture, adam_bytes, lora_parameters, parameters, training

STEP = {"tokens": 2048, "longest": 2048, "answers": 256}


def test_zero_shares_what_its_stage_says() -> None:
    assert adam_bytes() == 16
    assert [adam_bytes(stage, 8) for stage in (1, 2, 3)] == [4 + 12 / 8, 2 + 14 / 8, 16 / 8]
    assert adam_bytes(3, 8, offload=True) == (16 - 12) / 8
    whole = training(Architecture.of(LLAMA), "full", **STEP)["weights, gradients, Adam"]
    assert whole == 16 * 8_030_261_248
    shared = training(Architecture.of(LLAMA), "full", **STEP, ranks=8, zero=3)["weights, gradients, Adam"]
    assert shared == whole // 8


def test_lora_leaves_the_base_and_zero_3_shares_it() -> None:
    a = Architecture.of(LLAMA)
    need = training(a, "lora", **STEP, rank=16)
    assert need["weights"] == 2 * parameters(a)
    assert need["adapter, gradients, Adam"] == 16 * lora_parameters(a, 16)
    assert training(a, "lora", **STEP, ranks=4, zero=3)["weights"] == parameters(a) // 2
    assert training(a, "qlora", **STEP)["weights"] < 0.4 * need["weights"]


def test_recomputing_keeps_a_layers_input_and_one_layer() -> None:
    a = Architecture.of(LLAMA)
    kept = training(a, "lora", **STEP, fused=True)["activations"]
    again = training(a, "lora", **STEP, fused=True, recompute=True)["activations"]
    assert again == pytest.approx(kept / 32 + 1.4 * 32 * 2048 * 2 * 4096, rel=0.01)
    assert again < 0.2 * kept


def test_experts_cost_by_what_is_chosen() -> None:
    dense, sparse = Architecture.of(LLAMA), Architecture.of(MIXTRAL)
    assert training(sparse, "lora", **STEP)["activations"] > training(dense, "lora", **STEP)["activations"]
    assert lora_parameters(sparse, 8) > 7 * lora_parameters(dense, 8) / 2
