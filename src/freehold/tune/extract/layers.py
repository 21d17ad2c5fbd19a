"""Fields whose values share words (a full name and the first name in it) are tagged in different layers.

rows where 0 and 2 share a word: 140 of 3,000    0 and 1: one    → layers (0, 0, 1)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from freehold.tune.extract.align import Placed

__all__ = ["layers_of"]

RARE = 0.002  # share of rows in which two fields may meet by chance (those rows are left out)


def layers_of(fields: int, rows: Sequence[Sequence[Placed]]) -> tuple[int, ...]:
    """A layer per field: the first in which it meets no other."""
    meet: Counter[tuple[int, int]] = Counter()
    for placed in rows:
        pairs = combinations(placed, 2)
        meet.update({(min(f, g), max(f, g)) for (f, a, b), (g, c, d) in pairs if f != g and a < d and c < b})
    apart = {pair for pair, n in meet.items() if n > RARE * len(rows)}
    layers: list[int] = []
    for f in range(fields):
        taken = {layers[g] for g in range(f) if (g, f) in apart}
        layers.append(next(k for k in range(fields) if k not in taken))
    return tuple(layers)
