"""A GGUF's own header beats the formula: its sums are exact, its architecture is known where its kind is."""

from __future__ import annotations

from typing import Any

from freehold.fit import parameters
from freehold.fit.header import from_header

KEYS: dict[str, Any] = {
    "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 64,
    "llama.feed_forward_length": 128, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
    "llama.context_length": 2048,
}  # fmt: skip


def _tensors() -> list[tuple[str, tuple[int, ...], int]]:
    found: list[tuple[str, tuple[int, ...], int]] = [("token_embd.weight", (64, 100), 64 * 100 * 2)]
    found += [("output_norm.weight", (64,), 256), ("rope_freqs.weight", (8,), 32)]
    for i in range(2):
        sides = {"attn_q": (64, 64), "attn_k": (64, 32), "attn_v": (64, 32), "attn_output": (64, 64)}
        sides |= {"ffn_gate": (64, 128), "ffn_up": (64, 128), "ffn_down": (128, 64)}
        found += [(f"blk.{i}.{name}.weight", side, side[0] * side[1] * 2) for name, side in sides.items()]
        found += [(f"blk.{i}.{name}.weight", (64,), 256) for name in ("attn_norm", "ffn_norm")]
    return found


def test_the_sums_are_the_files_and_the_architecture_agrees() -> None:
    found = from_header(KEYS, _tensors())
    assert found.weights == sum(size for _, _, size in _tensors())
    assert found.architecture is not None
    assert found.architecture.tied
    assert found.architecture.context == 2048
    assert parameters(found.architecture) == found.parameters - 8, "all but the rotation's factors"


def test_an_unknown_or_damaged_header_still_gives_its_sums() -> None:
    unknown = from_header(KEYS | {"general.architecture": "brand-new"}, _tensors())
    assert (unknown.architecture, unknown.parameters) == (None, from_header(KEYS, _tensors()).parameters)
    assert from_header(KEYS | {"llama.block_count": -4}, _tensors()).architecture is None
