"""G25, at home: a client that goes away ends the answer of a text student, and the next one has the same bits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from freehold.engines.decoder import DecoderStudent, Prompt, Recipe
from freehold.engines.llama.completion import Request
from freehold.engines.llama.engine import Engine
from freehold.errors import EngineFailed
from freehold.nouns import Answer
from freehold.serve.seats.students import Students

LONG = [{"role": "user", "content": "Tell me about the sea."}]


def test_the_engine_ends_with_the_next_token(smollm2: Path) -> None:
    asked = 0

    def gone() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with Engine.start(smollm2, context=256, threads=1) as engine:
        usual = engine.complete(Request(LONG, max_tokens=12))
        begun = time.monotonic()
        with pytest.raises(EngineFailed, match="Nobody waits"):
            engine.complete(Request(LONG, max_tokens=200, gone=gone))
        again = engine.complete(Request(LONG, max_tokens=12, gone=lambda: False))
        assert time.monotonic() - begun < 60
    assert asked == 4
    assert again == usual  # the seconds aside: text, ids and log-probabilities


def test_a_decoder_student_gives_up_what_it_is_at(smollm2: Path) -> None:
    recipe = Recipe(mode="merged", prompt=Prompt("Tell all."), context=512, max_tokens=400)
    with Engine.start(smollm2, context=512, threads=1) as engine, DecoderStudent(recipe, engine) as student:
        gone = threading.Event()
        threading.Timer(0.5, gone.set).start()
        with pytest.raises(EngineFailed, match="Nobody waits"):
            student.answer_unless("the history of the sea, at length", gone.is_set)
        assert engine.pid is not None, "its process lives on"


class Patient:
    """Answers a text when nobody waits for it any more; `began` and `ended` are the texts, in order."""

    def __init__(self, parallel: int = 1) -> None:
        self.parallel = parallel
        self.began: list[str] = []
        self.ended: list[str] = []

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        raise AssertionError("a student that can end an answer is asked so that it can")

    def answer_unless(self, text: str, gone: Callable[[], bool], /) -> Answer:
        self.began.append(text)
        while not gone():
            time.sleep(0.005)
        self.ended.append(text)
        raise EngineFailed("Nobody waits.")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 (what is waited for happens in threads)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("parallel", [1, 3])
async def test_only_the_call_that_nobody_waits_for_is_given_up(parallel: int) -> None:
    students = Students()
    student = Patient(parallel)
    seat = students.open(lambda: student)
    texts = [str(number) for number in range(parallel + 1)]
    calls = {text: asyncio.create_task(seat.ask(text, 60.0)) for text in texts}
    await until(lambda: len(student.began) == parallel)
    assert student.began == texts[:parallel]
    calls[texts[-1]].cancel()  # it waits behind the others: nothing under way is its own
    await asyncio.wait([calls[texts[-1]]])
    assert student.ended == []
    for number, text in enumerate(reversed(texts[:parallel])):
        calls[text].cancel()
        await until(lambda so_far=number + 1: len(student.ended) == so_far)
        assert student.ended[-1] == text
    await asyncio.wait(calls.values())
    assert student.began == texts[:parallel]
    students.close()
