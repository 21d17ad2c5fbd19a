"""Sums over an architecture: parameters, those that a token reads, those that a step reads, the cache.

    parameters(a)          70,553,706,496        every number of the text part
    active(a)              12,879,925,248        what one token is multiplied with
    touched(a, 8)          read by one decode step of 8 streams: E (1 - (1 - k/E)^B) experts a layer
    cache_bytes(a, 8192)   one stream's keys and values; a window, MLA, a recurrent state as the layer has it

Experts touched by independent tokens with even routing; real routing is uneven and touches fewer (Mixtral:
2.0 / 5.5 / 7.2 / 7.9 of 8 at 1 / 4 / 8 / 16 streams). The table of embeddings is counted whole, as in the published
rooflines, though a step reads only a row a stream of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from freehold.fit.architecture import Layer, Stack
from freehold.fit.shape import Shape

__all__ = ["active", "cache_bytes", "experts_touched", "flop", "lora_parameters", "parameters", "touched", "whole"]

ADAPTED = {"q", "k", "v", "qkv", "o", "up", "gate", "down", "q_a", "kv_a", "kv_b"}
Model = Stack | Shape


def whole(model: Model) -> Stack:
    """Any of the two forms as the general one."""
    return model if isinstance(model, Stack) else model.whole()


def parameters(model: Model) -> int:
    """Every number of the text part: what `beside` names is not in it."""
    return _sum(whole(model), lambda layer: layer.experts)


def active(model: Model) -> int:
    """Parameters that one token is multiplied with: `chosen` experts a layer, the rest whole."""
    return _sum(whole(model), lambda layer: layer.chosen)


@lru_cache(maxsize=4096)
def touched(a: Stack, streams: int) -> int:
    """Parameters that one decode step of `streams` independent streams reads."""
    return _sum(a, lambda layer: experts_touched(layer.experts, layer.chosen, streams))


def experts_touched(experts: int, chosen: int, tokens: int) -> float:
    """E (1 - (1 - k/E)^B): how many of `experts` are read where each of `tokens` picks `chosen` of them evenly."""
    return experts * (1 - (1 - chosen / experts) ** tokens) if experts else 0.0


def _sum(a: Stack, experts: Callable[[Layer], float]) -> int:
    layers = sum(times * (layer.always + experts(layer) * layer.each) for times, layer in a.layers)
    return round(layers) + a.vectors + sum(m.size for m in (*a.ends, *a.other))


@lru_cache(maxsize=4096)
def cache_bytes(a: Stack, context: int, *, bits: float = 16.0) -> int:
    """Bytes of one stream of `context` tokens: what its layers keep of each token, in `bits`, and what recurrent
    layers keep of the whole, in 32 bits."""
    numbers = sum(times * sum(kept.of(context) for kept in layer.kept) for times, layer in a.layers)
    state = sum(times * layer.state for times, layer in a.layers)
    return round(numbers * bits / 8) + 4 * state


def flop(a: Stack, tokens: int, context: int = 0) -> float:
    """Of reading or writing `tokens`, each with `context` before it: 2 N_active, and 4 H h a token that is looked at
    (Kaplan et al., arXiv 2001.08361); a window caps what is looked at."""
    looked = 0.0
    for times, layer in a.layers:
        wide = next((m.inputs for m in layer.matrices if m.role == "o"), a.hidden)
        looked += times * wide * max((kept.of(context) / max(kept.numbers, 1) for kept in layer.kept), default=0)
    return tokens * (2.0 * active(a) + 4.0 * looked)


def lora_parameters(model: Model, rank: int) -> int:
    """r (d_in + d_out) of every linear layer but the head, in each layer; experts too."""
    a = whole(model)
    return sum(
        times * rank * (
            sum(m.inputs + m.outputs for m in layer.matrices if m.role in ADAPTED)
            + layer.experts * sum(m.inputs + m.outputs for m in layer.expert)
        )
        for times, layer in a.layers
    )  # fmt: skip
