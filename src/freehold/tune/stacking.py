"""What a stack learns from rows that no member saw in its fit: heats, weights, and the score.

raw [rows, members, labels] ─heat per member→ log-scores ─weights by NLL→ three candidates a row
    ─near's heat, weights by NLL among the candidates→ answer ─features→ logistic regression → P(answer is right)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.engines.stack import Candidates, Members, Stack, candidates, describe, log_softmax

__all__ = ["Unseen", "learn"]

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
STRENGTH = 0.1  # C of the score's logistic regression
MOST = 6000  # rows that heats and weights are fitted on: they are a handful of numbers


@dataclass(frozen=True, slots=True)
class Unseen:
    """Rows with the raw scores of the members of their fold: raw [n, members, labels], `vectors` of encoder one."""

    texts: Sequence[str]
    y: Indices
    fold: Indices
    members: Sequence[Members]
    raw: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]


def learn(rows: Unseen, labels: int) -> tuple[Stack, Doubles, npt.NDArray[np.bool_]]:
    """The stack, and each row's score and whether its answer is right; a row's score is made without its fold."""
    some = np.linspace(0, len(rows.y) - 1, min(MOST, len(rows.y))).astype(np.int64)
    heats = np.array([_heat(rows.raw[some, m], rows.y[some]) for m in range(rows.raw.shape[1])])
    first = _weights(log_softmax(rows.raw[some] * heats[:, None]), rows.y[some])
    found = [candidates(rows.members[f], rows.raw[i], rows.vectors[i], heats, first) for i, f in enumerate(rows.fold)]
    near_heat, second = _second(found, rows.y)
    answers = np.array(
        [describe(c, t, near_heat, second, np.zeros((labels, 2)))[0] for c, t in zip(found, rows.texts, strict=True)]
    )
    ok = answers == rows.y
    features = np.zeros(0)
    scores = np.zeros(len(ok))
    parts = [(np.flatnonzero(rows.fold == f), np.flatnonzero(rows.fold != f)) for f in np.unique(rows.fold)]
    for inside, outside in parts:
        # what is known about a label comes from the other folds: it must not tell a row its own outcome
        about = _about(answers[outside], rows.y[outside], labels)
        part = np.stack([describe(found[i], rows.texts[i], near_heat, second, about)[1] for i in inside.tolist()])
        features = features if features.size else np.zeros((len(ok), part.shape[1]))
        features[inside] = part
    about = _about(answers, rows.y, labels)
    for inside, outside in parts:
        stack = Stack(heats, first, near_heat, second, about, *_score_model(features[outside], ok[outside]))
        scores[inside] = [stack.score(row) for row in features[inside]]
    return Stack(heats, first, near_heat, second, about, *_score_model(features, ok)), scores, ok


def _about(answers: Indices, y: Indices, labels: int) -> Doubles:
    """Log share of each label, and how often the stack is right when it says it, both smoothed: [labels, 2]."""
    share = (np.bincount(y, minlength=labels) + 0.5) / (len(y) + 0.5 * labels)
    right = np.bincount(answers[answers == y], minlength=labels) + 1
    return np.stack([np.log(share), right / (np.bincount(answers, minlength=labels) + 2)], axis=1)


def _heat(raw: npt.NDArray[np.float32], y: Indices) -> float:
    """The factor on raw scores with the least negative log-likelihood (an inverse temperature)."""
    from scipy.optimize import minimize_scalar

    at = np.arange(len(y))

    def loss(log_heat: float) -> float:
        return -float(log_softmax(raw * np.exp(log_heat))[at, y].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 0.01}).x))


def _weights(logs: Doubles, y: Indices) -> Doubles:
    """Weights >= 0 with the least negative log-likelihood of softmax(weights @ logs); logs [n, members, labels]."""
    from scipy.optimize import minimize

    at = np.arange(len(y))
    true = logs[at, :, y]

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        total = log_softmax(np.einsum("m,nml->nl", weights, logs))
        expected = np.einsum("nl,nml->nm", np.exp(total), logs)
        return -float(total[at, y].mean()), (expected - true).mean(axis=0)

    members = logs.shape[1]
    start = np.full(members, 1 / members)
    found: Doubles = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * members).x
    return found


def _second(found: Sequence[Candidates], y: Indices) -> tuple[float, Doubles]:
    """near's heat and the weights among candidates, on the rows whose true label is one."""
    hits = [(c, int(np.flatnonzero(c.labels == k)[0])) for c, k in zip(found, y, strict=True) if k in c.labels]
    if not hits:  # tiny logs: each label's only rows lie in one fold
        return 1.0, np.full(found[0].logs.shape[0] + 1, 1.0)
    place = np.array([p for _, p in hits])
    near = np.stack([c.near[:, 1] for c, _ in hits])
    heat = _heat(near.astype(np.float32), place)
    logs = np.concatenate([np.stack([c.logs for c, _ in hits]), log_softmax(near * heat)[:, None]], axis=1)
    return heat, _weights(logs, place)


def _score_model(features: Doubles, ok: npt.NDArray[np.bool_]) -> tuple[Doubles, Doubles, Doubles, float]:
    """mean, scale, weights and bias of P(right | features); a constant where all rows are right, or all wrong."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1.0
    if ok.all() or not ok.any():
        share = (ok.sum() + 0.5) / (len(ok) + 1)
        # nothing to learn a score from: the stack's own certainty orders the rows
        weights = np.zeros(features.shape[1])
        weights[0] = 0.1
        return mean, scale, weights, float(np.log(share / (1 - share)))
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit((features - mean) / scale, ok)
    return mean, scale, model.coef_[0].astype(np.float64), float(model.intercept_[0])
