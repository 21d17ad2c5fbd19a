"""A text that kills the engine twice is not asked about again; every other call goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.llama.completion import Request
from freehold.engines.llama.engine import Engine
from freehold.engines.llama.process import EngineDied
from freehold.nouns import Answer
from freehold.serve.seats.quarantine import KILLS, Quarantine
from freehold.serve.seats.students import Seat, Students
from freehold.serve.seats.thread import StudentThread

POISON = "the engine's end"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_second_death_quarantines_for_a_day_and_for_that_student_alone() -> None:
    clock = Clock()
    ward = Quarantine(clock=clock)
    ward.killed("a", POISON)
    assert not ward.holds("a", POISON)
    ward.killed("a", POISON)
    assert ward.holds("a", POISON)
    assert not ward.holds("b", POISON)
    assert not ward.holds("a", POISON + ".")
    clock.now += 24 * 3600 + 1
    assert not ward.holds("a", POISON)
    assert len(ward) == 0
    ward.killed("a", POISON)
    clock.now += 24 * 3600 + 1
    ward.killed("a", POISON)  # a death of another day
    assert not ward.holds("a", POISON)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(st.characters(), max_size=2), st.integers(0, 2)), max_size=60))
def test_it_holds_what_died_twice_and_never_more_than_it_may(deaths: list[tuple[str, str, int]]) -> None:
    """Against a plain count, as long as nothing was forgotten; the memory is bounded in any case."""
    roomy, small, count = Quarantine(most=1000), Quarantine(most=3), Counter[tuple[str, str]]()
    for student, text, times in deaths:
        roomy.killed(student, text, times)
        small.killed(student, text, times)
        count[student, text] += times
        assert len(small) <= 3
    for student, text in {(s, t) for s, t, _ in deaths}:
        assert roomy.holds(student, text) == (count[student, text] >= KILLS)


class Dying:
    """A student whose engine dies on one text, as the embedded one says it."""

    def __init__(self, kills: int = 1) -> None:
        self.kills = kills
        self.asked: list[str] = []

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        self.asked += texts
        if POISON in texts:
            raise EngineDied("The embedded engine died.", kills=self.kills)
        return [Answer("fine", 1.0)] * len(texts)


@contextlib.contextmanager
def seated(student: Dying, usual: float = 0.0) -> Iterator[Seat]:
    students = Students()
    try:
        yield students.open(lambda: student, usual, name="9f")
    finally:
        students.close()


@pytest.mark.parametrize(("kills", "calls"), [(1, 2), (2, 1)])
async def test_a_seat_does_not_ask_a_third_time(kills: int, calls: int) -> None:
    student = Dying(kills)
    with seated(student) as seat:
        for _ in range(calls):
            said = await seat.ask(POISON, 5.0)
            assert (said.reason, said.quarantined) == ("the student failed: EngineDied", False)
        deaths = seat.deaths
        said = await seat.ask(POISON, 5.0)
        assert said.quarantined
        assert said.answer is None
        assert student.asked == [POISON] * calls
        assert seat.deaths == deaths  # a call that was not asked says nothing of the engine
        assert (await seat.ask("another", 5.0)).answer == Answer("fine", 1.0)
        assert seat.deaths == 0


async def test_calls_that_wait_with_the_same_text_are_not_asked_either() -> None:
    student = Dying(2)
    with seated(student) as seat:
        held = threading.Event()
        seat.thread.submit(held.wait)
        calls = [asyncio.create_task(seat.ask(POISON, 30.0)) for _ in range(20)]
        await asyncio.sleep(0)  # each begins, and waits
        assert seat.waiting == 20
        held.set()
        said = await asyncio.gather(*calls)
    assert student.asked == [POISON]
    assert sum(one.quarantined for one in said) == 19


def test_a_student_that_opens_again_is_known_by_its_name() -> None:
    students = Students()
    try:
        students.open(lambda: Dying(), name="9f").quarantine.killed("9f", POISON, 2)
        assert students.open(lambda: Dying(), name="9f").quarantine.holds("9f", POISON)
        assert not students.open(lambda: Dying(), name="a0").quarantine.holds("a0", POISON)
    finally:
        students.close()


def test_a_seat_says_why_its_engine_keeps_the_network() -> None:
    class Free(Dying):
        network = "the system refuses namespaces (Operation not permitted)"

    with seated(Free()) as seat:
        assert seat.network == Free.network
    with seated(Dying()) as seat:
        assert seat.network == ""


class Writer:
    """A student on the real engine, in whose process one text is fatal: each process that works on it is killed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked: list[str] = []
        self.killed: set[int] = set()

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        self.asked += texts
        done = threading.Event()
        killer = threading.Thread(target=self._kill, args=(done,))
        if POISON in texts:
            killer.start()
        try:
            tokens = 200 if POISON in texts else 12
            said = self.engine.complete(Request([{"role": "user", "content": texts[0]}], max_tokens=tokens))
            return [Answer(said.text, 1.0)]
        finally:
            done.set()
            if killer.ident is not None:
                killer.join()

    def _kill(self, done: threading.Event) -> None:
        while len(self.killed) < 2 and not done.wait(0.02):  # a third try would end well, and be seen
            pid = self.engine.pid
            if pid is not None and pid not in self.killed:
                self.killed.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.engine.close()


async def test_a_text_that_kills_the_real_engine_is_refused_and_the_engine_comes_back(smollm2: Path) -> None:
    pytest.importorskip("xllamacpp")
    student = Writer(Engine.start(smollm2, context=256, threads=1))
    seat = Seat(student, StudentThread(), name="9f")
    try:
        first = await seat.ask(POISON, 60.0)
        assert first.reason == "the student failed: EngineDied"
        assert len(student.killed) == 2  # the engine tried it twice
        assert (await seat.ask(POISON, 60.0)).quarantined
        assert student.asked == [POISON]
        assert (await seat.ask("Say hello.", 60.0)).answer is not None
    finally:
        student.close()
        seat.thread.shutdown(wait=False)
