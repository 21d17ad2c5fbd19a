"""What a step of a shape takes, in float32 on a CPU: refused before anything is measured where it does not fit.

need(architecture(shape), shape) -> {"weights, gradients, Adam": ..., "activations": ..., "logits": ..., "program": ...}
"""

from __future__ import annotations

from freehold.fit import Architecture, Need, training
from freehold.train.job import ids_at_once
from freehold.train.model import config_of
from freehold.train.nouns import Shape

__all__ = ["architecture", "need"]

SCORES = 512  # ids of a row up to which attention keeps its scores (loop/trainer.py)


def architecture(shape: Shape) -> Architecture:
    return Architecture.of(config_of(shape, 0).to_dict())


def need(a: Architecture, shape: Shape) -> Need:
    """Of one process that works on as many ids at once as the loop does."""
    held = ids_at_once(shape)
    fused = shape.context > SCORES
    return training(a, "full", tokens=held, longest=shape.context, answers=held, width=4, fused=fused)
