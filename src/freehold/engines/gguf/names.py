"""Hugging Face's names and shapes of a decoder <-> GGUF's.

    model.layers.3.self_attn.q_proj.weight  [heads * dim, hidden]   <->  blk.3.attn_q.weight   (rows permuted for llama)
    model.layers.3.mlp.down_proj.weight                              <->  blk.3.ffn_down.weight
    model.embed_tokens.weight, model.norm.weight, lm_head.weight     <->  token_embd, output_norm, output
    model.layers.3.block_sparse_moe.experts.0.w1.weight, ...1.w1.weight  <->  blk.3.ffn_gate_exps.weight  [experts, ...]

    Shape.of(config.json) -> Shape(architecture="llama", layers=30, hidden=576, heads=9, kv_heads=3, head=64, ...)

llama.cpp rotates neighbours (0, 1), (2, 3), ... of a head for `llama`, where transformers rotates (0, dim/2),
(1, dim/2 + 1), ...: the rows of q and k are put in the other order. Qwen2 is rotated the same way in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold import fit
from freehold.errors import BaseUnusable

__all__ = ["SHAPES", "Shape", "expert_of", "gguf_name", "hf_name", "hf_names", "permuted"]

Floats = npt.NDArray[np.float32]
SHAPES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "mixtral": "llama"}
"""model_type in config.json -> the GGUF's architecture."""
PARTS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "block_sparse_moe.gate": "ffn_gate_inp",
}  # fmt: skip
EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
BACK = {gguf: hf for hf, gguf in {**PARTS, **WHOLE}.items()}
LAYERED = re.compile(r"model\.layers\.(\d+)\.([\w.]+)\.(weight|bias)")
EXPERT = re.compile(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w[123])\.weight")
BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape(fit.Shape):
    """What a GGUF says of a decoder beside its sizes: rope's base, what stretches it, the longest context."""

    architecture: str
    context: int
    epsilon: float
    rope_base: float
    rope_scaling: dict[str, Any]

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str = "") -> Shape:
        """From config.json; raises BaseUnusable for a model of another shape."""
        kind = str(config.get("model_type"))
        if kind not in SHAPES:
            raise BaseUnusable(
                f"The model in {where} is of the kind {kind[:40]!r}, which can't be written as GGUF here.",
                f"Known: {', '.join(SHAPES)}.",
            )
        if config.get("hidden_act", "silu") != "silu":
            raise BaseUnusable(f"The model in {where} has the activation {config['hidden_act']!r}; only silu is known.")
        try:
            return cls._of(SHAPES[kind], config)
        except (KeyError, TypeError, ValueError) as error:
            raise BaseUnusable(f"config.json in {where} can't be used: {error!r}.") from error

    @classmethod
    def _of(cls, architecture: str, config: Mapping[str, Any]) -> Shape:
        rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
        base = rope.pop("rope_theta", None) or config.get("rope_theta", 10000.0)
        context = int(config["max_position_embeddings"])
        if config.get("sliding_window") and config.get("use_sliding_window", True):
            context = min(context, int(config["sliding_window"]))  # within it, no window is the same as a window
        return cls(
            **fit.sizes(config),
            architecture=architecture,
            context=context,
            epsilon=float(config["rms_norm_eps"]),
            rope_base=float(base),
            rope_scaling=rope,
        )


def gguf_name(name: str) -> str | None:
    """GGUF's name of a tensor of Hugging Face's; None where there is none."""
    if found := LAYERED.fullmatch(name):
        part = PARTS.get(found[2])
        return None if part is None else f"blk.{found[1]}.{part}.{found[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{WHOLE[stem]}.{kind}" if stem in WHOLE else None


def expert_of(name: str) -> tuple[str, int] | None:
    """GGUF's name of the tensor that holds this one of Hugging Face's, and which expert it is; None for any other."""
    found = EXPERT.fullmatch(name)
    return found and (f"blk.{found[1]}.{EXPERTS[found[3]]}.weight", int(found[2]))


def hf_names(name: str, experts: int) -> list[str]:
    """What Hugging Face calls a GGUF tensor: one name, or one for each of the `experts` that it holds."""
    found = BLOCK.fullmatch(name)
    part = next((w for w, ours in EXPERTS.items() if found and ours == found[2]), None)
    if found is None or part is None:
        return [hf_name(name)]
    return [f"model.layers.{found[1]}.block_sparse_moe.experts.{i}.{part}.weight" for i in range(experts)]


def hf_name(name: str) -> str:
    """Hugging Face's name of a GGUF tensor that holds no experts."""
    if found := BLOCK.fullmatch(name):
        return f"model.layers.{found[1]}.{BACK[found[2]]}.{found[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{BACK[stem]}.{kind}"


def permuted(name: str, tensor: Floats, shape: Shape, *, back: bool = False) -> Floats:
    """The rows of q and k as `architecture` rotates them (`back`: the other way); any other tensor as it is."""
    stem = name.rpartition(".")[0]
    if shape.architecture != "llama" or not stem.endswith(("attn_q", "attn_k")):
        return tensor
    heads = shape.heads if stem.endswith("attn_q") else shape.kv_heads
    rows, rest = len(tensor), tensor.shape[1:]
    pair = (rows // heads // 2, 2) if back else (2, rows // heads // 2)
    return np.ascontiguousarray(tensor.reshape(heads, *pair, *rest).swapaxes(1, 2).reshape(rows, *rest))
