"""What one process of freehold's own loop holds on CPUs when it holds the most, by every launch target.

    all the while   weights, Adam's means, DDP's second copy of the gradients
    a step          gradients; what the layers keep for the backward pass; logits three times (the logarithms of their
                    softmax, and the gradients before and after it)
    a look          logits twice, and a layer's passing numbers, of as much held-out text at once as a process works on:
                    as many ids as a step could have, so this may be more than a step that reads few
    a checkpoint    the first process gathers all weights and means where each process has a share of them, beside
                    what the heap has kept of the steps before

    at_most(a, "fsdp", 2, Held(step=2048, look=16384)) -> {"weights, gradients, Adam": ..., "activations": ..., ...}

Layers are counted tensor by tensor (tests/fit/test_process.py counts what torch keeps): of each id, in float32, twice
what a norm reads and what it scales, what the two halves read; queries, keys, values and what attention gives, with no
scores; four inner states; of each expert that was chosen, what it reads and gives beside. In bfloat16 (autocast) norms
and experts stay float32, each matrix keeps its own copy of what it reads, and weights are copied once.
"""

from __future__ import annotations

from typing import NamedTuple

from freehold.fit.architecture import Layer, Stack
from freehold.fit.count import parameters
from freehold.fit.memory import Need

__all__ = ["LOADED", "Held", "at_most", "kept"]

# measured: Python with torch, transformers' Trainer and accelerate, after some steps of a tiny model
LOADED = 560 << 20
HEAP = 1.5  # measured: glibc's heap over what comes and goes in a step; blocks below 32 MiB stay with the process
SHARED = 2.0  # measured: the same where each layer's weights are gathered and let go, again and again
LIVE, BUCKET = 10**9, 5 * 10**8  # DeepSpeed's defaults: weights that stay gathered, gradients that are sent at once


class Held(NamedTuple):
    """Ids at once in one process: of a step, of a look at held-out text. `mixed`: bfloat16 by autocast."""

    step: int
    look: int = 0
    mixed: bool = False


class States(NamedTuple):
    """Bytes of one process: all the while; what comes and goes in a step; the bucket that gradients are sent in; what
    the first one gathers for a checkpoint. `heap`: times what comes and goes that the process ends up with."""

    always: float
    step: float
    bucket: float = 0.0
    gathered: float = 0.0
    heap: float = HEAP


def at_most(a: Stack, way: str, n: int, held: Held, *, program: int = LOADED) -> Need:
    """`way`: a launch target of freehold's loop (launch.job.PARALLEL), in `n` processes."""
    states = _states(a, way, n)
    tp = n if way == "tp" else 1
    layers = sum(times * kept(layer, a.hidden, mixed=held.mixed, tp=tp) for times, layer in a.layers)
    working = max(passing(layer, a.hidden) for _, layer in a.layers)
    casts = 2 * (parameters(a) - _experts(a)) if held.mixed else 0
    logits = a.vocabulary * max((14 if held.mixed else 12) * held.step, 8 * held.look)
    learn, save = states.bucket + logits, states.gathered
    last = {"logits": logits} if learn >= save else {"gathered for a checkpoint": int(save)}
    return {
        "weights, gradients, Adam": int(states.always + states.heap * states.step + states.bucket * (learn >= save)),
        "activations": int(states.heap * max(held.step * layers + casts, held.look * working)),
        **last,
        "program": program,
    }


def kept(layer: Layer, hidden: int, *, mixed: bool = False, tp: int = 1) -> float:
    """Bytes that a layer keeps of each id; tensor parallelism leaves what norms and experts read and give whole."""
    inner = sum(m.outputs for m in layer.matrices if m.role == "up")
    asked = 4 * next((m.inputs for m in layer.matrices if m.role == "o"), hidden)
    expert = layer.chosen * 4 * sum(m.outputs for m in layer.expert if m.role == "up")
    ends = layer.chosen * 2 * hidden
    if not mixed:
        return 4 * (6 * hidden + ends + (asked + 4 * inner + expert) / tp)
    copies = 3 + (2 if inner else 1)  # for queries, keys, values; for the MLP's two matrices, or the router
    return 4 * (4 * hidden + ends + expert / tp) + 2 * (copies * hidden + (asked + 4 * inner) / tp)


def passing(layer: Layer, hidden: int) -> int:
    """Bytes of an id while it passes through a layer that keeps nothing: the MLP's three inner states beside what goes
    by, or queries, keys, values, both halves of their turning, and what attention gives."""
    inner = sum(m.outputs for m in layer.matrices if m.role == "up")
    each = layer.chosen * (2 * hidden + 3 * sum(m.outputs for m in layer.expert if m.role == "up"))
    return 4 * max(3 * hidden + 3 * inner + each, 9 * hidden)


def _states(a: Stack, way: str, n: int) -> States:
    every, ends = parameters(a), sum(m.size for m in a.ends)
    if way == "none":
        return States(12 * every, 4 * every)
    if way == "ddp":
        return States(16 * every, 4 * every)
    whole = 12 * every
    if way == "tp":
        own = (every - ends) / n + ends
        return States(12 * own, 4 * own, gathered=whole)
    if way in ("zero1", "zero2"):  # all weights in one piece, and Adam's own share of them
        return States(4 * every + whole / n, 4 * every / n, 4 * min(every, BUCKET), whole)
    if way == "zero3":
        return States(16 * every / n, 4 * min(every, LIVE), 4 * min(every, BUCKET), whole, SHARED)
    assert way == "fsdp"
    # the ends stay whole until their backward pass; a layer's weights and gradients, and the next's
    layer = max(layer.always + layer.experts * layer.each for _, layer in a.layers)
    return States(whole / n, 4 * every / n + 4 * ends + 16 * layer, 0.0, whole, SHARED)


def _experts(a: Stack) -> int:
    return sum(times * layer.experts * layer.each for times, layer in a.layers)
