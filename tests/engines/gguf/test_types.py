"""The type of each tensor, against llama.cpp's own choices."""

from __future__ import annotations

from freehold.engines.gguf.types import types_of


def shapes(layers: int, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (hidden, 1000), "output_norm.weight": (hidden,)}
    for i in range(layers):
        found |= {
            f"blk.{i}.attn_v.weight": (hidden, hidden // 4), f"blk.{i}.ffn_down.weight": (inner, hidden),
            f"blk.{i}.attn_q.weight": (hidden, hidden), f"blk.{i}.attn_q.bias": (hidden,),
            f"blk.{i}.attn_norm.weight": (hidden,),
        }  # fmt: skip
    return found


def test_q4_k_m_gives_more_bits_to_the_layers_that_lose_most() -> None:
    """The list for 32 layers is what published Q4_K_M files of Llama 2 7B and Mistral 7B have."""
    kinds = types_of("Q4_K_M", shapes(32, 4096, 11008) | {"output.weight": (4096, 1000)}, layers=32, tied=False)
    more = [i for i in range(32) if kinds[f"blk.{i}.attn_v.weight"] == "Q6_K"]
    assert more == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    assert [i for i in range(32) if kinds[f"blk.{i}.ffn_down.weight"] == "Q6_K"] == more
    assert (kinds["output.weight"], kinds["token_embd.weight"], kinds["blk.4.attn_q.weight"]) == (
        "Q6_K",
        "Q4_K",
        "Q4_K",
    )
    assert (kinds["blk.0.attn_norm.weight"], kinds["blk.0.attn_q.bias"]) == ("F32", "F32")


def test_rows_that_are_no_multiple_of_256_fall_back() -> None:
    kinds = types_of("Q4_K_M", shapes(8, 576, 1536), layers=8, tied=True)
    assert kinds["token_embd.weight"] == "Q8_0"
    assert (kinds["blk.0.attn_v.weight"], kinds["blk.1.attn_v.weight"]) == ("Q8_0", "Q5_0")
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.1.ffn_down.weight"]) == ("Q6_K", "Q4_K")
    assert types_of("Q4_K_M", shapes(8, 512, 1536), layers=8, tied=True)["token_embd.weight"] == "Q6_K"


def test_rows_that_no_block_divides_stay_f16() -> None:
    assert types_of("Q8_0", {"blk.0.attn_q.weight": (48, 48)}, layers=1, tied=True) == {"blk.0.attn_q.weight": "F16"}
    assert types_of("Q4_K_M", {"blk.0.attn_q.weight": (48, 48)}, layers=1, tied=True) == {"blk.0.attn_q.weight": "F16"}
    assert types_of("BF16", {"blk.0.attn_q.weight": (48, 48)}, layers=1, tied=True) == {"blk.0.attn_q.weight": "BF16"}
