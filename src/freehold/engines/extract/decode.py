"""From a tagger's log-probabilities to the most probable whole answer, and how sure it is of all of it.

tags    per layer [words, 1 + 2 fields]: outside | first word of field k | next word of field k
labels  per label [values]
─ for each likely value of the governor: only the fields and labels seen with it, a next word only after its first
  (Viterbi) → the best path; the same sum over all legal paths → its share of all answers' probability
─ Found(labels, spans, features)

features: what is known of an answer before anybody says if it is right (`FEATURES`, in this order)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.engines.extract.form import Form

__all__ = ["FEATURES", "Decoder", "Found"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
FEATURES = ("share", "sum", "least", "labels", "doubt", "words", "spans", "strange")
NEVER = -1e9
REACH = 7.0  # nats that a governor's value may be below the best answer, to be looked at
MOST = 8  # values of the governor looked at
REPAIRS = 4
FLOOR = 1e-7
TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Found:
    """`labels`: a value index per label; `spans`: (field, first word, last word + 1); `features` [len(FEATURES)]."""

    labels: tuple[int, ...]
    spans: tuple[tuple[int, int, int], ...]
    features: Floats


@dataclass(frozen=True, slots=True)
class _Way:
    """The best answer under one value of the governor."""

    score: float
    total: float  # log of the sum over every answer under it
    labels: tuple[int, ...]
    paths: tuple[Indices, ...]


class Decoder:
    """`Decoder(form).best(tags, labels, strange)`; pure arithmetic on one text."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.fields = [np.array(form.layer(k), np.int64) for k in range(form.layers)]
        self._tags = [[_tags(fields, allowed) for fields in self.fields] for allowed in form.allowed]

    def best(self, tags: Sequence[Floats], labels: Sequence[Floats], strange: float) -> Found:
        """The most probable answer. `strange`: the share of words that no training text holds."""
        form = self.form
        likely = labels[form.governor] if form.governor >= 0 else np.zeros(1)
        ways: list[_Way] = []
        for g in np.argsort(-likely, kind="stable")[:MOST].tolist():
            if ways and likely[g] < max(way.score for way in ways) - REACH:
                break  # no answer under it is likelier than its label
            ways.append(self._way(g, tags, labels))
        top = max(ways, key=lambda way: way.score)
        total = float(np.logaddexp.reduce([way.total for way in ways]))
        return Found(top.labels, self._spans(top.paths), self._features(top, total, tags, labels, strange))

    def _way(self, g: int, tags: Sequence[Floats], labels: Sequence[Floats]) -> _Way:
        form = self.form
        chosen, score, total = [], 0.0, 0.0
        for j, p in enumerate(labels):
            some = np.array([g] if j == form.governor else form.choices[g][j], np.int64)
            k = int(some[p[some].argmax()])
            chosen.append(k)
            score += float(p[k])
            total += float(np.logaddexp.reduce(p[some]))
        paths = []
        for legal, p, fields in zip(self._tags[g], tags, self.fields, strict=True):
            p = p[:, legal]
            path, every = _viterbi(p), _sum(p)
            once = [s for s in range(1, len(legal), 2) if form.spans[int(fields[(legal[s] - 1) // 2])].many == "never"]
            path = _single(path, p, once)
            score, total = score + _score(p, path), total + every
            paths.append(legal[path])
        return _Way(score, max(total, score), tuple(chosen), tuple(paths))

    def _spans(self, paths: Sequence[Indices]) -> tuple[tuple[int, int, int], ...]:
        found = []
        for fields, path in zip(self.fields, paths, strict=True):
            for t in np.flatnonzero(path % 2 == 1).tolist():
                end = t + 1
                while end < len(path) and path[end] == path[t] + 1:
                    end += 1
                found.append((int(fields[(path[t] - 1) // 2]), t, end))
        return tuple(sorted(found, key=lambda span: span[1:]))

    def _features(
        self, top: _Way, total: float, tags: Sequence[Floats], labels: Sequence[Floats], strange: float
    ) -> Floats:
        words = [p[np.arange(len(path)), path] for p, path in zip(tags, top.paths, strict=True)]
        chosen = np.array([p[k] for p, k in zip(labels, top.labels, strict=True)])
        every = np.concatenate([np.zeros(1), chosen, *words])
        share = float(np.exp(top.score - total))
        return np.array(
            [
                _logit(share),
                float(every.sum()),
                _logit(float(np.exp(every.min()))),
                float(chosen.sum()),
                float(np.log(np.sum(1 - np.exp(every)) + FLOOR)),
                float(np.log1p(len(tags[0]) if tags else 0)),
                float(sum((path % 2 == 1).sum() for path in top.paths)),
                strange,
            ]
        )


def _tags(fields: Indices, allowed: Sequence[int]) -> Indices:
    """The tags that a layer may give where only `allowed` span fields occur: 0, then first and next of each."""
    some = [k for k, field in enumerate(fields.tolist()) if field in set(allowed)]
    return np.array([0, *(t for k in some for t in (2 * k + 1, 2 * k + 2))], np.int64)


def _viterbi(p: Floats) -> Indices:
    """The best legal path through p [words, 1 + 2 fields]: an even state above 0 follows itself or the one before it
    (Viterbi 1967)."""
    n = len(p)
    path = np.zeros(n, np.int64)
    if n == 0:
        return path
    tops, stays = [0] * n, [np.zeros(0, bool)] * n
    score = p[0].copy()
    score[2::2] = NEVER
    for t in range(1, n):
        top = int(score.argmax())
        first, after = score[1::2], score[2::2]
        tops[t], stays[t] = top, after >= first
        best, score = score[top], p[t].copy()
        came = np.maximum(first, after)
        score[0] += best
        score[1::2] += best
        score[2::2] += came
    at = int(score.argmax())
    for t in range(n - 1, -1, -1):
        path[t] = at
        at = tops[t] if at == 0 or at % 2 else at if stays[t].size and stays[t][at // 2 - 1] else at - 1
    return path


def _sum(p: Floats) -> float:
    """log of the summed probability of all legal paths."""
    if len(p) == 0:
        return 0.0
    share, total = np.exp(p[0]), 0.0  # probabilities, rescaled at each word
    share[2::2] = 0.0
    odds = np.exp(p)
    for row in odds[1:]:
        every = max(float(share.sum()), TINY)
        came = (share[1::2] + share[2::2]) / every
        total += float(np.log(every))
        share = row.copy()
        share[2::2] *= came
    return total + float(np.log(max(float(share.sum()), TINY)))


def _score(p: Floats, path: Indices) -> float:
    return float(p[np.arange(len(path)), path].sum())


def _single(path: Indices, p: Floats, once: Sequence[int]) -> Indices:
    """A field that is never a list keeps one span: of two, the one is given up that costs least."""
    for _ in range(REPAIRS):
        twice = [t for s in once for t in np.flatnonzero(path == s).tolist() if (path == s).sum() > 1]
        if not twice:
            break
        tried = []
        for t in twice:
            other = p.copy()
            other[t, path[t]] = NEVER
            found = _viterbi(other)
            tried.append((_score(other, found), found, other))
        _, path, p = max(tried, key=lambda trial: trial[0])
    return path


def _logit(p: float) -> float:
    p = min(max(p, FLOOR), 1 - FLOOR)
    return float(np.log(p) - np.log1p(-p))
