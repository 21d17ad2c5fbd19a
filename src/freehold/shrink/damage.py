"""What a format does to a model's next-token distributions and to its answers. Pure: numbers in, numbers out.

divergence(reference, other) -> kl [n], same [n]      float32 logits [n, vocabulary] each
Damage.of([kl of row 1, ...], [same of row 1, ...])   mean with its interval over rows, p99, max, top-1 agreement
worse(ours, theirs)                                   the exact paired test of agreement lost against gained
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.measure import share
from freehold.nouns import Measure

__all__ = ["Damage", "divergence", "margins", "worse"]

Floats = npt.NDArray[np.float32]
BLOCK = 32  # positions at once: a vocabulary in float64, several times over
Bools = npt.NDArray[np.bool_]


def divergence(reference: Floats, other: Floats) -> tuple[npt.NDArray[np.float64], Bools]:
    """KL(reference || other) in nat per position, and whether both have the same likeliest token."""
    kl = np.empty(len(reference))
    for start in range(0, len(kl), BLOCK):
        p, q = _log_softmax(reference[start : start + BLOCK]), _log_softmax(other[start : start + BLOCK])
        kl[start : start + BLOCK] = np.einsum("nv,nv->n", np.exp(p), p - q)
    return np.maximum(kl, 0.0), reference.argmax(1) == other.argmax(1)


def margins(logits: Floats) -> npt.NDArray[np.float64]:
    """The difference of the two largest logits, per position."""
    two = np.partition(logits, -2, axis=1)[:, -2:].astype(np.float64)
    return np.abs(two[:, 1] - two[:, 0])


@dataclass(frozen=True, slots=True)
class Damage:
    mean: Measure
    p99: float
    max: float
    top1: Measure

    @classmethod
    def of(cls, kl: Sequence[npt.NDArray[np.float64]], same: Sequence[Bools]) -> Damage:
        """From the positions of each row. Rows are drawn, positions inside one are not: they are the clusters."""
        values, agree = np.concatenate(kl), np.concatenate(same)
        mean = float(values.mean())
        residual = np.array([row.sum() - len(row) * mean for row in kl])
        rows = len(kl)
        half = 1.96 * float(np.sqrt(rows / max(1, rows - 1) * (residual**2).sum())) / len(values)
        said = Measure(mean, max(0.0, mean - half), mean + half, len(values), "nat", f"cluster-robust, {rows} rows")
        return cls(said, float(np.quantile(values, 0.99)), float(values.max()), share(int(agree.sum()), len(agree)))


def worse(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[Measure, float]:
    """Agreement gained (ours minus theirs) with a 95 % interval, and the one-sided exact p-value of having lost
    (McNemar: of the rows that differ, as many as this went the wrong way by a fair coin)."""
    from scipy.special import bdtrc

    a, b = np.asarray(ours, bool), np.asarray(theirs, bool)
    lost, gained, n = int((b & ~a).sum()), int((a & ~b).sum()), len(a)
    p = float(bdtrc(lost - 1, lost + gained, 0.5)) if lost else 1.0
    value = (gained - lost) / n
    half = 1.96 * float(np.sqrt(max(lost + gained - n * value**2, 0.0))) / n
    return Measure(value, value - half, value + half, n, "share", "paired, 95 %"), p


def _log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    x = logits.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    x -= np.log(np.exp(x).sum(axis=1, keepdims=True))
    return x
