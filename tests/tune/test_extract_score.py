"""The score of a whole answer: a regression that ranks, and a prior that no row gives itself."""

from __future__ import annotations

import numpy as np
import pytest

from freehold.engines.extract.decode import FEATURES
from freehold.tune.extract.confidence import learn

N = len(FEATURES)


def rows(seed: int, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose chance to be right hangs on the first two features alone."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, N)) * 3 + 1
    ok = rng.random(n) < 1 / (1 + np.exp(-(1 + features[:, 0] - 0.5 * features[:, 1])))
    return features, ok


def test_it_is_the_regression_that_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    features, ok = rows(0)
    score, _ = learn(features, ok, np.arange(len(ok)), 0)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    other = LogisticRegression(C=1 / 3, max_iter=5000, tol=1e-10).fit(scaled, ok)
    assert score.weights == pytest.approx(other.coef_[0], abs=1e-4)
    assert score.of(features[3]) == pytest.approx(other.predict_proba(scaled[3:4])[0, 1], abs=1e-4)


def test_the_prior_of_noise_knows_nothing() -> None:
    rng = np.random.default_rng(1)
    features, ok = rng.normal(size=(400, N)), rng.random(400) < 0.5
    _, prior = learn(features, ok, np.arange(400), 0)
    gap = prior[ok].mean() - prior[~ok].mean()
    assert abs(gap) < 0.05


def test_a_group_is_never_in_its_own_regression() -> None:
    """Each row twice, in one group: a fold that held one copy would know the other."""
    rng = np.random.default_rng(2)
    features, ok = rng.normal(size=(60, N)), rng.random(60) < 0.5
    _, once = learn(features, ok, np.arange(60), 0)
    _, twice = learn(np.repeat(features, 2, axis=0), np.repeat(ok, 2), np.repeat(np.arange(60), 2), 0)
    assert (twice[::2] == twice[1::2]).all()
    assert once.shape == (60,)


def test_rows_of_one_group_are_scored_by_their_share() -> None:
    """Nothing is left to learn from without the group: the answer's share of all answers is the score."""
    features, ok = rows(4)
    _, prior = learn(features, ok, np.zeros(600, np.int64), 0)
    assert prior == pytest.approx(1 / (1 + np.exp(-features[:, 0])))


@pytest.mark.parametrize("right", [True, False])
def test_rows_that_are_all_right_or_all_wrong(right: bool) -> None:
    features, _ = rows(3)
    score, prior = learn(features, np.full(600, right), np.arange(600), 0)
    order = np.argsort(features[:, 0])
    assert (np.diff([score.of(features[i]) for i in order]) >= 0).all()
    assert (prior.mean() > 0.5) == right
