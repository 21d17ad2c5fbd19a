"""How sure to be of a whole answer: a logistic regression on what the decoder knows of it, learned on held-back rows.

features [n, k], ok [n] ─all→ Score (served) ─each row by folds that have not seen it→ prior [n]
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freehold.engines.extract.student import Score

__all__ = ["learn"]

Floats = npt.NDArray[np.float64]
FOLDS = 10
RIDGE = 3.0  # a few features, a few hundred rows, few of them wrong
STEPS = 100
LONGEST = 2.0  # of a Newton step, in any weight


def learn(
    features: Floats, ok: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64], seed: int
) -> tuple[Score, Floats]:
    """The score, and what such a score says of each row when it was learned without its group's fold."""
    rng = np.random.default_rng(seed)
    _, number = np.unique(groups, return_inverse=True)
    fold = (rng.permutation(number.max() + 1) % FOLDS)[number]
    prior = np.zeros(len(ok))
    for k in range(FOLDS):
        score = _fit(features[fold != k], ok[fold != k])
        for i in np.flatnonzero(fold == k):
            prior[i] = score.of(features[i])
    return _fit(features, ok), prior


def _fit(features: Floats, ok: npt.NDArray[np.bool_]) -> Score:
    """Ridge logistic regression by Newton's method (iteratively reweighted least squares). Where all rows are right,
    or all wrong, there is nothing to learn: the first feature, the answer's share, then ranks them. Without any row
    (all are of one group) the score is that share itself."""
    if len(ok) == 0:
        size = features.shape[1]
        return Score((0.0,) * size, (1.0,) * size, _tuple(np.eye(size)[0]), 0.0)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    if ok.all() or not ok.any():
        first = np.eye(features.shape[1])[0]
        return Score(_tuple(mean), _tuple(scale), _tuple(first), 3.0 if ok.all() else -3.0)
    x = np.column_stack([(features - mean) / scale, np.ones(len(ok))])
    penalty = np.diag([RIDGE] * features.shape[1] + [0.0])
    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        slope = x.T @ (ok - p) - penalty @ w
        curve = (x * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ x + penalty
        step = np.linalg.solve(curve, slope)
        w = w + step * min(1.0, LONGEST / float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return Score(_tuple(mean), _tuple(scale), _tuple(w[:-1]), float(w[-1]))


def _tuple(x: Floats) -> tuple[float, ...]:
    return tuple(map(float, x))
