"""A server whose student is a real tagger, fitted on the small world of bookings that tune's own tests have."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from freehold.engines.open import open_student
from freehold.nouns import Artifact, Audit, Measure, Student, TaskStudent
from freehold.project import Project

from .conftest import StandIn, Start, client, ledger, new_verdict, scripted
from .test_text import FIELDS, ask, rung

pytest.importorskip("torch")


def opener(folder: Path, artifact: Artifact) -> Student:
    return open_student(folder, artifact) if artifact.kind == "extract" else scripted(folder, artifact)


def bookings() -> ModuleType:
    """tests/tune/test_extract.py, whose world of bookings and tiny encoder serve here too."""
    path = Path(__file__).parents[1] / "tune" / "test_extract.py"
    spec = importlib.util.spec_from_file_location("bookings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_from_the_client_to_the_tagger_and_back(
    project: Project, start: Start, upstream: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world: Any = bookings()
    fitted = world.fitted_on(*world.world(400, 1), world.tiny.__wrapped__(tmp_path_factory), minutes=1)
    made = project.write_artifact(
        fitted.files, kind="extract", task="fields", base="tiny", licence="MIT", recipe={}, data_sha256=""
    )
    threshold = float(np.quantile(fitted.prior_scores, 0.3))
    new_verdict(
        project, task="fields", kind="json", asked=FIELDS, threshold=threshold,
        student=TaskStudent(made.sha256, "tiny", "MIT"), latency=Measure(4.0, unit="ms"),
    )  # fmt: skip
    audit = project.load(Audit)
    project.save(replace(audit, tasks=(*audit.tasks, FIELDS)))
    texts, answers = world.world(40, 2)
    said = {}
    async with start(upstream, opener=opener) as app, client(app) as api:
        assert rung(app, FIELDS)["student"] == "tagger on tiny"
        for text in texts:
            answer = await api.chat.completions.create(**ask(FIELDS, text, response_format={"type": "json_object"}))
            if answer.model.startswith("freehold/fields@"):
                said[text] = json.loads(answer.choices[0].message.content or "")
        await api.chat.completions.create(**ask(FIELDS, "Oslo " * 300))
    right = [said[text] == wanted for text, wanted in zip(texts, answers, strict=True) if text in said]
    assert len(right) > 15
    assert sum(right) / len(right) > 0.85
    assert ledger(project)[-1]["freehold"]["reason"] == "longer than the student's context: 128 tokens"
