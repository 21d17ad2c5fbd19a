"""Fit a label student: a stack of small members on frozen embeddings and on n-grams.

    texts, labels ─near-duplicates stay together→ 5 folds
        ─members fitted on 4, scoring the 5th→ raw scores of every row by members that never saw it
        ─stack, score→ prior (score, ok): what prove plans its thresholds from
        ─members fitted again on all rows→ student.safetensors student.json
    with a base to fine-tune: one member more, from two halves instead of five folds (finetune.py) → tuned-*
    with extra rows (synthetic/): members learn from them as well, each in the folds of the rows that it was made after;
        the weights, the score and the prior come from the logged rows alone

The same rows, seed and encoder give the same bytes, on any number of cores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from freehold.engines.label import LabelStudent, encode, encode_checks, encode_prior
from freehold.engines.stack import CANDIDATES, Members
from freehold.errors import NothingToLearn
from freehold.tell import Tell, quiet
from freehold.traffic import near_duplicates
from freehold.tune.base import HALVES, Base
from freehold.tune.finetune import Tuned, finetune
from freehold.tune.members import SETTINGS, Training, fit_members
from freehold.tune.stacking import STRENGTH, Unseen, learn

__all__ = ["CHECKS", "ENCODERS", "FEWEST", "MOST", "Extra", "Fitted", "bounded", "fit", "folds_of", "recipe"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

ENCODERS = ("bge-small-en",)
FOLDS = 5
FEWEST = 10  # different texts
MOST = 30_000  # rows; members gain little beyond, and the time of a fit stays bounded
PER_GROUP = 300  # rows of one group, so that a text asked all day does not push the others out
CHECKS = 64


class Encodes(Protocol):
    name: str
    sha256: str
    licence: str

    def embed(self, texts: Sequence[str], /) -> Floats: ...


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """Rows that teach the members and are no evidence: `fold` says with which of the logged rows each goes."""

    texts: Sequence[str]
    labels: Sequence[str]
    vectors: Sequence[Floats]
    fold: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """`files` is what the artefact holds; `prior_scores` float64 and `prior_ok` bool are those of its rows."""

    files: dict[str, bytes]
    prior_scores: npt.NDArray[np.float64]
    prior_ok: npt.NDArray[np.bool_]
    recipe: dict[str, Any]
    tuned: Tuned | None = None

    def student(self, encoders: Sequence[Encodes] = ()) -> LabelStudent:
        """The student itself; without encoders it can only `score` texts whose vectors are given."""
        if encoders and self.tuned is not None:
            encoders = [*encoders, self.tuned.encoder]
        return LabelStudent.read(self.files["student.json"], self.files["student.safetensors"], encoders)


def recipe(encoders: Sequence[Encodes], seed: int = 0, base: Base | None = None, rows: int = 0) -> dict[str, Any]:
    """All that decides the student, given its rows: `rows` of them are used."""
    tuned = {} if base is None else {"finetune": base.recipe(rows)}
    return tuned | {
        "student": "label stack 1",
        "encoders": [{"name": e.name, "sha256": e.sha256} for e in encoders],
        "members": SETTINGS,
        "stack": {"folds": FOLDS, "candidates": CANDIDATES, "score_C": STRENGTH, "most_rows": MOST},
        "seed": seed,
    }


def fit(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    groups: Sequence[int] | Indices | None = None,
    encoders: Sequence[Encodes] = (),
    embeddings: Sequence[Floats] | None = None,
    base: Base | None = None,
    folds: Indices | None = None,
    extra: Extra | None = None,
    seed: int = 0,
    tell: Tell = quiet,
) -> Fitted:
    """Fit on these rows. `groups` numbers near-duplicates alike (None: found here). `embeddings`, one float32 [n, dim]
    per encoder, spares the encoding; without encoders it alone says what the student reads. `base` is fine-tuned on the
    rows as a further member. `folds`: each row's, instead of those drawn here. `extra` rows teach besides.
    Raises StudentUnusable for one label only, or fewer than 10 different texts; MissingExtra.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    names = sorted(set(labels))
    numbers = near_duplicates(texts) if groups is None else np.asarray(groups, np.int64)
    _check(names, numbers)
    vectors = _vectors(texts, encoders, embeddings, tell)
    with threadpool_limits(1):
        at = {name: k for k, name in enumerate(names)}
        rows = Training(texts, np.array([at[label] for label in labels], np.int64), vectors, len(names))
        used = bounded(numbers, seed)
        fold = folds_of(numbers[used], rows.y[used], seed) if folds is None else folds[used]
        more = None if extra is None else (_more(extra, at, len(names)), extra.fold)
        how = recipe(encoders, seed, base, len(used))
        rows, numbers = rows.rows(used), numbers[used]
        # first, so that a base that can't be trained is told at once
        tuned = None if base is None else _tuned(base, rows, numbers, seed, tell)
        unseen = _out_of_fold(rows, fold, more, seed, tell)
        if tuned is not None:
            unseen = replace(unseen, raw=np.concatenate([unseen.raw, tuned.unseen[:, None]], axis=1))
        tell("weigh the members", None)
        stack, scores, ok = learn(unseen, rows.labels)
        tell("fit the members", FOLDS / (FOLDS + 1))
        members = fit_members(rows if more is None else rows.plus(more[0]), seed)
        if tuned is not None:
            members, encoders = replace(members, tuned=tuned.head), [*encoders, tuned.encoder]
        student = LabelStudent(names, members, stack, encoders)
        files = student.files() | {
            "prior.safetensors": encode_prior(scores, ok),
            "checks.json": _checks(student, rows, tuned, seed),
        }
    tell("fit the members", 1.0)
    if tuned is not None:
        files |= tuned.files()
    return Fitted(files, scores, ok, how, tuned)


