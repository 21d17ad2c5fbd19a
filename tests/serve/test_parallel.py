"""A seat that asks its student several calls at a time: who waits, what hangs, what is given up, what a stop leaves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from freehold.engines.llama.process import EngineDied
from freehold.nouns import Answer
from freehold.serve.seats.students import WAITING, Seat, Students
from freehold.serve.seats.thread import StudentThread

POISON = "the engine's end"


class Held:
    """Answers a text once it is let go; `most` is how many it was at, at a time."""

    def __init__(self, parallel: int) -> None:
        self.parallel = parallel
        self.under_way: list[str] = []
        self.most = 0
        self._go = {text: threading.Event() for text in map(str, range(100))}
        self._lock = threading.Lock()

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        (text,) = texts
        with self._lock:
            self.under_way.append(text)
            self.most = max(self.most, len(self.under_way))
        try:
            if text == POISON:
                raise EngineDied("The embedded engine died.", kills=2)
            if text in self._go:
                assert self._go[text].wait(60)
        finally:
            with self._lock:
                self.under_way.remove(text)
        return [Answer(text, 1.0)]

    def let_go(self, *texts: str) -> None:
        for text in texts or self._go:
            self._go[text].set()


@contextlib.contextmanager
def seated(student: Held, usual: float = 0.0) -> Iterator[Seat]:
    students = Students()
    try:
        yield students.open(lambda: student, usual, name="9f")
    finally:
        student.let_go()
        students.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 (what is waited for happens in threads)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("parallel", [1, 4])
async def test_as_many_calls_are_under_way_as_the_student_says(parallel: int) -> None:
    student = Held(parallel)
    with seated(student) as seat:
        assert seat.parallel == parallel
        calls = [asyncio.create_task(seat.ask(str(n), 60.0)) for n in range(10)]
        await until(lambda: len(student.under_way) == parallel and seat.waiting == 10)
        assert student.under_way == [str(n) for n in range(parallel)]
        student.let_go()
        said = await asyncio.gather(*calls)
    assert [one.answer for one in said] == [Answer(str(n), 1.0) for n in range(10)]
    assert student.most == parallel
    assert seat.waiting == 0


@pytest.mark.parametrize(("parallel", "room"), [(1, 10), (4, 40), (8, WAITING)])
async def test_the_waiting_room_grows_with_it(parallel: int, room: int) -> None:
    student = Held(parallel)
    with seated(student, usual=1.0) as seat:  # ten seconds of patience: ten calls, one after the other
        calls = [asyncio.create_task(seat.ask(str(n), 2.0)) for n in range(room + 3)]
        await until(lambda: sum(call.done() for call in calls) >= 3)
        assert [call.result().reason for call in calls if call.done()] == ["the student is busy"] * 3
        student.let_go()
        said = await asyncio.gather(*calls)
    assert sum(one.answer is not None for one in said) == room


async def test_the_waiting_room_shrinks_where_calls_beside_each_other_take_longer() -> None:
    student = Held(4)
    with seated(student, usual=0.01) as seat:
        assert seat._room(2.0) == WAITING
        calls = [asyncio.create_task(seat.ask(str(n), 60.0)) for n in range(4)]
        await until(lambda: len(student.under_way) == 4)
        await asyncio.sleep(1.0)
        student.let_go()
        await asyncio.gather(*calls)
        # 4 calls of a second or more count for 0.2 each: they take 0.59 s at least, and 4 * 2.0 / 0.59 is 13.5
        assert 4 <= seat._room(2.0) <= 13


async def test_calls_that_hang_take_their_threads_from_the_room_and_all_of_them_close_it() -> None:
    student = Held(2)
    with seated(student) as seat:
        first = await seat.ask("0", 0.05)
        assert first.reason == "the student took longer than 0.05 s"
        assert (await seat.ask("quick", 5.0)).answer == Answer("quick", 1.0)  # the other thread is free
        assert (await seat.ask("1", 0.05)).answer is None
        await until(lambda: len(student.under_way) == 2)
        assert (await seat.ask("quick", 0.05)).reason == "the student is busy"  # both hang
        student.let_go("0")
        await until(lambda: student.under_way == ["1"])
        assert (await seat.ask("quick", 5.0)).answer == Answer("quick", 1.0)


async def test_a_text_that_kills_the_engine_is_refused_while_others_are_under_way() -> None:
    student = Held(3)
    with seated(student) as seat:
        beside = [asyncio.create_task(seat.ask(text, 60.0)) for text in ("0", "1")]
        await until(lambda: len(student.under_way) == 2)
        assert (await seat.ask(POISON, 60.0)).reason == "the student failed: EngineDied"
        assert (await seat.ask(POISON, 60.0)).quarantined
        assert seat.deaths == 1
        student.let_go()
        assert all(one.answer is not None for one in await asyncio.gather(*beside))
        assert seat.deaths == 0


def test_a_thread_that_has_grown_does_so_much_at_a_time_and_ends_whole() -> None:
    thread = StudentThread()
    thread.grow(3)
    meet = threading.Barrier(3, timeout=30)
    assert sorted(future.result(30) for future in [thread.submit(meet.wait) for _ in range(3)]) == [0, 1, 2]
    held = threading.Event()
    slow = [thread.submit(held.wait, 30) for _ in range(3)]
    waiting = [thread.submit(pow, 2, n) for n in range(20)]
    deadline = time.monotonic() + 30
    while not all(future.running() for future in slow):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    thread.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    held.set()
    thread.shutdown(wait=True)
    assert all(future.result(0) for future in slow)
