"""A GGUF's own header instead of the formula: parameters and bytes as its tensors say them, to the byte.

    found = from_header(gguf.keys, [(name, tensor.shape, tensor.bytes) for name, tensor in gguf.tensors.items()])
    found.parameters, found.weights, found.architecture

The architecture comes from the keys where its kind is one of KINDS; else it is None, and only the sums are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.errors import BadSetting
from freehold.fit.read import Architecture

__all__ = ["Header", "from_header"]

KINDS = {
    "llama": "llama", "qwen2": "qwen2", "qwen2moe": "qwen2_moe", "qwen3": "qwen3", "qwen3moe": "qwen3_moe",
    "phi3": "phi3", "gemma2": "gemma2", "gemma3": "gemma3", "gpt-oss": "gpt_oss", "granite": "granite",
    "olmo2": "olmo2", "falcon": "falcon",
}  # fmt: skip
NAMED = {
    "block_count": "num_hidden_layers", "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim", "attention.sliding_window": "sliding_window", "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok", "expert_feed_forward_length": "moe_intermediate_size",
    "context_length": "max_position_embeddings", "vocab_size": "vocab_size",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """`weights`: bytes of all tensors. `architecture`: None where the file's kind isn't known here; `config` is what it
    was read from, as a config.json has it."""

    parameters: int
    weights: int
    architecture: Architecture | None
    config: dict[str, Any] | None = None


def from_header(keys: Mapping[str, Any], tensors: Iterable[tuple[str, Sequence[int], int]]) -> Header:
    """`keys` and (name, shape, bytes) of each tensor, as a GGUF has them."""
    found = list(tensors)
    sizes = {name: math.prod(shape) for name, shape, _ in found}
    weights = sum(size for _, _, size in found)
    config = _config(keys, sizes)
    try:
        architecture = None if config is None else Architecture.of(config, "a GGUF's header")
    except BadSetting:
        architecture = config = None
    return Header(sum(sizes.values()), weights, architecture, config)


def _config(keys: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any] | None:
    kind = str(keys.get("general.architecture", ""))
    if kind not in KINDS:
        return None
    config: dict[str, Any] = {
        ours: keys[f"{kind}.{theirs}"] for theirs, ours in NAMED.items() if f"{kind}.{theirs}" in keys
    }
    config |= {"model_type": KINDS[kind], "tie_word_embeddings": "output.weight" not in sizes}
    hidden = config.get("hidden_size")
    if isinstance(hidden, int) and hidden > 0 and "token_embd.weight" in sizes:
        config["vocab_size"] = sizes["token_embd.weight"] // hidden
    if kind == "gpt-oss":
        config["num_local_experts"] = config.get("num_experts")
        config["intermediate_size"] = config.get("moe_intermediate_size", config.get("intermediate_size"))
    return config
