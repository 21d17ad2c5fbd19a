"""A server whose student is the real small language model: from the client to the engine and back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.engines.label import encode_checks
from freehold.nouns import Answer, Artifact, Audit, Measure, Student, TaskStudent, Verdict
from freehold.project import Project

from .conftest import EVIDENCE, StandIn, Start, client, ledger, request, scripted, until
from .test_text import FIELDS, ask, rung

pytest.importorskip("xllamacpp")

SHOWN = [
    ("two seats in oslo", '{"city":"Oslo","seats":2}'),
    ("one seat in rome", '{"city":"Rome","seats":1}'),
    ("three seats in lima", '{"city":"Lima","seats":3}'),
    ("two seats in bern", '{"city":"Bern","seats":2}'),
]
TEXT = "three seats in oslo"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "seats": {"type": "integer", "maximum": 9}},
    "required": ["city", "seats"],
    "additionalProperties": False,
}


def decoder(folder: Path, artifact: Artifact) -> Student:
    from freehold.engines.open import open_student

    return open_student(folder, artifact) if artifact.kind == "decoder" else scripted(folder, artifact)


@pytest.fixture
def written(project: Project, smollm2: Path) -> Project:
    """The project with a base, a few-shot student of it, and the verdict that moves its task."""
    from freehold.engines.decoder import DecoderStudent, Examples, Prompt, Recipe
    from freehold.engines.encoder import bundled_names

    name = bundled_names()[0]
    recipe = Recipe(
        mode="fewshot", prompt=Prompt.of(FIELDS.template), context=256, max_tokens=32, schema=SCHEMA, k=3, encoder=name
    )
    base = project.write_artifact(
        {"model.gguf": smollm2}, kind="base", task="", base="smollm2", licence="Apache-2.0", recipe={}, data_sha256=""
    )
    files = {"decoder.json": recipe.encode(), **Examples.of(SHOWN, name).files()}
    about = {"kind": "decoder", "task": "fields", "base": "smollm2", "licence": "Apache-2.0", "data_sha256": ""}
    plain = project.write_artifact(files, recipe={}, parents=(base.sha256,), **about)
    with DecoderStudent.open(project.artifact_path(plain.sha256), plain) as student:
        answers = student.answers([TEXT])
    files["checks.json"] = encode_checks([TEXT], answers)
    made = project.write_artifact(files, recipe={}, parents=(base.sha256,), **about)
    kept = Measure(0.8, 0.75, 0.85, 290)
    verdict = Verdict(
        task="fields", kind="json", calls=500, share=0.2, bar=0.95, confidence=0.95, decision="move", reason="",
        needed=None, kept_home=kept, agreement=kept, threshold=0.0, evidence=EVIDENCE, asked=FIELDS,
        student=TaskStudent(made.sha256, "smollm2", "Apache-2.0"), made="2026-10-02T00:00:00+00:00",
        latency=Measure(2000.0, unit="ms"),
    )  # fmt: skip
    project.save(verdict)
    audit = project.load(Audit)
    project.save(replace(audit, tasks=(*audit.tasks, FIELDS)))
    return project


Child = Callable[[], list[int]]


@pytest.fixture
def child() -> Child:
    """The processes that the test has started and that still run: an earlier test may have left Python's own, which
    every pool of processes shares."""
    import psutil

    def running() -> list[int]:
        return [p.pid for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]

    before = set(running())
    return lambda: [pid for pid in running() if pid not in before]


async def test_from_the_client_to_the_engine_and_back(
    written: Project, start: Start, upstream: StandIn, child: Child
) -> None:
    async with start(upstream, opener=decoder, pairs=1.0) as app, client(app) as api:
        upstream.answer = '{"seats": 3, "city": "Oslo"}'
        assert rung(app, FIELDS)["student"] == "few-shot on smollm2, the 3 nearest logged calls"
        (engine,) = child()
        slow = asyncio.create_task(api.chat.completions.create(**ask(FIELDS, TEXT)))
        quick = await api.chat.completions.create(**request("what do i have"))
        assert quick.model.startswith("freehold/intents@")
        answer = await slow
        assert answer.model.startswith("freehold/fields@")
        stored = ledger(written)[-1]["freehold"]["student"]
        long = await api.chat.completions.create(**ask(FIELDS, "seats " * 300))
        assert long.model == "gpt-4o-mini-2024"
        await until(lambda: app.parts.pairs and app.parts.pairs.asked == 2)

        os.kill(engine, signal.SIGKILL)
        again = await api.chat.completions.create(**ask(FIELDS, TEXT))  # its own call starts the next one
        assert again.choices[0].message.content == answer.choices[0].message.content
        assert rung(app, FIELDS)["open"]
    assert child() == []
    rows = {row["freehold"]["reason"]: row["freehold"] for row in ledger(written)}
    assert rows["longer than the student's context: 256 tokens"]["student"]["able"] is False
    assert Answer(stored["answer"], stored["score"]).text == answer.choices[0].message.content


async def test_an_engine_that_hangs_lets_calls_up_and_leaves_no_orphan(
    written: Project, start: Start, upstream: StandIn, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child stands still, as on a machine that swaps: nobody waits past the patience, and the stop ends it."""
    async with start(upstream, opener=decoder) as app, client(app) as api:
        (engine,) = child()
        step = next(s for s in app.parts.steps if s.rung.task.name == "fields")
        assert step.seat is not None
        step.seat.usual = 0.03
        monkeypatch.setattr("freehold.serve.chat.PATIENCE", 0.3)
        os.kill(engine, signal.SIGSTOP)
        begun = time.perf_counter()
        for _ in range(3):
            up = await api.chat.completions.create(**ask(FIELDS, TEXT))
            assert up.model == "gpt-4o-mini-2024"
        assert time.perf_counter() - begun < 1.5  # the first waits, the others know that it hangs
    assert child() == []
    reasons = [row["freehold"]["reason"] for row in ledger(written)]
    assert reasons == ["the student took longer than 0.3 s", "the student is busy", "the student is busy"]


async def test_without_the_engines_package_the_rung_says_what_to_install(
    written: Project, start: Start, upstream: StandIn, child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine starts with the first question, and tells only then that its package is absent."""
    (tmp_path / "xllamacpp.py").write_text("raise ModuleNotFoundError(\"No module named 'xllamacpp'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with start(upstream, opener=decoder) as app, client(app) as api:
        said = rung(app, FIELDS)
        assert not said["open"]
        assert said["why"] == "The embedded engine needs the package xllamacpp. pip install 'freehold[text]'"
        up = await api.chat.completions.create(**ask(FIELDS, TEXT))
        assert up.model == "gpt-4o-mini-2024"
    assert child() == []
