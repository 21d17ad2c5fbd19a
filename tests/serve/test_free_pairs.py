"""Calls that go up because of a stage are free pairs: nobody waits, and they take the student up or close it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold.project import Project
from freehold.serve.pairing.pairs import WAITING, Pairs

from .conftest import new_verdict, until
from .rollout import HOME, answered, events, opened


@asynccontextmanager
async def running(pairs: Pairs) -> AsyncIterator[Pairs]:
    task = asyncio.create_task(pairs.run())
    try:
        yield pairs
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_free_pair_counts_for_the_stage_and_the_monitor(project: Project) -> None:
    with opened(project) as rungs:
        async with running(rungs.pairs()) as pairs:
            pairs.free(rungs.step, answered(), HOME)
            await until(lambda: pairs.freed == 1)
            pairs.free(rungs.step, answered(answer="transfer"), HOME)
            await until(lambda: pairs.freed == 2)
        stage, monitor = rungs.step.stage, rungs.step.monitor
        assert stage is not None
        assert monitor is not None
        assert (stage.agree, stage.differ) == (monitor.seen - 1, monitor.differed) == (1, 1)
        rows = rungs.pair_log.read(0.0)
    assert [(row.agrees, row.probability, row.stage, row.home) for row in rows] == [
        (True, 1.0, "shadow", False),
        (False, 1.0, "shadow", False),
    ]
    assert not list((project.path / "ledger").iterdir())  # the call's own row is relay's


@pytest.mark.parametrize(
    ("text", "fields", "agrees"),
    [
        (HOME, {"message": {"refusal": "no"}, "answer": None}, False),  # the proof counts a refusal as disagreement too
        (HOME, {"status": "partial"}, None),
        (HOME, {"response": {"error": {"message": "x"}}}, None),
        ("sing to me", {}, None),  # the student is not sure: not a call that it would keep
        ("never seen", {}, None),  # the student fails
    ],
)
async def test_what_is_a_pair(project: Project, text: str, fields: dict[str, Any], agrees: bool | None) -> None:
    with opened(project) as rungs:
        async with running(rungs.pairs()) as pairs:
            pairs.free(rungs.step, answered(text, **fields), text)
            pairs.free(rungs.step, answered(), HOME)  # after it, this one
            await until(lambda: pairs.freed == 1 + (agrees is not None))
        assert [row.agrees for row in rungs.pair_log.read(0.0)] == ([] if agrees is None else [agrees]) + [True]


async def test_a_student_goes_up_and_every_step_is_written_with_its_reason(project: Project) -> None:
    with opened(project) as rungs:
        async with running(rungs.pairs()) as pairs:
            for i in range(300):
                text = f"question {i}"
                pairs.free(rungs.step, answered(text), text)
                if pairs.waiting == WAITING or i == 299:
                    await until(lambda i=i: pairs.freed == i + 1)  # type: ignore[misc]
        assert rungs.step.stage is not None
        assert str(rungs.step.stage) == "full"
    shadow, *ups = events(project, "stage")
    assert (shadow["stage"], shadow["share"], shadow["by"]) == ("shadow", 0.0, "start")
    assert [(e["stage"], e["share"], e["by"]) for e in ups] == [
        ("canary", 0.01, "evidence"), ("canary", 0.05, "evidence"), ("canary", 0.25, "evidence"),
        ("full", 1.0, "evidence"),
    ]  # fmt: skip
    assert ups[0]["why"] == "20 pairs, 0 differ: P(agreement > 0.45) >= 0.9875"


async def test_a_student_that_fails_on_real_calls_is_closed_in_shadow(project: Project) -> None:
    with opened(project) as rungs:
        async with running(rungs.pairs()) as pairs:
            n = 0
            while rungs.step.rung.open:
                n += 1
                assert n < 60
                pairs.free(rungs.step, answered(answer="transfer"), HOME)
                await until(lambda n=n: pairs.freed == n)  # type: ignore[misc]
            pairs.free(rungs.step, answered(), HOME)  # closed: nobody is asked
            assert pairs.waiting == 0
        assert rungs.step.stage is not None
        assert rungs.step.stage.name == "closed"
    (closing,) = events(project, "closed")
    assert closing["by"] == "monitor"
    assert "pairs differ" in closing["why"]
    with opened(project) as rungs:
        assert not rungs.step.rung.open


async def test_a_full_queue_loses_the_pair_and_holds_nobody(project: Project) -> None:
    with opened(project) as rungs:
        pairs = rungs.pairs()
        for _ in range(WAITING + 3):
            pairs.free(rungs.step, answered(), HOME)
        assert (pairs.waiting, pairs.lost) == (WAITING, 3)


async def test_a_slow_student_is_asked_for_its_share(project: Project) -> None:
    with opened(project) as rungs:
        rungs.step.asks = 0.1
        draws = iter([0.05, 0.1, 0.5, 0.09])
        async with running(rungs.pairs(draw=lambda: next(draws))) as pairs:
            for _ in range(4):
                pairs.free(rungs.step, answered(), HOME)
            await until(lambda: pairs.freed == 2)
        assert [row.probability for row in rungs.pair_log.read(0.0)] == [0.1, 0.1]


async def test_how_slow_a_student_is_the_proof_says(project: Project) -> None:
    from freehold.nouns import Measure

    with opened(project) as rungs:
        assert rungs.step.asks == 1.0
    new_verdict(project, latency=Measure(400.0, 300.0, 500.0, 100, "ms"))
    with opened(project) as rungs:
        assert rungs.step.asks == 0.1


async def test_an_error_in_one_leaves_the_next(project: Project) -> None:
    with opened(project) as rungs:
        said: list[str] = []
        async with running(rungs.pairs(tell=lambda what, done=None, /: said.append(what))) as pairs:
            pairs.free(rungs.step, answered(response={"choices": 5}, body={"model": 1}), HOME)
            pairs.free(rungs.step, answered(), HOME)
            await until(lambda: pairs.freed == 1)
        assert pairs.lost == 1
        assert len(said) == 1
        assert HOME not in said[0]
