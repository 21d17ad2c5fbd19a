"""Slots: a prefix is computed once in each, and who was under way when another call killed the engine is not blamed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.llama.completion import Request
from freehold.engines.llama.engine import Engine
from freehold.engines.llama.process import EngineDied
from freehold.engines.llama.slots import Slots

SYSTEM = "You turn what people ask for into one line of JSON that holds their intent, and no more.\n"
KEPT = 18
POISON = "the engine's end"


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@given(st.integers(1, 4), st.lists(st.integers(0, 5), max_size=30))
def test_a_call_gets_the_slot_that_holds_its_prefix_else_the_one_unused_for_longest(
    count: int, wanted: list[int]
) -> None:
    """Against a list of (number, prefix), the latest used last."""
    slots, known = Slots(count), [(number, -1) for number in range(count)]
    for prefix in wanted:
        number = next((n for n, held in known if held == prefix), known[0][0])
        with slots.turn(((prefix,), None)) as slot:
            assert slot.number == number
            slot.held = ((prefix,), None)
        known = [*((n, held) for n, held in known if n != number), (number, prefix)]


def test_who_wants_all_slots_waits_for_them_and_holds_them() -> None:
    slots, events = Slots(2), list[str]()
    first, lonely = threading.Event(), threading.Event()

    def call(name: str, until: threading.Event | None = None, alone: bool = False) -> None:
        with slots.turn(alone=alone):
            events.append(name)
            if until is not None:
                assert until.wait(30)
            events.append(f"{name} ends")

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call, "first", first)]
        eventually(lambda: events == ["first"])
        calls.append(pool.submit(call, "alone", lonely, alone=True))
        eventually(lambda: slots._lonely == 1)
        calls.append(pool.submit(call, "later"))  # there is a free slot, and it waits all the same
        first.set()
        eventually(lambda: "alone" in events)
        lonely.set()
        for one in calls:
            one.result(30)
    assert events == ["first", "first ends", "alone", "alone ends", "later", "later ends"]


@pytest.fixture(scope="module")
def wide(smollm2: Path) -> Iterator[Engine]:
    pytest.importorskip("xllamacpp")
    with Engine.start(smollm2, context=256, slots=3, threads=1) as engine:
        yield engine


def test_each_slot_computes_the_prefix_once(wide: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    process = wide.up()
    posted: list[dict[str, Any]] = []
    post = process.post

    def told(path: str, body: Any, tokens: int = 0) -> dict[str, Any]:
        said = post(path, body, tokens)
        posted.append({**body, "said": said} if path == "/completion" else {})
        return said

    monkeypatch.setattr(process, "post", told)
    asks = ["play some jazz", "find a table", "rate Moby Dick", "buy bread", "play it again"]
    requests = [Request(prompt_ids=wide.tokenize(SYSTEM + ask), max_tokens=2, prefix=KEPT) for ask in asks]
    posted.clear()
    together = wide.complete_all(requests)
    anew = [body["id_slot"] for body in posted if body.get("n_predict") == 0 and not body["cache_prompt"]]
    assert sorted(anew) == [0, 1, 2]
    one_by_one = [wide.complete(request) for request in requests]
    assert len([body for body in posted if body.get("n_predict") == 0 and not body["cache_prompt"]]) == len(anew)
    assert [one.prompt_tokens for one in together] == [len(request.prompt_ids or ()) for request in requests]
    assert [one.prompt_tokens for one in one_by_one] == [one.prompt_tokens for one in together]


def test_who_was_under_way_when_another_call_killed_the_engine_is_answered_and_not_blamed(wide: Engine) -> None:
    """The poison kills whatever process works on it; two others are under way beside it each time."""
    poison = Request([{"role": "user", "content": POISON}], max_tokens=200)
    others = [
        Request([{"role": "user", "content": f"Tell me about {what}."}], max_tokens=10) for what in ("tea", "rain")
    ]
    usual = [wide.complete(request).text for request in others]
    tokens, killed = [0], set[int]()

    def fatal() -> bool:  # asked between the poison's tokens: the process dies in the middle of its answer
        tokens[0] += 1
        if tokens[0] % 3 == 0 and wide.pid:
            killed.add(wide.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(wide.pid, signal.SIGKILL)
        return False

    request = Request(poison.messages, max_tokens=200, gone=fatal)
    with ThreadPoolExecutor(3) as pool:
        dead = pool.submit(wide.complete, request)
        beside = [pool.submit(wide.complete, other) for other in others]
        error = dead.exception(120)
        assert [one.result(120).text for one in beside] == usual
    assert isinstance(error, EngineDied)
    assert error.kills == 2
    assert len(killed) == 2
    assert wide.complete(others[0]).text == usual[0]
