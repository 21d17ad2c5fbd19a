"""What a format costs, in numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from freehold.shrink.budgets import BUDGETS, budget_of
from freehold.shrink.damage import Damage, divergence, margins, worse
from freehold.shrink.parity import Changed, Seen
from freehold.shrink.table import Answers, judged


def test_divergence_is_kullback_and_leiblers() -> None:
    p, q = np.array([[0.5, 0.25, 0.25]]), np.array([[0.25, 0.5, 0.25]])
    shift = 7.0  # logits are only known up to a constant
    kl, same = divergence((np.log(p) + shift).astype(np.float32), np.log(q).astype(np.float32))
    assert kl == pytest.approx([0.5 * np.log(2) - 0.25 * np.log(2)], rel=1e-5)
    assert same.tolist() == [False]
    kl, same = divergence(np.log(p).astype(np.float32), np.log(p).astype(np.float32))
    assert (kl.tolist(), same.tolist()) == ([0.0], [True])


def test_margins_are_of_the_two_likeliest() -> None:
    assert margins(np.array([[1.0, 4.0, 3.5], [2.0, 2.0, 0.0]], np.float32)).tolist() == [0.5, 0.0]


def test_rows_are_the_clusters_of_the_interval() -> None:
    """Positions of one row move together: many of them in few rows say less than as many rows would."""
    rng = np.random.default_rng(0)
    rows = [np.full(50, level) for level in rng.exponential(0.01, 40)]
    same = [np.ones(50, bool) for _ in rows]
    clustered = Damage.of(rows, same).mean
    mixed = np.concatenate(rows)
    rng.shuffle(mixed)
    alone = Damage.of([np.array([x]) for x in mixed], [np.ones(1, bool)] * len(mixed)).mean
    assert clustered.value == pytest.approx(alone.value)
    assert clustered.n == alone.n == 2000
    width, narrow = (m.high - m.low for m in (clustered, alone) if m.high is not None and m.low is not None)
    assert width == pytest.approx(narrow * 50**0.5, rel=0.1)


def test_a_loss_is_told_from_chance() -> None:
    theirs = [True] * 60 + [False] * 40
    gained, p = worse([True] * 60 + [False] * 40, theirs)
    assert (gained.value, p) == (0.0, 1.0)
    gained, p = worse([False] * 8 + [True] * 52 + [False] * 40, theirs)
    assert gained.value == pytest.approx(-0.08)
    assert p == pytest.approx(0.5**8)
    gained, p = worse([False] * 4 + [True] * 56 + [True] * 3 + [False] * 37, theirs)
    assert gained.low is not None
    assert gained.high is not None
    assert gained.low < gained.value < 0 < gained.high
    assert p == pytest.approx(0.5)


def seen(mean: float = 0.0005, margin: float | None = None) -> Seen:
    kl = [np.full(20, mean) for _ in range(50)]
    changed = () if margin is None else (Changed(3, 0, margin),)
    return Seen(Damage.of(kl, [np.ones(20, bool)] * 50), 0.1, changed, 50)


def answers(lost: int = 0) -> Answers:
    theirs = [True] * 50
    ours = [False] * lost + [True] * (50 - lost)
    return Answers(["a"] * 50, ["b"] * 50, ours, ours, theirs)


@pytest.mark.parametrize(
    ("found", "lost", "why"),
    [
        (seen(), 0, ""),
        (seen(mean=0.002), 0, "mean KL 0.002 nat, 0.001 is allowed"),
        (seen(mean=float("nan")), 0, "mean KL nan"),
        (seen(margin=0.05), 0, ""),
        (seen(margin=0.2), 0, "an answer turns that was 0.2 ahead, 0.1 is allowed"),
        (seen(), 5, "agreement with the log falls by 10.0% (p = 0.031)"),
        (seen(), 4, ""),
    ],
)
def test_each_budget_refuses_on_its_own(found: Seen, lost: int, why: str) -> None:
    line = judged("BF16", 10, found, answers(lost), {"BF16": 3}, ["text"] * 50)
    assert line.passed == (why == "")
    assert why in line.why
    if why and found.changed:
        assert line.example == "'text': 'a' became 'b'"


def test_budgets_are_data_with_reasons() -> None:
    assert all(budget.why for budget in BUDGETS.values())
    assert budget_of("Q8_0").p99 == 0.05
    assert budget_of("Q4_K_M") == budget_of("Q2_K") == BUDGETS["4-bit"]
    means = [BUDGETS[name].mean for name in ("F32", "BF16", "8-bit", "4-bit")]
    assert means == sorted(means)
