"""How sure to be of a whole answer: a logistic regression on what the decoder knows of it, learned on held-back rows.

features [n, k], ok [n] ─all→ Score (served) ─each row by folds that have not seen it→ prior [n]
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freehold.engines.extract import Score

__all__ = ["learn"]

Floats = npt.NDArray[np.float64]
FOLDS = 10
STRENGTH = 0.3  # scikit-learn's C: a few features, a few hundred rows, few of them wrong


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
    """Where all rows are right, or all wrong, there is nothing to learn: the features' sum then ranks the answers."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    if ok.all() or not ok.any():
        weights, bias = np.zeros(features.shape[1]), 3.0 if ok.all() else -3.0
        weights[0] = 1.0
    else:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=STRENGTH, max_iter=2000).fit((features - mean) / scale, ok)
        weights, bias = model.coef_[0], float(model.intercept_[0])
    return Score(_tuple(mean), _tuple(scale), _tuple(weights), float(bias))


def _tuple(x: Floats) -> tuple[float, ...]:
    return tuple(map(float, x))
