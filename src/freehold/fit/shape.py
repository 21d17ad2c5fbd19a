"""A plain gated decoder (Llama, Mistral, Qwen) by its nine numbers: what this package can itself load and write.

Shape.of(config)     layers 32, hidden 4096, ...; parameters(shape) = 8,030,261,248
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from freehold.errors import BaseUnusable
from freehold.fit.architecture import Layer, Matrix, Stack
from freehold.fit.mixers import gqa

__all__ = ["Shape", "sizes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A dense decoder with a gated MLP (Llama, Mistral, Qwen). `bias`: the query, key and value layers have one."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    bias: bool = False

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
        head is its own), and the biases."""
        d, f = self.hidden, self.inner
        part = gqa(d, self.heads, self.kv_heads, self.head, bias=self.bias)
        feed = (Matrix("gate", d, f), Matrix("up", d, f), Matrix("down", f, d))
        layer = Layer((*part.matrices, *feed), part.vectors + 2 * d, part.kept, heads=self.heads)
        return Stack("gated", d, self.vocabulary, ((self.layers, layer),), self.tied, d)


def sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Shape's numbers as config.json names them. Raises KeyError, TypeError, ValueError."""
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
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
    }
