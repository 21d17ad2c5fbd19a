"""The label student as served: no neighbours, no heavy imports, damage, the check at start."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from freehold.engines.label import TOLERANCE, LabelStudent, check
from freehold.engines.scripted import ScriptedStudent
from freehold.errors import ArtifactDamaged, StudentUnusable
from freehold.tune.label import Fitted, fit

LABELS = 12
DIM = 32


def world(n: int) -> tuple[list[str], list[str], np.ndarray]:
    rng = np.random.default_rng(n)
    y = rng.integers(0, LABELS, n)
    centres = np.random.default_rng(0).standard_normal((LABELS, DIM))
    vectors = centres[y] + 1.2 * rng.standard_normal((n, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [f"please w{k} the w{(k + j) % 30} of {j}" for k, j in zip(y, rng.integers(0, 30, n), strict=True)]
    return words, [f"label {k}" for k in y], vectors.astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    texts, labels, vectors = world(500)
    return fit(texts, labels, groups=np.arange(500), embeddings=[vectors])


def test_a_score_has_no_neighbours(fitted: Fitted) -> None:
    """To the last bit, over 3,000 texts: alone, in 32s, all at once, in another order, memory laid out otherwise."""
    student = fitted.student()
    texts, _, vectors = world(3000)
    whole = student.score(texts, [vectors])
    assert whole == [student.score([t], [vectors[i : i + 1]])[0] for i, t in enumerate(texts)]
    assert whole == [a for i in range(0, 3000, 32) for a in student.score(texts[i : i + 32], [vectors[i : i + 32]])]
    assert whole[::-1] == student.score(texts[::-1], [vectors[::-1]])
    assert whole == student.score(texts, [np.asfortranarray(vectors)])
    assert len({a.text for a in whole}) == LABELS


def test_it_reads_back_as_it_was_written(fitted: Fitted) -> None:
    texts, _, vectors = world(200)
    again = LabelStudent.read(fitted.files["student.json"], fitted.files["student.safetensors"])
    assert again.score(texts, [vectors]) == fitted.student().score(texts, [vectors])
    assert again.files() == {name: fitted.files[name] for name in ("student.json", "student.safetensors")}


def test_odd_texts(fitted: Fitted) -> None:
    texts = ["", " ", "\x00", "ж" * 10, "支払い", "🙂", "a" * 1_000_000, "word " * 200_000]
    vectors = world(len(texts))[2]
    answers = fitted.student().score(texts, [vectors])
    assert all(0 <= a.score <= 1 for a in answers)


def test_serving_needs_no_scikit_learn_and_no_torch() -> None:
    heavy = "sklearn", "torch", "transformers", "scipy", "pandas"
    code = (
        f"import sys, freehold.engines.label, freehold.engines.encoder; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_its_encoder_it_says_so(fitted: Fitted) -> None:
    with pytest.raises(StudentUnusable, match="without its encoder"):
        fitted.student().answers(["a"])


def test_damage_is_named(fitted: Fitted) -> None:
    about, arrays = fitted.files["student.json"], fitted.files["student.safetensors"]
    with pytest.raises(ArtifactDamaged):
        LabelStudent.read(about[:-5], arrays)
    with pytest.raises(ArtifactDamaged):
        LabelStudent.read(about, arrays[:-5])
    older = json.dumps(json.loads(about) | {"version": 0}).encode()
    with pytest.raises(ArtifactDamaged, match="version 0"):
        LabelStudent.read(older, arrays)


def test_the_check_finds_another_score_and_another_label() -> None:
    checks = [{"text": "a", "label": "x", "score": 0.5}, {"text": "b", "label": "y", "score": 0.25}]
    assert check(ScriptedStudent({"a": ("x", 0.5), "b": ("y", 0.25)}), checks) == 0.0
    assert check(ScriptedStudent({"a": ("x", 0.5), "b": ("y", 0.5)}), checks) == 0.25
    assert check(ScriptedStudent({"a": ("z", 0.5), "b": ("y", 0.25)}), checks) == 1.0
    assert check(ScriptedStudent({}), []) == 0.0
    for place in (0, 1):  # a score that is no number is a difference, wherever it stands
        spoilt = [row | {"score": float("nan")} if i == place else row for i, row in enumerate(checks)]
        assert check(ScriptedStudent({"a": ("x", 0.5), "b": ("y", 0.25)}), spoilt) == 1.0
    assert 0 < TOLERANCE < 0.01
