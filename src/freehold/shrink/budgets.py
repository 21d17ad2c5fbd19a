"""How much a hop may lose, as data with reasons.

A hop is measured on the team's own text: KL divergence of next-token distributions against the tuned model in float32
(nat, at every position of prompts and logged answers), and answers on rows that the fit never saw.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BUDGETS", "LARGEST_LOGIT", "PAIRED_LEVEL", "POSITIONS", "ROWS", "Budget", "budget_of"]

LARGEST_LOGIT = 1e-3
"""Between transformers and llama.cpp, both in float32: sums in another order differ by 1e-5 to 1e-4; a wrong rotation,
epsilon or tokenizer by 1 and more."""
POSITIONS = 1000  # the fewest that a 99th percentile can rest on: ten lie beyond it
ROWS = 100  # whose answers are compared; the interval of a share is then at most 20 points wide
PAIRED_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Budget:
    """Largest mean, 99th percentile and maximum of the KL divergence in nat, None: reported only. `margin`: the largest
    difference of the two likeliest logits, in the float32 model, at which an answer may turn."""

    mean: float
    p99: float | None
    max: float | None
    margin: float
    why: str


BUDGETS = {
    "F32": Budget(1e-6, None, 1e-4, 1e-3, "the same numbers; only the order of sums differs"),
    "BF16": Budget(1e-3, None, 0.02, 0.1, "8 bits of mantissa; measured 0.00015 on a 135M model, with 99.2 % top-1"),
    "8-bit": Budget(
        0.01,
        0.05,
        None,
        0.5,
        "activations are rounded to 8-bit blocks in every layer; measured 0.0032 to 0.0043 at 135M",
    ),
    "4-bit": Budget(0.03, None, None, 1.0, "measured 0.013 at 135M; the rest is for the answers to decide"),
}
"""Starting values from SmolLM2-135M, 1,080 positions of English, 2026-11-24; see docs/shrink.md for what was measured
since."""
KINDS = {"F32": "F32", "BF16": "BF16", "F16": "BF16", "Q8_0": "8-bit", "Q4_1": "8-bit", "Q4_K_M": "4-bit"}


def budget_of(form: str) -> Budget:
    """Of a format; one that is not listed has the loosest."""
    return BUDGETS[KINDS.get(form, "4-bit")]
