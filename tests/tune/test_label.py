"""The fit of a label student: what it learns, that it repeats itself, small and odd logs."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load

from freehold.engines.encoder import Encoder
from freehold.errors import NothingToLearn
from freehold.tune.label import FOLDS, Fitted, bounded, fit, folds_of

Pairs = list[tuple[str, str]]
RNG = np.random.default_rng(1)


def made_up(n: int, labels: int, dim: int = 16) -> tuple[list[str], list[str], np.ndarray]:
    """Texts whose vectors lie around one centre per label."""
    rng = np.random.default_rng(n)
    y = np.arange(n) % labels
    centres = rng.standard_normal((labels, dim))
    vectors = centres[y] + 0.3 * rng.standard_normal((n, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (
        [f"call {i} about thing{k} please" for i, k in enumerate(y)],
        [f"l{k}" for k in y],
        vectors.astype(np.float32),
    )


def test_it_learns_real_requests_and_its_prior_is_honest(fitted: Fitted, snips: Pairs, encoder: Encoder) -> None:
    texts, labels = zip(*snips[300:1300], strict=True)
    answers = fitted.student([encoder]).answers(texts)
    right = np.array([a.text == label for a, label in zip(answers, labels, strict=True)])
    assert right.mean() > 0.93
    # out-of-fold agreement, on 4/5 of the rows, foretells that on fresh calls (two standard errors of 300 rows: 0.03)
    assert abs(fitted.prior_ok.mean() - right.mean()) < 0.04
    scores = np.array([a.score for a in answers])
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[right].mean() > scores[~right].mean() + 0.1
    surest = right[np.argsort(-scores)[:500]]
    assert surest.mean() > right.mean()


def test_the_same_rows_give_the_same_bytes(fitted: Fitted, snips: Pairs, encoder: Encoder) -> None:
    texts, labels = zip(*snips[:300], strict=True)
    again = fit(texts, labels, embeddings=[encoder.embed(texts)])
    for name in ("student.safetensors", "prior.safetensors", "checks.json"):
        assert again.files[name] == fitted.files[name], name


def test_the_prior_is_stored_as_prove_reads_it(fitted: Fitted) -> None:
    prior = load(fitted.files["prior.safetensors"])
    assert prior["score"].dtype == np.float64
    assert prior["ok"].dtype == np.uint8
    assert np.array_equal(prior["score"], fitted.prior_scores)
    assert len(prior["ok"]) == 300


@pytest.mark.parametrize(("n", "labels"), [(20, 2), (200, 2), (120, 40)])
def test_few_rows_two_labels_rare_labels(n: int, labels: int) -> None:
    texts, names, vectors = made_up(n, labels)
    names[0] = "seen once"
    names[1] = names[2] = "seen twice"
    fitted = fit(texts, names, embeddings=[vectors])
    answers = fitted.student().score(texts, [vectors])
    assert np.isfinite([a.score for a in answers]).all()
    assert {a.text for a in answers} <= set(names)


def test_labels_at_random_earn_no_confidence() -> None:
    texts, _, vectors = made_up(200, 4)
    names = [f"l{k}" for k in np.random.default_rng(5).integers(0, 4, 200)]
    fitted = fit([f"{i}" for i in range(200)], names, embeddings=[vectors])
    assert fitted.prior_ok.mean() < 0.45
    assert fitted.prior_scores.mean() < 0.6
    assert len(texts) == 200


def test_one_label_is_refused() -> None:
    texts, _, vectors = made_up(30, 2)
    with pytest.raises(NothingToLearn, match=r"one label only \('yes'\)"):
        fit(texts, ["yes"] * 30, embeddings=[vectors])


def test_the_same_text_over_and_over_is_refused() -> None:
    _, names, vectors = made_up(30, 2)
    with pytest.raises(NothingToLearn, match="1 different"):
        fit(["a text"] * 30, names, embeddings=[vectors])


def test_folds_keep_groups_whole_and_spread_labels() -> None:
    groups = RNG.integers(0, 60, 200)
    y = groups % 3
    fold = folds_of(groups, y, 0)
    assert all(len(set(fold[groups == g])) == 1 for g in np.unique(groups))
    assert set(fold) == set(range(FOLDS))
    for k in range(3):
        assert len(set(fold[y == k])) == FOLDS


def test_a_text_asked_all_day_does_not_push_the_others_out() -> None:
    groups = np.concatenate([np.zeros(31_000, int), np.arange(1, 15_001)])
    used = bounded(groups, 0)
    assert len(used) == 15_300
    assert np.bincount(groups[used])[0] == 300
    assert len(bounded(np.concatenate([np.zeros(31_000, int), np.arange(1, 15)]), 0)) == 314


def test_a_huge_log_is_bounded_in_whole_groups() -> None:
    groups = np.repeat(np.arange(20_000), 3)
    used = bounded(groups, 0)
    assert len(used) <= 30_000
    assert len(used) > 29_990
    assert set(np.bincount(groups[used])) <= {0, 3}
    assert np.array_equal(bounded(np.arange(50), 0), np.arange(50))
