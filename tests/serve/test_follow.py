"""Several processes on one project folder: what one closes, or takes up, holds in all; every pair counts in each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from freehold.project import Project
from freehold.serve.ladder.follow import Follow
from freehold.serve.ladder.runglog import NAME, RungLog
from freehold.serve.ladder.rungs import close, went_up
from freehold.serve.ladder.stage import LEAST
from freehold.serve.pairing.pairlog import PairRow

from .conftest import new_verdict
from .rollout import Rungs, answered, events, opened


def follow(rungs: Rungs) -> Follow:
    """Its look applied at once: there is no event loop here."""
    return Follow(
        lambda: rungs.steps, rungs.log, rungs.pair_log, lambda step, why: close(rungs.log, step, why),
        lambda step, why: went_up(rungs.log, step, why), lambda call, *args: call(*args),
        lambda what, done=None, /: rungs.said.append(what),
    )  # fmt: skip


@contextmanager
def two(project: Project, **options: Any) -> Iterator[tuple[Rungs, Rungs]]:
    with opened(project, process=1, **options) as one, opened(project, process=2, **options) as other:
        yield one, other


def pair(rungs: Rungs, agrees: bool, **fields: Any) -> PairRow:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return PairRow(at, "chatcmpl-1", *rungs.step.key, agrees, 1.0, "shadow", **fields)


def shares(*all_rungs: Rungs) -> list[float]:
    return [rungs.step.stage.share for rungs in all_rungs if rungs.step.stage is not None]


@pytest.mark.parametrize(("by", "shared"), [("monitor", True), ("ladder", True), ("engine", False), ("start", False)])
def test_a_closing_in_one_closes_in_all(project: Project, by: str, shared: bool) -> None:
    with two(project) as (one, other):
        close(one.log, one.step, "the promise of 0.95 fails", by)
        follow(other).look()
        assert other.step.rung.open is not shared
        assert (shares(other), bool(other.said and "another process" in other.said[-1])) == ([0.0], shared)
        assert other.step.rung.why == ("the promise of 0.95 fails" if shared else "")
    assert len(events(project, "closed")) == 1


def test_a_step_up_in_one_holds_in_all_and_never_goes_down(project: Project) -> None:
    with two(project) as (one, other):
        for share in (0.01, 0.05):
            assert one.step.stage is not None
            one.step.stage.move(share, "20 pairs, 0 differ")
            went_up(one.log, one.step, "20 pairs, 0 differ")
        look = follow(other)
        look.look()
        assert shares(one, other) == [0.05, 0.05]
        assert other.step.stage is not None
        assert other.step.stage.why == "20 pairs, 0 differ"
        other.step.stage.move(0.25, "further")
        went_up(one.log, one.step, "again")  # its 0.05 comes late
        look.look()
        assert shares(other) == [0.25]
        follow(one).look()  # its own events come by
        assert shares(one) == [0.05]


def test_events_of_another_verdict_or_student_change_nothing(project: Project) -> None:
    with opened(project, process=1) as old:
        new_verdict(project, made="2026-10-05T00:00:00+00:00")
        with opened(project, process=2) as new:
            close(old.log, old.step, "the promise of 0.95 fails")
            follow(new).look()
            assert new.step.rung.open


def test_a_line_that_cannot_be_read_closes_in_all(project: Project) -> None:
    with two(project) as (one, other):
        with (project.path / NAME).open("ab") as file:
            file.write(b'{"task":"poems","at":"soon"}\n')
        follow(one).look()
        assert one.step.rung.open
        with (project.path / NAME).open("ab") as file:
            file.write(b"\xff\n")
        follow(one).look()
        follow(other).look()
        assert not one.step.rung.open
        assert not other.step.rung.open
        assert "line 4 of" in other.step.rung.why


def test_pairs_of_all_take_a_student_up(project: Project) -> None:
    """Ten pairs in each of two processes are the twenty of a step."""
    with two(project) as (one, other):
        for rungs in (one, other):
            assert rungs.step.stage is not None
            for _ in range(10):
                rungs.pair_log.write(pair(rungs, True))
                assert rungs.step.stage.pair(True) is None
        follow(one).look()
        assert shares(one, other) == [0.01, 0.0]
        follow(other).look()
        assert shares(one, other) == [0.01, 0.01]


def test_pairs_of_an_earlier_step_take_nobody_up_at_the_next(project: Project) -> None:
    """What two found out in the shadow takes the student to 1 % once; it is no evidence for 5 %, in either process and
    whenever it arrives. The monitor counts it all the same."""
    with two(project) as (one, other):
        for rungs, count in ((one, LEAST), (other, LEAST - 1)):
            made = rungs.pairs()
            for _ in range(count):
                made._record(rungs.step, answered(), 1.0, True)
        assert shares(one, other) == [0.01, 0.0]
        follow(one).look()  # the other's shadow pairs come late
        follow(other).look()  # the step comes before the shadow pairs that led to it
        for rungs in (one, other):
            stage, monitor = rungs.step.stage, rungs.step.monitor
            assert stage is not None
            assert monitor is not None
            assert (stage.share, stage.agree, stage.differ) == (0.01, 0, 0)
            assert monitor.seen == 2 * LEAST - 1
        other.pairs()._record(other.step, answered(), 1.0, True)  # made at 1 %
        follow(one).look()
        assert one.step.stage is not None
        assert (one.step.stage.share, one.step.stage.agree) == (0.01, 1)
    with opened(project, process=3) as later:  # a restart finds the same
        assert later.step.stage is not None
        assert later.step.monitor is not None
        assert (later.step.stage.share, later.step.stage.agree, later.step.monitor.seen) == (0.01, 1, 2 * LEAST)


def test_a_pair_that_is_read_with_the_step_it_was_made_at_counts(project: Project) -> None:
    """Between the two files that are read, the other process goes up and finds its first pair there."""
    with two(project) as (one, other):
        look, read = follow(other), []

        def between(news: Callable[[], Any]) -> Callable[[], Any]:
            """After the first of the two."""

            def then() -> Any:
                found = news()
                if not read:
                    assert one.step.stage is not None
                    one.step.stage.move(0.01, "20 pairs, 0 differ")
                    went_up(one.log, one.step, "20 pairs, 0 differ")
                    one.pairs()._record(one.step, answered(), 1.0, True)
                read.append(found)
                return found

            return then

        other.pair_log.news = between(other.pair_log.news)  # type: ignore[method-assign]
        other.log.news = between(other.log.news)  # type: ignore[method-assign]
        look.look()
        look.look()
        assert other.step.stage is not None
        assert (other.step.stage.share, other.step.stage.agree) == (0.01, 1)


def test_pairs_of_all_close_a_rung(project: Project) -> None:
    with two(project) as (one, other):
        for _ in range(30):
            one.pair_log.write(pair(one, False))
        other.pair_log.write(pair(other, False, against="gpt-5.6-luna"))  # says nothing about the promise
        follow(other).look()
        assert not other.step.rung.open
        assert "pairs differ" in other.step.rung.why
        follow(one).look()
        assert not one.step.rung.open
        assert one.step.monitor is not None
        assert one.step.monitor.seen == 0
    assert len(events(project, "closed")) == 1


def test_nothing_new_is_no_work(project: Project) -> None:
    with opened(project) as rungs:
        look = follow(rungs)
        look.look()
        look.soon = None  # type: ignore[assignment]
        look.look()


# the file that they share


def test_a_half_written_row_is_told_when_it_is_whole(project: Project) -> None:
    log, path = RungLog(project), project.path / NAME
    row = b'{"at":"2026-11-24T10:00:00Z","task":"intents","event":"closed","why":"x","by":"monitor"}\n'
    assert log.news().rows == []
    path.write_bytes(row + row[:30])
    assert len(log.news().rows) == 1
    assert log.news().rows == []
    path.write_bytes(row * 2)
    assert len(log.news().rows) == 1
    path.write_bytes(row)  # mended by hand: told again from its start
    assert len(log.news().rows) == 1
    path.unlink()
    path.mkdir()
    assert log.news().rows == []


def test_rows_of_several_writers_stay_whole(project: Project) -> None:
    row = {"at": "2026-11-24T10:00:00Z", "task": "intents", "event": "closed", "why": "x" * 3000}

    def writes() -> None:
        log = RungLog(project)
        for _ in range(20):
            log.append(NAME, row)

    threads = [threading.Thread(target=writes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert project.rows(NAME) == [row] * 80
