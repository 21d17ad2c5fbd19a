"""The label student's arithmetic, in numpy alone: members, stack, score.

    text ─encoder─→ vector ─┬ linear   W x + b
         │                  └ network  V relu(U x + a) + c
         └─n-grams→ row ────┬ words    sum of weight * log P(word | label)
                            └ letters  the same for letter n-grams
    its own vector ── tuned    W x + b, where an encoder fine-tuned on the task comes along
    each member    log softmax(heat * raw)                               [members, labels]
    stack          softmax of the weighted sum: the best three labels are candidates
    near           log softmax(heat * mean similarity of the 3 nearest examples), among the candidates
    stack again    softmax of the weighted sum over candidates and members + near: its best label is the answer
    score          logistic regression on 16 + 3 (members + 1) features of all that: P(the answer is right)

Everything runs on one text at a time: BLAS rounds a product of another shape differently, and a score must not depend
on who else is in the batch. The same code scores the out-of-fold rows of a fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.engines.words import Words

__all__ = ["CANDIDATES", "Candidates", "Members", "Stack", "log_softmax"]

CANDIDATES = 3
NEAREST = (1, 3, 10)
FLOOR = -30.0  # the log-score of what isn't there
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def log_softmax(raw: npt.NDArray[np.floating]) -> Doubles:
    """Along the last axis, in float64."""
    shifted = raw.astype(np.float64) - raw.max(axis=-1, keepdims=True)
    out: Doubles = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return out


@dataclass(frozen=True, slots=True)
class Members:
    """Fitted members. For each encoder a linear model (W [labels, dim], b) and a network (U [hidden, dim], a,
    V [labels, hidden], c); `table` [columns, labels] holds the n-grams' log P; `shelf` [examples, dim] the first
    encoder's vectors of known texts, label by label, those of label k from starts[k] to starts[k + 1]. `tuned`, where
    there is a fine-tuned encoder, is the linear head on its vectors, which come after those of the others."""

    linear: tuple[tuple[Floats, Floats], ...]
    network: tuple[tuple[Floats, Floats, Floats, Floats], ...]
    words: Words
    table: Floats
    shelf: Floats
    starts: Indices
    tuned: tuple[Floats, Floats] | None = None

    @property
    def encoders(self) -> int:
        """How many vectors of a text `raw` reads."""
        return len(self.linear) + (self.tuned is not None)

    @property
    def names(self) -> tuple[str, ...]:
        pairs = [(f"linear.{i}", f"network.{i}") for i in range(len(self.linear))]
        last = () if self.tuned is None else ("tuned",)
        return (*(name for pair in pairs for name in pair), "words", "letters", *last)

    def raw(self, text: str, vectors: Sequence[Floats]) -> Floats:
        """Each member's scores for one text, [members, labels]; `vectors` has one [dim] per encoder."""
        rows = []
        frozen = vectors[: len(self.linear)]
        for x, (w, b), (u, a, v, c) in zip(frozen, self.linear, self.network, strict=True):
            rows += [w @ x + b, v @ np.maximum(u @ x + a, 0) + c]
        columns, weights = self.words.row(text)
        cut = int(np.searchsorted(columns, len(self.words.terms[0])))
        rows += [weights[:cut] @ self.table[columns[:cut]], weights[cut:] @ self.table[columns[cut:]]]
        if self.tuned is not None:
            w, b = self.tuned
            rows.append(w @ vectors[-1] + b)
        return np.stack(rows)

    def near(self, vector: Floats, labels: Indices) -> Doubles:
        """Similarity of the nearest example of each label, and the mean over its 3 and 10 nearest: [labels, 3]."""
        out = np.full((len(labels), len(NEAREST)), -1.0)
        for i, label in enumerate(labels.tolist()):
            shelf = self.shelf[self.starts[label] : self.starts[label + 1]]
            if len(shelf):
                out[i] = _nearest(shelf @ vector)
        return out


def _nearest(similar: Floats) -> list[float]:
    if len(similar) > 2 * NEAREST[-1]:
        similar = np.partition(similar, -NEAREST[-1])[-NEAREST[-1] :]
    most = sorted(similar.tolist(), reverse=True)
    return [sum(most[:k]) / min(k, len(most)) for k in NEAREST]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The few labels that a text may have, best first by the first stack: `logs` [members, candidates] and
    `tops` [members, 2], each member's two best log-scores over all labels."""

    labels: Indices
    logs: Doubles
    tops: Doubles
    near: Doubles


@dataclass(frozen=True, slots=True)
class Stack:
    """What is learnt from out-of-fold rows. `heats` and `first` are per member; `second` has near's weight last;
    `about` [labels, 2] = log share of the label, and how often the stack is right when it says it."""

    heats: Doubles
    first: Doubles
    near_heat: float
    second: Doubles
    about: Doubles
    mean: Doubles
    scale: Doubles
    weights: Doubles
    bias: float

    def candidates(self, members: Members, raw: Floats, vector: Floats) -> Candidates:
        return candidates(members, raw, vector, self.heats, self.first)

    def answer(self, members: Members, text: str, vectors: Sequence[Floats]) -> tuple[int, float]:
        """The label's number and the score in [0, 1] for one text."""
        found = self.candidates(members, members.raw(text, vectors), vectors[0])
        label, features = describe(found, text, self.near_heat, self.second, self.about)
        return label, self.score(features)

    def score(self, features: Doubles) -> float:
        logit = float(np.dot((features - self.mean) / self.scale, self.weights)) + self.bias
        return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def candidates(members: Members, raw: Floats, vector: Floats, heats: Doubles, first: Doubles) -> Candidates:
    logs = log_softmax(raw * heats[:, None])
    total = first @ logs
    labels = np.argsort(-total, kind="stable")[:CANDIDATES]
    tops = np.sort(logs, axis=1)[:, -2:][:, ::-1]
    return Candidates(labels, logs[:, labels], tops, members.near(vector, labels))


def describe(found: Candidates, text: str, near_heat: float, second: Doubles, about: Doubles) -> tuple[int, Doubles]:
    """The answer's number, and what the score is made from."""
    near = log_softmax(found.near[:, 1] * near_heat)
    logs = np.vstack([found.logs, near])
    total = log_softmax(second @ logs)
    order = np.argsort(-total, kind="stable")
    best, other = order[0], order[min(1, len(order) - 1)]
    ranked = np.concatenate([total[order], np.full(CANDIDATES, FLOOR)])[:CANDIDATES]
    p = math.exp(ranked[0])
    most = np.sort(near)[::-1]
    tops = np.vstack([found.tops, [most[0], most[min(1, len(most) - 1)]]])
    mine = logs[:, best]
    agrees = mine >= tops[:, 0]
    margins = np.where(agrees, tops[:, 0] - tops[:, 1], mine - tops[:, 0])
    label, rival = int(found.labels[best]), int(found.labels[other])
    features = [
        ranked[0] - math.log(max(1 - p, 1e-6)),
        *(ranked[:-1] - ranked[1:]),
        -float(np.dot(np.exp(total), total)),
        *mine, *(mine - logs[:, other]), *margins, agrees.sum(),
        *found.near[best], *(found.near[best] - found.near[other]),
        about[label, 0], about[label, 1], about[rival, 1],
        math.log1p(len(text)), math.log1p(text.count(" ")),
    ]  # fmt: skip
    return label, np.array(features, np.float64)
