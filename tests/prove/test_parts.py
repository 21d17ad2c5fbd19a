"""The parts beside the certificate, on values that can be worked out by hand."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from freehold.agree import Judge
from freehold.errors import BadSetting, ProjectMissing
from freehold.measure import Certificate, certify, grid
from freehold.nouns import Artifact, Call, Measure, Slot, Task, Template
from freehold.prove.calls import Held, Scored
from freehold.prove.command import _known, newest
from freehold.prove.decide import agreement, decide, kept_home
from freehold.prove.describe import FEW, WHOLE, design_effect, field_rows, noise_floor, noise_note


def certificate(bar: float = 0.9, n: int = 400, right: int = 400) -> tuple[object, Certificate]:
    scores = np.linspace(0, 1, n)
    ok = np.arange(n) >= n - right
    found = grid(scores, ok, n=n, bar=bar)
    return found, certify(found, scores, ok)


def test_all_right_moves_and_keeps_everything() -> None:
    g, c = certificate()
    assert decide(g, c, 1600, c.n).decision == "move"  # type: ignore[arg-type]
    assert kept_home(c, True, c.n).value == 1.0
    assert agreement(c, True) == Measure(1.0, 0.9, 1.0, 400, "share", agreement(c, True).method)


def test_less_than_five_percent_is_no_move() -> None:
    """Certified on 4 % of the calls: too little to be useful."""
    scores = np.concatenate([np.full(160, 0.9), np.full(3840, 0.1)])
    ok = np.concatenate([np.ones(160, bool), np.zeros(3840, bool)])
    g = grid(scores, ok, n=4000, bar=0.95)
    c = certify(g, scores, ok)
    assert c.threshold == 0.9
    found = decide(g, c, 16000, c.n)
    assert (found.decision, found.needed) == ("stay", None)
    assert "4.0 % of the calls only" in found.reason


def test_nothing_to_certify_with_stays() -> None:
    g = grid([0.5] * 20, [True] * 20, n=0, bar=0.9)
    assert decide(g, certify(g, [], []), 20, 0).decision == "stay"


def test_design_effect() -> None:
    """Every call four times over: the variance of the mean is that of a quarter as many."""
    ok = np.tile([True, False], 500)
    assert design_effect(np.arange(1000), ok) == pytest.approx(1.0, abs=0.01)
    assert design_effect(np.repeat(np.arange(1000), 4), np.repeat(ok, 4)) == pytest.approx(4.0, abs=0.02)
    assert design_effect(np.zeros(3, int), np.ones(3, bool)) == 1.0


def calls(texts: int, second: str) -> tuple[Task, list[Call]]:
    task = Task("t", Template((Slot("user", "", variable=True),)), "labels", 2 * texts, 1.0)
    said = [({"role": "user", "content": f"text {i}"}, a) for i in range(texts) for a in ("yes", second)]
    return task, [Call((message,), answer=answer) for message, answer in said]


def test_noise_floor_needs_a_hundred_repeats() -> None:
    found = noise_floor(*calls(99, "yes"), confidence=0.95)
    assert (found.value, found.n) == (None, 99)
    assert "not measurable" in found.method
    assert noise_note(found, 0.99) == ""


def test_noise_floor_warns_below_the_bar() -> None:
    steady, noisy = noise_floor(*calls(200, "yes "), confidence=0.95), noise_floor(*calls(200, "no"), confidence=0.95)
    assert (steady.value, noisy.value) == (1.0, 0.0)
    assert noise_note(steady, 0.99) == ""
    assert "only leaving the noisy calls to it" in noise_note(noisy, 0.99)


def test_the_newest_student_of_a_task() -> None:
    def made(sha: str, task: str, at: str) -> Artifact:
        return Artifact(sha, "label", task, "b", "MIT", (), {}, "0", {}, at)

    known = [made("b", "t", "2026-01-02"), made("a", "t", "2026-01-01"), made("c", "u", "2026-01-03")]
    assert newest(known, "t").sha256 == "b"
    with pytest.raises(ProjectMissing, match="no student for v"):
        newest(known, "v")


def test_an_unknown_task_lists_the_known() -> None:
    with pytest.raises(BadSetting, match="Known: a, b"):
        _known("c", ["a", "b"])


def held(truths: list[str | None]) -> Held:
    n = len(truths)
    every = np.arange(n, dtype=np.int64)
    return Held(
        tuple(map(str, range(n))), tuple(truths), (None,) * n, every, every, n, 0, Counter(), every, np.ones(n, bool),
        n, 0, "", 0,
    )  # fmt: skip


def test_a_key_that_a_user_wrote_is_no_name_of_a_field() -> None:
    truths: list[str | None] = [json.dumps({"people": {f"ann.{i}@firm.example": i}, "n": i}) for i in range(40)]
    truths[0] = None
    ours = [json.dumps({"people": {f"ann.{i}@firm.example": i + (i == 7)}, "n": i, "sure": True}) for i in range(40)]
    scored = Scored(tuple(ours), np.ones(40), np.zeros(40, bool))
    found = {
        row.label: (row.calls, row.kept, row.wrong) for row in field_rows(held(truths), scored, 0.5, Judge("json"))
    }
    assert found == {"n": (39, 39, 0), FEW: (39, 39, 39), WHOLE: (1, 1, 1)}
    scored = Scored(tuple(truth or "" for truth in truths), np.ones(40), np.ones(40, bool))
    found = {
        row.label: (row.calls, row.kept, row.wrong) for row in field_rows(held(truths), scored, 0.5, Judge("json"))
    }
    assert found == {"n": (39, 39, 0), FEW: (39, 39, 0), WHOLE: (1, 1, 1)}
