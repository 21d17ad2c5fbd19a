"""A plain gated decoder (Llama, Mistral, Qwen, Mixtral) by its numbers: what this package can itself load and write.

Shape.of(config)     layers 32, hidden 4096, ...; parameters(shape) = 8,030,261,248
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from freehold.errors import BaseUnusable
from freehold.fit.architecture import Stack
from freehold.fit.feeds import experts, gated, joined
from freehold.fit.mixers import gqa

__all__ = ["Shape", "sizes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder with a gated MLP (Llama, Mistral, Qwen), or with `experts` of them, `chosen` a token (Mixtral). `bias`:
    the query, key and value layers have one."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    bias: bool = False
    experts: int = 0
    chosen: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str = "") -> Shape:
        """From a Hugging Face config.json, which lies in `where`. Raises BaseUnusable where a number is missing."""
        try:
            return cls(**sizes(config))
        except (KeyError, TypeError, ValueError) as error:
            place = f"config.json{' in ' * bool(where)}{where}"
            raise BaseUnusable(f"{place} can't be used: {error!r}.", "Give a decoder's own config.json.") from error

    def whole(self) -> Stack:
        """The same in the form that every model has: L (2 d H h + 2 d K h + 3 d f + 2 d) + d + V d (twice where the
        head is its own), and the biases; with E experts 3 d f is E times there, and d E for the router."""
        d, f = self.hidden, self.inner
        part = gqa(d, self.heads, self.kv_heads, self.head, bias=self.bias)
        feed = experts(d, self.experts, self.chosen, f) if self.experts else gated(d, f)
        layer = joined(part, feed, 2 * d)
        return Stack("gated", d, self.vocabulary, ((self.layers, layer),), self.tied, d)


def sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Shape's numbers as config.json names them. Raises KeyError, TypeError, ValueError."""
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    experts = int(config.get("num_local_experts") or 0)
    return {
        "layers": int(config["num_hidden_layers"]),
        "hidden": hidden,
        "inner": int(config["intermediate_size"]),
        "heads": heads,
        "kv_heads": int(config.get("num_key_value_heads") or heads),
        "head": int(config.get("head_dim") or hidden // heads),
        "vocabulary": int(config["vocab_size"]),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "bias": bool(config.get("attention_bias", config.get("model_type") == "qwen2")),
        "experts": experts,
        "chosen": int(config["num_experts_per_tok"]) if experts else 0,
    }
