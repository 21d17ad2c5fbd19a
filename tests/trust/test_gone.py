"""G25, at home: a client that goes away ends the answer of a text student, and the next one has the same bits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from freehold.engines.decoder import DecoderStudent, Prompt, Recipe
from freehold.engines.llama.completion import Request
from freehold.engines.llama.engine import Engine
from freehold.errors import EngineFailed
from freehold.nouns import Answer
from freehold.serve.students import Seat
from freehold.serve.thread import StudentThread

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
        threading.Timer(0.5, student.abandon).start()
        with pytest.raises(EngineFailed, match="Nobody waits"):
            student.answers(["the history of the sea, at length"])
        assert engine.pid is not None, "its process lives on"


class Patient:
    """Answers when it is abandoned, or let go."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self.began = threading.Event()
        self.abandoned = 0

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        self.began.set()
        self.left.wait(30)
        return [Answer(text, 1.0) for text in texts]

    def abandon(self) -> None:
        self.abandoned += 1
        self.left.set()


async def test_only_the_call_that_is_under_way_is_given_up() -> None:
    student, thread = Patient(), StudentThread()
    seat = Seat(student, thread)
    first, second = (asyncio.create_task(seat.ask(text, 20.0)) for text in ("one", "two"))
    await asyncio.to_thread(student.began.wait, 10)
    second.cancel()  # it waits behind the first: nothing under way is its own
    with pytest.raises(asyncio.CancelledError):
        await second
    assert student.abandoned == 0
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert student.abandoned == 1
    thread.shutdown()
