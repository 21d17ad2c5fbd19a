"""litgpt's way to write an architecture, as a config.json would say it. Its list tells neither the family nor whether
the head is tied, so both are told here, as the models' own config.json files have them.

    as_config({"name": "Llama-3-8B", "n_layer": 32, "n_query_groups": 8, ...}) -> {"model_type": "llama", ...}
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FAMILIES = (  # the first whose beginning fits; `tied` for all of the family
    ("pythia", "gpt_neox", False), ("stablelm-3b", "stablelm", False), ("stablelm-zephyr", "stablelm", False),
    ("stable-code", "stablelm", False), ("stablelm", "gpt_neox", False), ("stablecode", "gpt_neox", False),
    ("falcon-", "falcon", True), ("phi-1", "phi", False), ("phi-2", "phi", False), ("Phi-4-mini", "phi3", True),
    ("phi-4", "phi3", False), ("Phi-", "phi3", False), ("OLMo-2", "olmo2", False), ("OLMo-1B", "olmo", True),
    ("OLMo", "olmo", False), ("Gemma-3", "gemma3", True), ("Gemma-2-", "gemma2", True), ("Gemma", "gemma", True),
    ("CodeGemma", "gemma", True), ("Qwen2.5-0.5B", "qwen2", True), ("Qwen2.5-1.5B", "qwen2", True),
    ("Qwen2.5-3B", "qwen2", True), ("Qwen2.5-Coder-0.5B", "qwen2", True), ("Qwen2.5-Coder-1.5B", "qwen2", True),
    ("Qwen2.5-Coder-3B", "qwen2", True), ("Qwen2.5-Math-1.5B", "qwen2", True), ("Qwen2.5", "qwen2", False),
    ("QwQ", "qwen2", False), ("Qwen3-0.6B", "qwen3", True), ("Qwen3-1.7B", "qwen3", True), ("Qwen3-4B", "qwen3", True),
    ("Qwen3", "qwen3", False), ("Llama-3.2", "llama", True), ("SmolLM2", "llama", True), ("Mixtral", "mixtral", False),
    ("", "llama", False),
)  # fmt: skip


def configs(shared: Path) -> dict[str, dict[str, Any]]:
    """name -> config.json of each architecture in the shared data folder's list."""
    file = shared / "catalogs" / "litgpt-configs" / "litgpt_model_configs.json.gz"
    return {row["name"]: as_config(row) for row in json.loads(gzip.decompress(file.read_bytes()))}


def as_config(row: Mapping[str, Any]) -> dict[str, Any]:
    kind, tied = next((kind, tied) for start, kind, tied in FAMILIES if row["name"].startswith(start))
    heads, d = row.get("n_head", 32), row.get("n_embd", 4096)
    found = {
        "model_type": "qwen3_moe" if kind == "qwen3" and "n_expert" in row else kind,
        "hidden_size": d,
        "num_hidden_layers": row.get("n_layer", 16),
        "num_attention_heads": heads,
        "num_key_value_heads": row.get("n_query_groups", heads),
        "intermediate_size": row.get("intermediate_size", 4 * d),
        "vocab_size": row.get("padded_vocab_size") or _padded(row),
        "tie_word_embeddings": tied,
        "max_position_embeddings": row.get("block_size", 4096),
    }
    named = {
        "head_size": "head_dim", "n_expert": "num_experts", "n_expert_per_token": "num_experts_per_tok",
        "moe_intermediate_size": "moe_intermediate_size", "sliding_window_size": "sliding_window",
    }  # fmt: skip
    found |= {ours: row[theirs] for theirs, ours in named.items() if theirs in row}
    if kind == "falcon":
        groups = row.get("n_query_groups", heads)
        found |= {"new_decoder_architecture": groups > 1, "num_kv_heads": groups, "multi_query": groups == 1}
    return found


def _padded(row: Mapping[str, Any]) -> int:
    size, step = row.get("vocab_size", 50254), row.get("padding_multiple", 512)
    return -(-size // step) * step
