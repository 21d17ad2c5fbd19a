"""How much text a model of some size should see, and what text that is read again is worth.

    20 tokens a parameter for the least loss at a given compute C = 6 N D        Hoffmann et al., arXiv 2203.15556
    D' = U + 15.39 U (1 - exp(-R / 15.39))   U once, R times again               Muennighoff et al., arXiv 2305.16264
         4 epochs are worth 3.7 times the text once, 16 are worth 10.6, any number 16.4

worth(40e6, once=10e6) -> 37.3e6
"""

from __future__ import annotations

import math

__all__ = ["A_PARAMETER", "EPOCHS", "LASTING", "flops", "worth"]

A_PARAMETER = 20  # tokens
LASTING = 15.39  # R*_D: after so many repeats, another one is worth 1/e of the first
EPOCHS = 16  # from there on, computing more gains next to nothing


def worth(tokens: float, once: float) -> float:
    """Tokens that have never been read which teach as much as these `tokens`, read from a text of `once`."""
    if tokens <= once:
        return tokens
    again = tokens / once - 1
    return once + once * LASTING * (1 - math.exp(-again / LASTING))


def flops(parameters: float, tokens: float) -> float:
    """Of learning: two of each parameter forward, four backward."""
    return 6 * parameters * tokens