def _check(names: Sequence[str], groups: Indices) -> None:
    if len(names) < 2:
        said = repr(names[0]) if names else "none"
        raise NothingToLearn(f"The calls to learn from hold one label only ({said}): there is nothing to tell apart.")
    if (different := len(np.unique(groups))) < FEWEST:
        raise NothingToLearn(f"The calls to learn from hold {different} different texts; at least {FEWEST} are needed.")


def _vectors(
    texts: Sequence[str], encoders: Sequence[Encodes], embeddings: Sequence[Floats] | None, tell: Tell
) -> list[Floats]:
    if embeddings is None:
        return [encode(encoder, texts, tell) for encoder in encoders]
    return [np.ascontiguousarray(e, np.float32) for e in embeddings]


def bounded(groups: Indices, seed: int) -> Indices:
    """All rows; above MOST, at most PER_GROUP of each group of near-duplicates, and such groups drawn until MOST."""
    if len(groups) <= MOST:
        return np.arange(len(groups))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(groups))
    _, group = np.unique(groups, return_inverse=True)
    by = np.argsort(group[order], kind="stable")
    starts = np.flatnonzero(np.diff(group[order][by], prepend=-1))
    place = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    kept = order[by[place < PER_GROUP]]
    sizes = np.bincount(group[kept])
    turn = rng.permutation(len(sizes))
    chosen = turn[np.cumsum(sizes[turn]) <= MOST]
    return np.sort(kept[np.isin(group[kept], chosen)])


def _tuned(base: Base, rows: Training, groups: Indices, seed: int, tell: Tell) -> Tuned:
    threads = len(os.sched_getaffinity(0))
    half = folds_of(groups, rows.y, seed, HALVES)
    return finetune(base, rows, half, base.plan(len(rows.y)), threads=threads, seed=seed, tell=tell)


def folds_of(groups: Indices, y: Indices, seed: int, folds: int = FOLDS) -> Indices:
    """The fold of each row: groups whole, dealt out label by label in a random order, so that each label is spread."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(first)), y[first]))
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % folds
    return fold[group]


def _more(extra: Extra, at: dict[str, int], labels: int) -> Training:
    y = np.array([at[label] for label in extra.labels], np.int64)
    return Training(extra.texts, y, [np.ascontiguousarray(v, np.float32) for v in extra.vectors], labels)


def _out_of_fold(rows: Training, fold: Indices, more: tuple[Training, Indices] | None, seed: int, tell: Tell) -> Unseen:
    """Each row's raw scores by members fitted without its fold, and without what was made after its fold."""
    fitted: list[Members] = []
    raw: Floats | None = None
    there = np.unique(fold)
    for place, f in enumerate(there.tolist()):
        tell("fit the members", place / (len(there) + 1))
        used = rows.rows(np.flatnonzero(fold != f))
        if more is not None:
            used = used.plus(more[0].rows(np.flatnonzero(more[1] != f)))
        members = fit_members(used, seed)
        fitted.append(members)
        if raw is None:
            raw = np.zeros((len(fold), len(members.names), rows.labels), np.float32)
        for i in np.flatnonzero(fold == f).tolist():
            raw[i] = members.raw(rows.texts[i], [v[i] for v in rows.vectors])
    assert raw is not None
    return Unseen(rows.texts, rows.y, np.searchsorted(there, fold), fitted, raw, rows.vectors[0])


def _checks(student: LabelStudent, rows: Training, tuned: Tuned | None, seed: int) -> bytes:
    """Some of the fit's own texts with the answers that every later start must give again."""
    which = np.sort(np.random.default_rng(seed).permutation(len(rows.texts))[:CHECKS])
    texts = [rows.texts[i] for i in which.tolist()]
    vectors = [v[which] for v in rows.vectors]
    if tuned is not None:
        vectors.append(tuned.encoder.embed(texts))
    return encode_checks(texts, student.score(texts, vectors))
