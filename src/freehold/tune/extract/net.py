"""BERT in torch, lean: what a tagger's training runs, and nothing else.

    ids, shapes [batch, length] ─words + places + shapes→ LayerNorm ─layers→ hidden [batch, length, dim]
    hidden of each word's first piece ─tags.{layer}.w,b→  a tag per word         (BIO per span field)
    hidden of [CLS] | mean of all     ─labels.{k}.w,b──→  a class per label field

Weights are float32 (named as Hugging Face's BERT, linear maps [out, in]); a pass may run in bf16, for which they are
rounded once a step. Attention is written out: at the lengths of one call it is faster on a CPU than the fused one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Batch", "Shape", "hidden", "linears"]

Tensor = Any
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Shape:
    """A BERT's: attention heads, layers, and the epsilon of its LayerNorm."""

    heads: int
    layers: int
    epsilon: float = 1e-12


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids`, `shapes` int64 [rows, length]; `there` float32 [rows, length]: 1 for a token, 0 for padding."""

    ids: Tensor
    shapes: Tensor
    there: Tensor


def hidden(w: Weights, shape: Shape, batch: Batch, *, dtype: Any, drop: float) -> Tensor:
    """[rows, length, dim] in `dtype`. `drop`: the share of units dropped (0 outside training)."""
    import torch
    from torch.nn import functional as fn

    size = w["words"].shape[1]
    x = (
        fn.embedding(batch.ids, w["words"])
        + w["places"][: batch.ids.shape[1]]
        + fn.embedding(batch.shapes, w["shapes"])
    )
    x = fn.layer_norm(x, (size,), w["norm.weight"], w["norm.bias"], shape.epsilon).to(dtype)
    x = fn.dropout(x, drop, drop > 0)
    padded = bool((batch.there == 0).any())
    bias = ((batch.there - 1.0) * 1e4).to(dtype)[:, None, None, :] if padded else None
    for i in range(shape.layers):
        at = {name: w[f"{i}.{name}"].to(dtype) for name in linears()}
        y = _attention(x, at, shape.heads, bias)
        y = fn.dropout(fn.linear(y, at["out.weight"], at["out.bias"]), drop, drop > 0)
        x = fn.layer_norm(x + y, (size,), at["norm1.weight"], at["norm1.bias"], shape.epsilon)
        y = fn.gelu(fn.linear(x, at["up.weight"], at["up.bias"]))
        y = fn.dropout(fn.linear(y, at["down.weight"], at["down.bias"]), drop, drop > 0)
        x = fn.layer_norm(x + y, (size,), at["norm2.weight"], at["norm2.bias"], shape.epsilon)
    assert isinstance(x, torch.Tensor)
    return x


def _attention(x: Tensor, at: Mapping[str, Tensor], heads: int, bias: Tensor | None) -> Tensor:
    import torch
    from torch.nn import functional as fn

    rows, length, size = x.shape
    wide = size // heads
    qkv = fn.linear(x, at["qkv.weight"], at["qkv.bias"]).view(rows, length, 3, heads, wide)
    q, k, v = (t.reshape(rows * heads, length, wide) for t in qkv.permute(2, 0, 3, 1, 4).contiguous().unbind(0))
    scores = torch.bmm(q, k.transpose(1, 2)) * wide**-0.5
    if bias is not None:
        scores = (scores.view(rows, heads, length, length) + bias).view(rows * heads, length, length)
    y = torch.bmm(torch.softmax(scores, -1), v)
    return y.view(rows, heads, length, wide).transpose(1, 2).reshape(rows, length, size)


def linears() -> tuple[str, ...]:
    """The names of one layer's weights."""
    parts = ("qkv", "out", "norm1", "up", "down", "norm2")
    return tuple(f"{part}.{kind}" for part in parts for kind in ("weight", "bias"))
