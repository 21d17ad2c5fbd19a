"""Memory that training takes: weights, gradients, Adam's states, activations, logits, on each of `ranks` devices.

    training(a, "qlora", tokens=2048, longest=2048, answers=512)      {weights, adapter, activations, logits, program}
    training(a, "full", ..., ranks=8, zero=3)                         16 / 8 bytes a parameter on each

Full in mixed precision with Adam: 16 bytes a parameter; ZeRO's stages 4 + 12/n, 2 + 14/n, 16/n (arXiv 1910.02054);
offloading takes the 12 of the optimiser off the device. LoRA: the base (in NF4 for QLoRA) and 16 bytes a parameter of
the adapter. Activations after Korthikanti et al. (arXiv 2205.05198), with the terms of a gated MLP; recomputed ones: a
layer's input, and one layer whole. Logits: 4 bytes a word of the vocabulary, three times (logits, their logarithms,
the gradient).
"""

from __future__ import annotations

from typing import Literal

from freehold.fit.architecture import Layer
from freehold.fit.count import Model, lora_parameters, parameters, whole
from freehold.fit.forms import weight_bytes
from freehold.fit.memory import Need

__all__ = ["PROGRAM", "adam_bytes", "tagging", "training"]

PROGRAM = 450 << 20  # measured: Python with torch, transformers and peft imported
SLACK = 1.4  # measured on a CPU: what the allocator holds over the sum of the tensors, 1.2 to 1.5 times
How = Literal["full", "lora", "qlora"]
Zero = Literal[0, 1, 2, 3]


def training(
    model: Model,
    how: How,
    *,
    tokens: int,
    longest: int,
    answers: int,
    rank: int = 16,
    width: int = 2,
    fused: bool = False,
    recompute: bool = False,
    ranks: int = 1,
    zero: Zero = 0,
    offload: bool = False,
) -> Need:
    """What a step takes on one device.

    `tokens`: ids in memory at once; `longest`: of one row, with what it reads before it; `answers`: ids learned in it.
    `width`: bytes a number (2 for bfloat16). `fused`: attention that keeps no scores. `ranks`: devices that share the
    work by ZeRO's stage `zero`; `offload`: Adam's states lie in the machine's memory.
    """
    a = whole(model)
    kept = [(times, tokens * _kept(layer, a.hidden, longest, width, fused=fused)) for times, layer in a.layers]
    activations = sum(times * size for times, size in kept)
    if recompute:
        activations = a.depth * tokens * width * a.hidden + max(size for _, size in kept)
    need = {
        "activations": int(SLACK * activations),
        "logits": int(SLACK * 3 * 4 * answers * a.vocabulary),
        "program": PROGRAM,
    }
    per = adam_bytes(zero, ranks, offload=offload)
    if how == "full":
        return {"weights, gradients, Adam": int(per * parameters(a))} | need
    weights = weight_bytes(a, "NF4") if how == "qlora" else width * parameters(a)
    weights = weights // ranks if zero == 3 else weights
    return {"weights": weights, "adapter, gradients, Adam": int(per * lora_parameters(a, rank))} | need


def adam_bytes(zero: Zero = 0, ranks: int = 1, *, offload: bool = False) -> float:
    """Bytes a trained parameter on each of `ranks` devices: 2 weights, 2 gradients, 12 of Adam in float32."""
    states = 12 / (ranks if zero >= 1 else 1)
    gradients = 2 / (ranks if zero >= 2 else 1)
    weights = 2 / (ranks if zero == 3 else 1)
    return weights + gradients + (0 if offload else states)


def _kept(layer: Layer, hidden: int, longest: int, width: int, *, fused: bool) -> float:
    """Bytes that a layer keeps of each id: two norms in float32 and their output; q, k, v and what they were made from;
    the MLP's input and its four inner states; and the scores of each head, in float32 and again in `width`."""
    inner = sum(m.outputs for m in layer.matrices if m.role == "up")
    inner += layer.chosen * sum(m.outputs for m in layer.expert if m.role == "up")
    scores = 0 if fused or not layer.kept else (4 + width) * layer.heads * longest
    return (2 * (4 + width) + 6 * width) * hidden + 4 * width * inner + scores


def tagging(
    parameters: int, *, hidden: int, layers: int, heads: int, tokens: int, longest: int, width: int = 4
) -> Need:
    """What a step of fine-tuning a whole BERT takes: `tokens` in memory at once, of texts of `longest` at most, in
    `width` bytes a number. Activations 34 h + 5 a s half-words a token and layer (arXiv 2205.05198, table 2)."""
    kept = width * (34 * hidden + 5 * heads * longest) // 2
    return {
        "weights, gradients, Adam": 16 * parameters,
        "activations": layers * tokens * kept,
        "program": PROGRAM,
    }
