"""Which type each tensor of a GGUF gets, as llama.cpp's own quantiser decides.

    types_of("Q4_K_M", {"blk.0.ffn_down.weight": (1536, 576), ...}, layers=30, tied=True)
        {"token_embd.weight": "Q8_0", "blk.0.ffn_down.weight": "Q6_K", "blk.0.attn_q.weight": "Q5_0", ...}

Source: llama.cpp src/llama-quant.cpp, llama_tensor_get_type_impl and tensor_type_fallback, read 2026-11-24. Q4_K_M is
Q4_K with Q6_K for attn_v and ffn_down in the layers that lose most, and Q6_K for what gives the logits; rows that are
no multiple of 256 fall back to blocks of 32 (Q4_K to Q5_0, Q6_K to Q8_0), and to F16 where not even 32 divides them.
What picks the experts is never made shorter; with eight experts attention is little beside them, and gets more bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["BLOCKS", "FILE_TYPES", "FORMATS", "types_of"]

FORMATS = ("F32", "BF16", "Q8_0", "Q4_K_M")
FILE_TYPES = {"F32": 0, "BF16": 32, "Q8_0": 7, "Q4_K_M": 15}  # llama_ftype in llama.h
BLOCKS = {"Q5_0": 32, "Q8_0": 32, "Q4_K": 256, "Q5_K": 256, "Q6_K": 256}
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
LARGE = 80  # layers, from where on attn_v is shared by 8 heads, and gets more bits
EIGHT = 8
BESIDE_EIGHT = {".attn_v.": "Q8_0", ".attn_k.": "Q8_0", ".attn_output.": "Q5_K"}
WHOLE = ("_norm.weight", ".ffn_gate_inp.weight")
LAYER = re.compile(r"blk\.(\d+)\.")


def types_of(
    form: str, shapes: Mapping[str, tuple[int, ...]], *, layers: int, tied: bool, experts: int = 0
) -> dict[str, str]:
    """The type of each tensor. `shapes` are innermost first; `tied`: token_embd also gives the logits."""
    assert form in FORMATS, form
    return {name: _type(form, name, shape, layers, tied, experts) for name, shape in shapes.items()}


def _type(form: str, name: str, shape: tuple[int, ...], layers: int, tied: bool, experts: int) -> str:
    if len(shape) < 2 or not name.endswith("weight") or name.endswith(WHOLE):
        return "F32"
    if form in ("F32", "BF16"):
        return form
    if form == "Q8_0":
        return _fitting("Q8_0", shape[0])
    return _fitting(_q4_k_m(name, shape[0], layers, tied, experts), shape[0])


def _q4_k_m(name: str, row: int, layers: int, tied: bool, experts: int) -> str:
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return "Q8_0" if row % BLOCKS["Q4_K"] else "Q6_K"
    if experts == EIGHT and (kind := next((kind for part, kind in BESIDE_EIGHT.items() if part in name), "")):
        return kind
    found = LAYER.match(name)
    layer = int(found[1]) if found else 0
    if ".attn_v." in name:
        kind = "Q6_K" if _more_bits(layer, layers) else "Q4_K"
        return "Q5_K" if layers == LARGE and kind == "Q4_K" else kind
    if ".ffn_down." in name and _more_bits(layer, layers):
        return "Q6_K"
    return "Q4_K"


def _more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _fitting(kind: str, row: int) -> str:
    """`kind`, or what takes its place for rows of this length."""
    if row % BLOCKS[kind]:
        kind = FALLBACK.get(kind, "F16")
    return "F16" if kind != "F16" and row % 32 else kind
