"""Fit the members on some rows: linear and network on each encoder's vectors, words and letters on n-grams.

    Training(texts, y, vectors) ──→ Members (freehold.engines.stack), ready to score any text

One BLAS thread throughout (the caller sees to it), so that the same rows give the same bytes on any number of cores.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.stack import Members
from freehold.engines.words import Words

__all__ = ["SETTINGS", "Training", "fit_members", "linear"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

SETTINGS: dict[str, Any] = {
    "linear": {"C": 100.0, "max_iter": 60},
    "network": {"hidden": 256, "alpha": 1e-4, "batch": 128, "rate": 1e-3, "rows": 150_000, "epochs": [15, 100]},
    "words": {"smoothing": 0.03, "most": 60_000},
    "shelf": {"most_per_label": 256},
}
STRETCH = 20.0  # of unit vectors before the network, so that its inputs have about unit variance
INTERRUPTED = "Training interrupted by user"  # scikit-learn's own words
ABSENT = -30.0  # raw score of a label that a fold has no row of


@dataclass(frozen=True, slots=True)
class Training:
    """Rows to fit on: y [n] in 0..labels - 1, one [n, dim] array per encoder."""

    texts: Sequence[str]
    y: Indices
    vectors: Sequence[Floats]
    labels: int

    def rows(self, which: Indices) -> Training:
        texts = [self.texts[i] for i in which]
        return Training(texts, self.y[which], [v[which] for v in self.vectors], self.labels)

    def plus(self, other: Training) -> Training:
        vectors = [np.concatenate([a, b]) for a, b in zip(self.vectors, other.vectors, strict=True)]
        return Training([*self.texts, *other.texts], np.concatenate([self.y, other.y]), vectors, self.labels)


def fit_members(rows: Training, seed: int) -> Members:
    words, table = _words(rows)
    shelf, starts = _shelf(rows, seed)
    return Members(
        linear=tuple(linear(v, rows) for v in rows.vectors),
        network=tuple(_network(v, rows, seed) for v in rows.vectors),
        words=words,
        table=table,
        shelf=shelf,
        starts=starts,
    )


def linear(vectors: Floats, rows: Training) -> tuple[Floats, Floats]:
    """Softmax regression with an L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    present = np.unique(rows.y)
    if len(present) == 1:
        return _only(present[0], vectors.shape[1], rows.labels)
    s = SETTINGS["linear"]
    model = LogisticRegression(C=s["C"], max_iter=s["max_iter"], tol=1e-5)
    _fit(model, vectors, rows.y)
    weights, bias = _both(model.coef_, model.intercept_)
    return _spread(weights, bias, present, rows.labels)


def _network(vectors: Floats, rows: Training, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """One hidden layer of rectified units, trained by Adam until it has seen about `rows` rows."""
    from sklearn.neural_network import MLPClassifier

    s = SETTINGS["network"]
    present = np.unique(rows.y)
    if len(present) == 1:
        w, b = _only(present[0], s["hidden"], rows.labels)
        return np.zeros((s["hidden"], vectors.shape[1]), np.float32), np.zeros(s["hidden"], np.float32), w, b
    batch = min(s["batch"], len(vectors))
    epochs = int(np.clip(s["rows"] / len(vectors), *s["epochs"]))
    mean = vectors.mean(axis=0)
    model = MLPClassifier(
        (s["hidden"],), alpha=s["alpha"], batch_size=batch, learning_rate_init=s["rate"], max_iter=epochs,
        n_iter_no_change=epochs, random_state=seed,
    )  # fmt: skip
    _fit(model, (vectors - mean) * np.float32(STRETCH), rows.y)
    inner = np.ascontiguousarray(model.coefs_[0].T * STRETCH, np.float32)
    outer, bias = _spread(*_both(model.coefs_[1].T, model.intercepts_[1]), present, rows.labels)
    return inner, (model.intercepts_[0] - inner @ mean).astype(np.float32), outer, bias


def _fit(model: Any, x: Floats, y: Indices) -> None:
    """Stopping after a set number of steps is meant, and labels are labels however few rows each has, so scikit-learn's
    warnings about both say nothing new. Its network takes a Ctrl-C for the end of its training: here it is the end."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        warnings.filterwarnings("error", INTERRUPTED, UserWarning)
        try:
            model.fit(x, y)
        except UserWarning as error:
            if str(error).startswith(INTERRUPTED):
                raise KeyboardInterrupt from None
            raise


def _both(weights: Any, bias: Any) -> tuple[Any, Any]:
    """scikit-learn keeps one row for two labels: the second's advantage over the first."""
    if len(weights) > 1:
        return weights, bias
    return np.vstack([np.zeros_like(weights), weights]), np.concatenate([np.zeros_like(bias), bias])


def _spread(weights: Any, bias: Any, present: Indices, labels: int) -> tuple[Floats, Floats]:
    """Rows for all labels; one without examples here scores ABSENT."""
    w, b = np.zeros((labels, weights.shape[1]), np.float32), np.full(labels, ABSENT, np.float32)
    w[present], b[present] = weights, bias
    return w, b


def _only(label: int, columns: int, labels: int) -> tuple[Floats, Floats]:
    return _spread(np.zeros((1, columns)), np.zeros(1), np.array([label]), labels)


def _words(rows: Training) -> tuple[Words, Floats]:
    """Multinomial naive Bayes on TF-IDF, a model per half: log P(n-gram | label), each n-gram's mean taken off (that
    changes no softmax) so that half precision holds it."""
    from scipy.sparse import csr_matrix

    s = SETTINGS["words"]
    words = Words.of(rows.texts, most=s["most"])
    n = len(rows.y)
    member = csr_matrix((np.ones(n, np.float32), (rows.y, np.arange(n))), shape=(rows.labels, n))
    counts = np.asarray((member @ words.matrix(rows.texts)).todense()).T + s["smoothing"]
    cut = len(words.terms[0])
    for half in (slice(0, cut), slice(cut, None)):
        if counts[half].size:
            counts[half] /= counts[half].sum(axis=0)
    table = np.log(counts)
    table -= table.mean(axis=1, keepdims=True)
    return words, table.astype(np.float16).astype(np.float32)


def _shelf(rows: Training, seed: int) -> tuple[Floats, Indices]:
    """The first encoder's vectors by label, at most `most_per_label` of each, chosen by the seed."""
    most = SETTINGS["shelf"]["most_per_label"]
    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.permutation(np.flatnonzero(rows.y == k))[:most]) for k in range(rows.labels)]
    starts = np.cumsum([0, *map(len, chosen)])
    return rows.vectors[0][np.concatenate(chosen)].astype(np.float16).astype(np.float32), starts
