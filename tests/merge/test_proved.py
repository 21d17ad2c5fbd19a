"""What was merged, before its proof: calls that a part learned from certify nothing, also those that come later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.audit import audit
from freehold.engines import bases
from freehold.engines.scripted import ScriptedStudent
from freehold.errors import StudentUnusable
from freehold.merge import Asked, merge
from freehold.nouns import Artifact, Audit
from freehold.project import Project
from freehold.prove import prove
from freehold.prove.calls import held_out
from freehold.traffic import Traffic, put_upstream, read
from freehold.traffic.seen import Sides, learned, lineage
from freehold.tune.decoder.base import stored

from .conftest import World, deltas, lora, meal, rows, tensors, trip

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
FIRST, SECOND = "Name the city as JSON.", "Plan what is eaten, in JSON please."
LATE = range(120, 140)


def call(i: int) -> str:
    return f"{trip(i)} {i * 3} {i * 5} {i * 7} {i * 11}"


def alike(i: int) -> str:
    """The same but for a word, which may lie on another side."""
    return f"{call(i)} {i * 19}"


def log_of(path: Path, late: list[str]) -> Traffic:
    """120 calls of each task, and those that are asked like the late ones of the second; `late` are of the first."""
    lines = rows(FIRST, 120, trip) + rows(SECOND, 120, meal)
    lines += rows(SECOND, len(LATE), lambda i: alike(LATE[i]))
    lines += rows(FIRST, len(late), lambda i: late[i])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read([path])


@pytest.fixture
def later(made: Callable[..., Path], tmp_path: Path) -> Callable[[list[str]], World]:
    """A project on the log without late calls, or with some."""

    def make(late: list[str]) -> World:
        traffic = log_of(tmp_path / "calls.jsonl", late)
        project = Project.create(tmp_path / "p")
        project.save(audit(traffic))
        tasks = {task.name: task for task in project.load(Audit).tasks}
        assert len(tasks) == 2
        return World(project, tasks, traffic, made(seed=0))

    return make


def the_tasks(here: World) -> tuple[str, str]:
    """The one that names cities, and the other."""
    first = next(n for n, task in here.tasks.items() if any("ride" in t for t in Sides(task, here.traffic).fit))
    return first, next(name for name in here.tasks if name != first)


def stolen(here: World) -> str:
    """A late text that would certify the first task without moving its fit side, and that the second has learned."""
    first, second = (Sides(here.tasks[name], here.traffic) for name in the_tasks(here))
    taught = set(second.fit.values())
    for i in LATE:
        if call(i) in first.certifies and alike(i) in taught:
            return call(i)
    raise AssertionError("no text lies so")


def student(here: World, adapter: Artifact) -> tuple[ScriptedStudent, Artifact]:
    """As shrink makes one of an adapter; what it says is scripted: every answer right, all of one score."""
    from safetensors.numpy import save

    task = here.tasks[adapter.task]
    calls = put_upstream(task, here.traffic)
    said = {task.text(call) or "": (call.answer or "", 0.9) for call in calls}
    prior = save({"score": np.full(24, 0.9), "ok": np.ones(24, np.uint8), "group": np.arange(24, dtype=np.int64)})
    made = here.project.write_artifact(
        {"prior.safetensors": prior}, kind="decoder", task=task.name, base=adapter.base, licence=adapter.licence,
        recipe={}, data_sha256=adapter.data_sha256, parents=(adapter.sha256,),
    )  # fmt: skip
    return ScriptedStudent(said), made


def test_a_call_that_comes_later_and_that_a_part_learned_is_no_proof(
    later: Callable[[list[str]], World], tmp_path: Path
) -> None:
    everything = later([call(i) for i in LATE])
    late = stolen(everything)
    here = World(everything.project, everything.tasks, log_of(tmp_path / "calls.jsonl", []), everything.base)
    first, second = the_tasks(here)
    merged = merge([here.add(first, 1).sha256, here.add(second, 2).sha256], here.project, Asked(task=first))
    assert {one.task for one in learned(lineage([student(here, merged)[1]], here.project))} == {first, second}
    verdict = prove(here.tasks[first], *student(here, merged), here.traffic, here.project)
    assert verdict.evidence is not None

    grown = World(here.project, here.tasks, log_of(tmp_path / "calls.jsonl", [late]), here.base)
    held = held_out(grown.tasks[first], grown.traffic)
    assert held.fit_sha256 == merged.data_sha256  # the check of the fit's rows alone would let it pass
    assert any(late in text for text in held.texts)
    with pytest.raises(StudentUnusable, match=rf"1 of the \d+ calls that certify {first} are the same .* of {second}"):
        prove(grown.tasks[first], *student(grown, merged), grown.traffic, grown.project)
    alone = here.add(first, 3)  # learned nothing of the other task
    assert prove(grown.tasks[first], *student(grown, alone), grown.traffic, grown.project).task == first


def test_a_merge_that_learned_a_certifying_call_is_refused(later: Callable[[list[str]], World]) -> None:
    here = later([call(i) for i in LATE])
    first, second = the_tasks(here)
    parts = [here.add(first, 1).sha256, here.add(second, 2).sha256]
    with pytest.raises(StudentUnusable, match=rf"calls that certify {first} are the same as calls of {second}"):
        merge(parts, here.project, Asked(task=first))


def test_what_a_base_has_learned_goes_with_it(world: Callable[..., World], made: Callable[..., Path]) -> None:
    """An adapter in a whole model: tuned on for another task, its rows are laid beside what certifies that."""
    pytest.importorskip("mergekit")
    here = world()
    first, second = sorted(here.tasks)
    one, other = here.add(first, 1, terms=[{"vendor": "somebody"}]), made(seed=1, licence="apache-2.0")
    before = tensors(here.base)
    whole = merge([one.sha256, str(other)], here.project, Asked(method="linear"))
    assert (whole.kind, whole.licence, whole.parents) == ("model", "MIT AND Apache-2.0", (one.sha256,))
    assert whole.recipe["terms"] == one.recipe["terms"]
    base = bases.find(here.project.artifact_path(whole.sha256))
    added, two, found = deltas(lora(1), 8.0), tensors(other), tensors(base.path)
    for name, tensor in before.items():
        wanted = (tensor + added.get(name.removesuffix(".weight"), 0.0) + two[name]) / 2
        assert torch.allclose(found[name], wanted, atol=1e-5), name
        assert torch.equal(tensor, tensors(here.base)[name])  # the base lies there as it was
    assert [row["task"] for row in base.learned] == [first]
    work = here.project.work("stored")
    kept = stored(base, here.project, work)
    assert kept.recipe["learned"] == list(base.learned)

    def tuned(learned: list[dict[str, Any]]) -> Artifact:
        below = here.project.write_artifact(
            {"note": b""}, kind="base", task="", base="b", licence="MIT", recipe={"learned": learned}, data_sha256=""
        )
        return here.add(second, 2, parents=(below.sha256,))

    fine = prove(here.tasks[second], *student(here, tuned(list(base.learned))), here.traffic, here.project)
    assert fine.task == second
    unknown = tuned([{"task": first, "data_sha256": "0" * 64}])
    with pytest.raises(StudentUnusable, match=f"rows of {first} that this log doesn't hold"):
        prove(here.tasks[second], *student(here, unknown), here.traffic, here.project)


def test_preferences_of_another_task_may_be_of_any_text(world: Callable[..., World]) -> None:
    here = world()
    first, second = sorted(here.tasks)
    one, two = here.add(first, 1), here.add(second, 2, preference={"pairs": "1" * 64})
    with pytest.raises(StudentUnusable, match=f"A part learned preferences of {second}, which may be of any text"):
        merge([one.sha256, two.sha256], here.project, Asked(task=first))
    assert merge([one.sha256, two.sha256], here.project, Asked(task=second)).task == second
