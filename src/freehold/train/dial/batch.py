"""How much a step reads, and how fast it learns: both follow from the training as a whole.

    ids a step   0.58 D^0.571 of Step Law (Li et al., arXiv 2503.04715), times 0.3
    rate         0.3118 C^-0.125 of DeepSeek LLM (arXiv 2401.02954), C = 6 N D, times 0.25

Both rules were fitted on models of 60M parameters and more. On models of a laptop's size the small step won at equal
tokens (as Marek et al., arXiv 2507.07101, find), and a lower rate belongs to it; docs/log.md has the runs.

    ids_a_step(768e3) -> 403        rate(860e3, 768e3) -> 0.0021
"""

from __future__ import annotations

from freehold.train.dial.enough import flops

__all__ = ["AGAIN", "betas", "ids_a_step", "rate"]

SMALLER, SLOWER = 0.3, 0.25  # measured here, see above
LEAST_IDS, MOST_IDS = 256, 1 << 22
FEW_IDS = 4096
AGAIN = 0.1  # of a new model's rate, for one that has learned before


def ids_a_step(tokens: float) -> float:
    wanted: float = SMALLER * 0.58 * tokens**0.571
    return min(MOST_IDS, max(LEAST_IDS, wanted))


def rate(parameters: float, tokens: float, *, again: bool = False) -> float:
    """The largest, to two digits. `again`: of a model that has learned before."""
    best = SLOWER * 0.3118 * flops(parameters, max(1.0, tokens)) ** -0.125
    return float(f"{best * (AGAIN if again else 1):.2g}")


def betas(ids: int) -> tuple[float, float]:
    """Adam's: small steps are noisy, so squares are averaged over more of them (arXiv 2507.07101)."""
    return 0.9, 0.99 if ids < FEW_IDS else 0.95
