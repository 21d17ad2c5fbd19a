"""What the rows are worth: the student with them and without, asked the same logged rows.

    paired(with_ok, without_ok) -> Value(with_ 0.93, without 0.91, difference +0.02 (+0.005 to +0.035), ...)

One row of each group of near-duplicates counts, so that rows are independent. The interval is that of Bonett and Price
(2012, J. Educational and Behavioral Statistics 37: 479) for a difference of paired shares, 95 %. The rows help where it
lies above 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from freehold.measure import share
from freehold.nouns import Measure
from freehold.tune.synthetic.made import Value

__all__ = ["difference", "one_of_each", "paired"]

Z = 1.959964
METHOD = "paired, Bonett-Price 95 %"
Bools = npt.NDArray[np.bool_]


def paired(with_ok: Sequence[bool] | Bools, without_ok: Sequence[bool] | Bools) -> Value:
    a, b = np.asarray(with_ok, bool), np.asarray(without_ok, bool)
    won, lost = int((a & ~b).sum()), int((b & ~a).sum())
    return Value(
        share(int(a.sum()), len(a)), share(int(b.sum()), len(b)), difference(won, lost, len(a)), won, lost
    )  # fmt: skip


def difference(won: int, lost: int, n: int) -> Measure:
    """(won - lost) / n with its interval."""
    if n == 0:
        return Measure(None, -1.0, 1.0, 0, "share", METHOD)
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Measure((won - lost) / n, max(-1.0, p - q - half), min(1.0, p - q + half), n, "share", METHOD)


def one_of_each(groups: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The first row of each group, ascending."""
    return np.sort(np.unique(np.asarray(groups), return_index=True)[1])
