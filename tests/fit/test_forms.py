"""Bytes of weights: against what llama.cpp prints, and what no format quantises."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fit.test_architecture import GPT_OSS, LLAMA, MIXTRAL

from freehold.errors import BadSetting
from freehold.fit import (
    FORMS,
    Architecture,
    form_of,
    most_context,
    most_streams,
    parameters,
    read_bytes,
    serving,
    uniform,
    weight_bytes,
)

GIB = 2**30
SMOL: dict[str, Any] = LLAMA | {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
BIG = LLAMA | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}


@pytest.mark.parametrize(
    ("form", "printed"),
    [("Q2_K", 2.95), ("Q3_K_S", 3.41), ("Q3_K_L", 4.02), ("IQ4_XS", 4.17), ("Q4_K_S", 4.36), ("Q4_K_M", 4.58),
     ("Q5_K_S", 5.21), ("Q5_K_M", 5.33), ("Q6_K", 6.14), ("Q8_0", 7.95), ("F16", 14.96), ("IQ2_XS", 2.42)],
)  # fmt: skip
def test_ggufs_of_llama_3_1_8b_are_as_large_as_llama_cpp_prints(form: str, printed: float) -> None:
    assert weight_bytes(Architecture.of(LLAMA), form) / GIB == pytest.approx(printed, rel=0.003)


def test_the_worked_sizes_of_a_70b() -> None:
    a = Architecture.of(BIG)
    sizes = {form: weight_bytes(a, form) / 1e9 for form in ("Q8_0", "Q5_K_M", "Q4_K_M", "NF4", "IQ2_XS", "BF16")}
    wanted = {"Q8_0": 75.0, "Q5_K_M": 50.3, "Q4_K_M": 43.2, "NF4": 39.5, "IQ2_XS": 22.8, "BF16": 141.1}
    for form, size in wanted.items():
        assert sizes[form] == pytest.approx(size, rel=0.03), form
    assert weight_bytes(a, "AWQ") == pytest.approx(36.7e9 + 2 * (2 - 4.156 / 8) * 8192 * 128256, rel=0.01)


def test_experts_alone_are_in_four_bits() -> None:
    a = Architecture.of(GPT_OSS)
    assert weight_bytes(a, "MXFP4_MOE") / GIB == pytest.approx(11.27, rel=0.005)
    assert weight_bytes(a, "MXFP4") < weight_bytes(a, "BF16") / 2


def test_a_row_that_a_block_doesnt_divide_falls_back() -> None:
    """576 is no multiple of 256: llama.cpp stores such rows in Q5_0, Q8_0 where Q4_K, Q6_K were asked for."""
    a = Architecture.of(SMOL)
    assert weight_bytes(a, "Q4_K_M") * 8 / parameters(a) > 6
    assert weight_bytes(Architecture.of(LLAMA), "Q4_K_M") * 8 / 8.03e9 < 5


def test_a_step_reads_the_experts_that_are_touched() -> None:
    a = Architecture.of(MIXTRAL)
    assert read_bytes(a, "BF16", 1) == pytest.approx(2 * 12_879_925_248, rel=1e-6)
    assert read_bytes(a, "Q4_K_M", 1) < read_bytes(a, "Q4_K_M", 8) < weight_bytes(a, "Q4_K_M")
    dense = Architecture.of(LLAMA)
    assert read_bytes(dense, "Q4_K_M", 1) == weight_bytes(dense, "Q4_K_M")


def test_formats_are_found_however_they_are_written_and_the_near_ones_named() -> None:
    assert form_of("q4-k-m") is FORMS["Q4_K_M"]
    assert weight_bytes(Architecture.of(LLAMA), uniform("mine", 3.0)) == parameters(Architecture.of(LLAMA)) * 3 // 8
    with pytest.raises(BadSetting, match="no weight format 'Q4_K_X'") as caught:
        form_of("Q4_K_X")
    assert "Q4_K_M" in caught.value.hint


def test_what_fits_beside_the_weights() -> None:
    a = Architecture.of(LLAMA)
    need = serving(a, "Q4_K_M", context=8192, slots=4)
    assert need["cache"] == 4 * 8192 * 131_072
    assert serving(a, "Q4_K_M", context=1, weights=123)["weights"] == 123, "a file's own size beats the formula"
    weights, room = need["weights"], int(0.9 * 24 * GIB)
    streams = most_streams(a, weights, room=room, context=8192)
    assert weights + streams * 8192 * 131_072 <= room < weights + (streams + 1) * 8192 * 131_072
    assert most_context(a, weights, room=16 * GIB) == (16 * GIB - weights) // 131_072
    assert most_context(a, weights, room=10**12) == 131_072, "no more than the model reads"
    assert (most_context(a, weights, room=weights), most_streams(a, weights, room=1, context=1)) == (0, 0)
