"""The members on few rows: scikit-learn's guesses are silent, and a Ctrl-C in the middle of a fit ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from freehold.tune.members import Training, fit_members

sklearn = pytest.importorskip("sklearn")


def rows(n: int, labels: int) -> Training:
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(labels), rng.integers(0, labels, n)])[:n]
    vectors = rng.normal(size=(n, 16)).astype(np.float32)
    return Training([f"text {i} of {label}" for i, label in enumerate(y)], y, [vectors], labels)


@pytest.mark.parametrize(("n", "labels"), [(21, 12), (40, 30), (3, 3), (5, 1)])
def test_few_rows_for_many_labels_are_fitted_without_a_word(n: int, labels: int) -> None:
    """From 21 rows on, scikit-learn takes labels that are more than half as many for numbers."""
    given = rows(n, labels)
    made = fit_members(given, 0)
    assert len(made.linear) == len(made.network) == 1
    assert all(np.isfinite(part).all() for part in (*made.linear[0], *made.network[0]))


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C as a terminal gives it: who runs the tests may have started them without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_ctrl_c_in_the_network_is_not_taken_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn would warn and hand over what it has so far, which would be stored as if it were whole."""
    from sklearn.neural_network import MLPClassifier

    one, steps = MLPClassifier._backprop, []

    def interrupted(self: MLPClassifier, *given: object) -> object:
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return one(self, *given)

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_members(rows(40, 4), 0)
    assert len(steps) == 3
