"""Where a rung stands at a start: a new student in shadow, a promoted one where it was, and never higher."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from freehold import wire
from freehold.project import Project
from freehold.project.gateway import RolloutSettings
from freehold.project.settings import TaskSettings
from freehold.serve.ladder.rungs import close, went_up
from freehold.serve.ladder.step import Step
from freehold.serve.pairing.pairlog import PairRow
from freehold.serve.pairing.pairs import Pair, seen

from .conftest import TASK, new_verdict, until
from .rollout import SHADOW, Rungs, answered, events, opened

FULL = RolloutSettings(start="full")
NEW = "gpt-5.6-luna"


def stage(rungs: Rungs) -> str:
    assert rungs.step.stage is not None
    return str(rungs.step.stage)


def up(rungs: Rungs, share: float, why: str = "shown") -> None:
    """The evidence takes it to `share`."""
    assert rungs.step.stage is not None
    rungs.step.stage.move(share, why)
    went_up(rungs.log, rungs.step, why)


def at(seconds: float = 0.0) -> str:
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC).isoformat(timespec="milliseconds")


def pair(step: Step, when: str, agrees: bool = True, **fields: Any) -> PairRow:
    return PairRow(when, "chatcmpl-1", *step.key, agrees, fields.pop("probability", 1.0), "shadow", **fields)


def test_a_new_student_starts_in_shadow(project: Project) -> None:
    for _ in range(2):
        with opened(project) as rungs:
            assert rungs.step.rung.open
            assert stage(rungs) == "shadow"
            assert rungs.step.stage is not None
            assert not any(rungs.step.stage.at(f"user {i}") for i in range(500))
            assert "a new student" in rungs.step.stage.why
    assert [e["event"] for e in project.rows("rungs.jsonl")] == ["opened", "stage"]
    (event,) = events(project, "stage")
    assert (event["stage"], event["share"], event["by"], event["task"]) == ("shadow", 0.0, "start", "intents")
    assert event["student"] == project.rows("rungs.jsonl")[0]["student"]


@pytest.mark.parametrize(
    ("options", "why"),
    [({"rollout": FULL}, '[rollout] start = "full"'), ({"pairs": 0.0}, "none of its calls is asked upstream")],
)
def test_full_at_once_says_why(project: Project, options: dict[str, Any], why: str) -> None:
    with opened(project, **options) as rungs:
        assert stage(rungs) == "full"
        assert rungs.step.stage is not None
        assert why in rungs.step.stage.why
    assert [e["event"] for e in project.rows("rungs.jsonl")] == ["opened"]
    with opened(project) as rungs:  # nobody saw evidence for it
        assert stage(rungs) == "shadow"


def test_a_task_that_never_leaves_the_house_has_no_pairs_and_no_shadow(project: Project) -> None:
    project.settings = replace(project.settings, tasks={"intents": TaskSettings(leaves=False, unsure="answer")})
    with opened(project) as rungs:
        assert stage(rungs) == "full"
        assert rungs.step.monitor is None
        assert (rungs.step.rung.leaves, rungs.step.rung.unsure) == (False, "answer")


def test_a_promoted_student_stays_where_it_was(project: Project) -> None:
    with opened(project) as rungs:
        up(rungs, 0.01)
        up(rungs, 0.05, "412 pairs, 9 differ")
    for _ in range(2):
        with opened(project) as rungs:
            assert stage(rungs) == "canary at 0.05"
            assert rungs.step.stage is not None
            assert "412 pairs, 9 differ" in rungs.step.stage.why
    with opened(project, rollout=replace(SHADOW, steps=(0.02, 0.5))) as rungs:
        assert stage(rungs) == "canary at 0.02"
    with opened(project, pairs=0.0) as rungs:
        up(rungs, 1.0)
    with opened(project) as rungs:
        assert stage(rungs) == "full"
    assert len(events(project, "opened")) == len([e for e in events(project, "stage") if e["by"] == "start"]) == 1


@pytest.mark.parametrize(
    "odd",
    [{"share": "1"}, {"share": True}, {"share": 2}, {"share": -1}, {"share": None}, {"by": "start"}, {"student": "x"},
     {"verdict": "x"}, {"after": "x"}, {"event": "staged"}],
)  # fmt: skip
def test_an_odd_row_takes_nobody_up(project: Project, odd: dict[str, Any]) -> None:
    with opened(project) as rungs:
        up(rungs, 0.01)
        event = events(project, "stage")[-1] | {"share": 1.0, "stage": "full"} | odd
    with (project.path / "rungs.jsonl").open("ab") as file:
        file.write(wire.dumps(event) + b"\n")
    with opened(project) as rungs:
        assert stage(rungs) == "canary at 0.01"
        assert rungs.step.rung.open


def test_a_row_that_cannot_be_read_closes(project: Project) -> None:
    with opened(project) as rungs:
        up(rungs, 0.05)
    path = project.path / "rungs.jsonl"
    path.write_bytes(path.read_bytes()[:-20] + b"\n")
    with opened(project) as rungs:
        assert not rungs.step.rung.open


def test_a_new_verdict_is_a_new_student(project: Project) -> None:
    with opened(project) as rungs:
        up(rungs, 1.0)
    new_verdict(project, made="2026-10-03T00:00:00+00:00")
    with opened(project) as rungs:
        assert stage(rungs) == "shadow"


def test_closed_by_the_monitor_is_closed_at_every_stage(project: Project) -> None:
    with opened(project) as rungs:
        up(rungs, 0.05)
        close(rungs.log, rungs.step, "the promise of 0.95 fails")
        assert stage(rungs) == "closed"
    with opened(project) as rungs:
        assert not rungs.step.rung.open


def test_evidence_goes_on_after_a_restart_from_the_last_step(project: Project) -> None:
    with opened(project) as rungs:
        for _ in range(5):
            rungs.pair_log.write(pair(rungs.step, at(-60)))
        up(rungs, 0.01)
        for agrees in (True, True, False):
            rungs.pair_log.write(pair(rungs.step, at(5), agrees))
        rungs.pair_log.write(pair(rungs.step, at(5), agrees=False, against=NEW))
    with opened(project) as rungs:
        step = rungs.step
        assert step.stage is not None
        assert step.monitor is not None
        assert (step.stage.agree, step.stage.differ) == (2, 1)
        assert (step.monitor.seen, step.monitor.differed) == (8, 1)  # since the verdict


def test_what_restarts_remember_takes_a_step_only_with_a_new_pair(project: Project) -> None:
    with opened(project) as rungs:
        for _ in range(30):
            rungs.pair_log.write(pair(rungs.step, at(5)))
    with opened(project) as rungs:
        assert stage(rungs) == "shadow"
        assert seen(rungs.step, True, 1.0)[1].startswith("31 pairs")
        assert stage(rungs) == "canary at 0.01"


async def test_a_home_answer_asked_again_counts_once(project: Project) -> None:
    """Its row is in the ledger and in pairs/: a restart counts it once, and an older ledger alone does too."""

    with opened(project, rollout=FULL) as rungs:
        pairs = rungs.pairs()
        task = asyncio.create_task(pairs.run())
        entry = answered()
        assert rungs.step.seat is not None
        said = await rungs.step.seat.ask("what do i have", 2.0)
        assert said.answer is not None
        entry.says(rungs.step.rung.student, 0.9, said.answer)
        pairs.offer(Pair(rungs.step, entry, said.answer, {}, b"{}"))
        await until(lambda: pairs.asked == 1)
        task.cancel()
        pairs.ledger.close()
        (row,) = rungs.pair_log.read(0.0)
        assert (row.home, row.probability, row.stage) == (True, 0.5, "full")
    with opened(project) as rungs:
        assert rungs.step.monitor is not None
        assert rungs.step.monitor.seen == 1
    for path in (project.path / "pairs").iterdir():
        path.unlink()
    with opened(project) as rungs:
        assert rungs.step.monitor is not None
        assert rungs.step.monitor.seen == 1


# a successor


def test_with_a_successor_the_promise_is_frozen_and_pairs_count_apart(project: Project) -> None:
    with opened(project) as rungs:
        up(rungs, 1.0)
    for n in (1, 2):
        with opened(project, successor=NEW) as rungs:
            step = rungs.step
            assert step.monitor is not None
            assert step.beside is not None
            assert step.frozen == datetime.now(UTC).date().isoformat()
            assert stage(rungs) == "full"
            for _ in range(300):
                assert seen(step, False, 0.02) == ("", "")
            rungs.pair_log.write(pair(step, at(5), agrees=False, against=NEW))
            assert (step.monitor.seen, step.monitor.alarm) == (0, "")
            assert step.beside.agreement.n == 300 + n - 1
            assert step.beside.agreement.method.startswith(f"agreement with {NEW}")
            assert step.rung.open
    (frozen,) = events(project, "frozen")
    assert (frozen["successor"], frozen["by"]) == (NEW, "start")
    with opened(project) as rungs:  # the old model again
        assert (rungs.step.frozen, rungs.step.beside) == ("", None)
        assert rungs.step.monitor is not None
        assert rungs.step.monitor.seen == 0


def test_the_day_of_the_freeze_stays(project: Project) -> None:
    with opened(project, successor=NEW):
        pass
    path = project.path / "rungs.jsonl"
    frozen = events(project, "frozen")[0]
    path.write_bytes(path.read_bytes().replace(frozen["at"].encode(), b"2027-01-14T00:00:00+00:00"))
    with opened(project, successor=NEW) as rungs:
        assert rungs.step.frozen == "2027-01-14"


def test_a_frozen_student_that_never_went_up_says_what_to_do(project: Project) -> None:
    with opened(project, successor=NEW) as rungs:
        assert stage(rungs) == "shadow"
        assert rungs.step.stage is not None
        assert "prove it on the successor's answers" in rungs.step.stage.why


def test_a_verdict_about_the_successor_is_a_new_promise(project: Project) -> None:
    new_verdict(project, asked=replace(TASK, models=(NEW,)), made="2026-10-03T00:00:00+00:00")
    with opened(project, successor=NEW) as rungs:
        assert (rungs.step.frozen, rungs.step.beside) == ("", None)
        assert seen(rungs.step, True, 1.0) == ("", "")
        assert rungs.step.monitor is not None
        assert rungs.step.monitor.seen == 1


async def test_a_gap_without_pairs_closes_no_frozen_rung(project: Project) -> None:
    with opened(project, rollout=FULL, successor=NEW, pairs=1.0) as rungs:
        pairs = rungs.pairs(1.0, draw=lambda: 1.0)
        entry = answered()
        assert rungs.step.seat is not None
        said = await rungs.step.seat.ask("what do i have", 2.0)
        assert said.answer is not None
        for _ in range(60):
            pairs.offer(Pair(rungs.step, entry, said.answer, {}, b"{}"))
        assert rungs.step.rung.open
