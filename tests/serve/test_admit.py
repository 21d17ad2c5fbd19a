"""Who comes in, who waits, who is turned away: nothing is lost, no key crowds out another, and time is made up."""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.keys import Key, Wanted, mint
from freehold.keys.spent import Spent
from freehold.project.gateway import Limits
from freehold.serve.entry.admit import PASSED, TICK, Admission, Place
from freehold.serve.entry.policy import Denied

T = TypeVar("T")


class Selector(selectors.SelectSelector):
    """Where a loop would sleep, its clock is put forward instead; one that would sleep for ever hangs: it says so."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nobody is left to wake them"
        self.now += max(0.0, timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def run(work: Coroutine[Any, Any, T]) -> T:
    loop = Loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


def key(name: str, **fields: Any) -> Key:
    return mint(None, Wanted(name=name, **fields), datetime.now(UTC))[0]


def admission(**fields: Any) -> Admission:
    more = {name: fields.pop(name) for name in ("spent", "workers", "draw") if name in fields}
    return Admission(Limits(**fields), clock=lambda: asyncio.get_running_loop().time(), **more)


async def come(admit: Admission, who: Key | None, tokens: int, deadline: float = math.inf) -> Place:
    """What the server does for each call."""
    admit.door(who)
    return admit.enter(who, tokens) or await admit.wait(who, tokens, deadline)


WEB, APP, BOT = key("web"), key("app"), key("bot")
KEYS = {"web": WEB, "app": APP, "bot": key("bot", running=1)}
STEP = st.one_of(
    st.tuples(st.just("come"), st.sampled_from(sorted(KEYS)), st.integers(1, 130)),
    st.tuples(st.just("leave"), st.just(""), st.integers(0, 50)),
    st.tuples(st.just("cancel"), st.just(""), st.integers(0, 50)),
    st.tuples(st.just("leave and cancel"), st.just(""), st.integers(0, 50)),
)


@dataclass
class Calls:
    """Every call of a run, and what must always hold of them."""

    admit: Admission
    waiting: list[tuple[Key, int, asyncio.Task[Place]]] = field(default_factory=list)
    inside: list[tuple[Key, int, Place]] = field(default_factory=list)

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        for one in list(self.waiting):
            who, tokens, task = one
            if task.done():
                self.waiting.remove(one)
                if not task.cancelled() and task.exception() is None:
                    self.inside.append((who, tokens, task.result()))

    def check(self) -> None:
        admit = self.admit
        assert admit.tokens == sum(min(tokens, 25) for _, tokens, _ in self.inside)
        assert admit.tokens <= 100, "too much is under way"
        assert admit.waiting == len(self.waiting)
        for who in KEYS.values():
            running = sum(one is who for one, _, _ in self.inside)
            seats = 1 if who.running else 3
            assert running <= seats
            queue = [tokens for one, tokens, _ in self.waiting if one is who]
            assert len(queue) <= 4
            if queue and running < seats and not any(line.waiting[0].passed >= PASSED for line in admit._ready):
                assert admit.tokens + min(queue[0], 25) > 100, "somebody waits though there is room"


@settings(max_examples=150)
@given(steps=st.lists(STEP, max_size=60))
def test_nothing_is_lost_whatever_happens(steps: list[tuple[str, str, int]]) -> None:
    """Never more under way than allowed; nobody waits while there is room; in the end everyone was in and is out."""

    async def work() -> None:
        calls = Calls(admission(running_key=3, queued_key=4, running_tokens=100))
        for what, name, number in steps:
            if what == "come":
                who = KEYS[name]
                task = asyncio.ensure_future(come(calls.admit, who, number))
                calls.waiting.append((who, number, task))
            if "leave" in what and calls.inside:
                place = calls.inside.pop(number % len(calls.inside))[2]
                place.leave()
                place.leave()
            if "cancel" in what and calls.waiting:
                calls.waiting[number % len(calls.waiting)][2].cancel()
            await calls.settle()
            calls.check()
        while calls.inside or calls.waiting:
            assert calls.inside, "all wait, and nobody is in"
            calls.inside.pop()[2].leave()
            await calls.settle()
            calls.check()
        assert (calls.admit.tokens, calls.admit.waiting, calls.admit._ready) == (0, 0, [])
        assert all(line.running == line.tokens == 0 for line in calls.admit._lines.values())

    run(work())


def test_there_is_a_place_at_once_where_there_is_room() -> None:
    async def work() -> None:
        admit = admission(running_key=2)
        first, second = admit.enter(WEB, 10), admit.enter(WEB, 10)
        assert first is not None
        assert second is not None
        assert admit.enter(WEB, 10) is None
        assert admit.enter(APP, 10) is not None
        first.leave()
        assert admit.enter(WEB, 10) is not None

    run(work())


def test_a_full_line_is_turned_away_before_its_body_is_read() -> None:
    async def work() -> None:
        admit = admission(running_key=1, queued_key=2, draw=lambda: 0.0)
        place = await come(admit, WEB, 10)
        waiting = [asyncio.ensure_future(come(admit, WEB, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Denied) as caught:
            admit.door(WEB)
        assert (caught.value.http, caught.value.code) == (429, "queue_full")
        assert caught.value.headers == {"Retry-After": "1"}
        admit.door(APP)
        for task in (*waiting, None):
            place.leave()
            if task is not None:
                place = await task

    run(work())


def test_who_waits_too_long_is_told_and_leaves_no_trace() -> None:
    async def work() -> None:
        admit = admission(running_key=1, queue_seconds=10.0)
        place = await come(admit, WEB, 10)
        start = now()
        with pytest.raises(Denied, match="in time") as caught:
            await come(admit, WEB, 10)
        assert caught.value.code == "queue_timeout"
        assert now() - start == pytest.approx(10.0)
        with pytest.raises(Denied):
            await come(admit, WEB, 10, deadline=now() + 2.0)
        assert now() - start == pytest.approx(12.0)
        with pytest.raises(Denied):
            await come(admit, WEB, 10, deadline=now() - 5.0)
        assert now() - start == pytest.approx(12.0)
        assert admit.waiting == 0
        place.leave()
        assert admit.enter(WEB, 10) is not None

    run(work())


def test_no_call_takes_more_than_a_quarter() -> None:
    """Of what may be under way: one that says it may write a million tokens keeps nobody else out."""

    async def work() -> None:
        admit = admission(running_tokens=100)
        huge = [admit.enter(APP, 1 << 20) for _ in range(3)]
        assert None not in huge
        small = admit.enter(WEB, 10)
        assert small is not None
        assert admit.tokens == 85
        last = asyncio.ensure_future(come(admit, APP, 5000))
        await asyncio.sleep(0)
        assert not last.done()
        small.leave()
        for place in (*huge, await last):
            assert place is not None
            place.leave()
        assert admit.tokens == 0

    run(work())


def test_a_large_call_is_passed_only_so_often() -> None:
    async def work() -> None:
        admit = admission(running_tokens=240, running_key=100, queued_key=1000)
        running = [await come(admit, WEB, 50) for _ in range(4)]
        large = asyncio.ensure_future(come(admit, APP, 60))
        await asyncio.sleep(0)
        passed = 0
        while passed < 10 * PASSED:
            last = asyncio.ensure_future(come(admit, BOT, 20))
            await asyncio.sleep(0)
            if not last.done():
                break
            last.result().leave()
            passed += 1
        assert passed == PASSED
        for one in running:
            one.leave()
        (await large).leave()
        (await last).leave()
        assert admit.tokens == 0

    run(work())


def test_who_stops_waiting_makes_way_for_those_behind() -> None:
    async def work() -> None:
        admit = admission(running_tokens=240, queue_seconds=5.0)
        places = [await come(admit, APP, 50) for _ in range(4)]
        for how in ("cancelled", "too late"):
            large = asyncio.ensure_future(come(admit, WEB, 60, deadline=now() + 1.0))
            small = asyncio.ensure_future(come(admit, WEB, 10))
            await asyncio.sleep(0)
            assert not small.done()
            if how == "cancelled":
                large.cancel()
            start = now()
            (await small).leave()
            assert now() - start <= 1.0
            await asyncio.wait([large])
            assert large.cancelled() or isinstance(large.exception(), Denied)
        for place in places:
            place.leave()
        assert (admit.tokens, admit.waiting) == (0, 0)

    run(work())


def test_stopping_is_the_only_503() -> None:
    async def work() -> None:
        admit = admission(running_key=1)
        place = await come(admit, WEB, 10)
        waiting = asyncio.ensure_future(come(admit, WEB, 10))
        await asyncio.sleep(0)
        admit.drain()
        with pytest.raises(Denied) as caught:
            admit.door(WEB)
        assert (caught.value.http, caught.value.headers) == (503, {"Retry-After": "1"})
        place.leave()
        (await waiting).leave()

    run(work())


@dataclass
class Heard:
    waits: list[float] = field(default_factory=list)
    denied: int = 0


async def client(admit: Admission, who: Key, every: float, until: float, heard: Heard) -> None:
    """Calls at a fixed pace, whatever becomes of them; each holds its place for 0.1 s on average."""
    lengths = random.Random(7)

    async def call() -> None:
        start = now()
        try:
            place = await come(admit, who, 500)
        except Denied:
            heard.denied += 1
            return
        heard.waits.append(now() - start)
        await asyncio.sleep(lengths.uniform(0.05, 0.15))
        place.leave()

    async with asyncio.TaskGroup() as group:
        while now() < until:
            group.create_task(call())
            await asyncio.sleep(every)


def tried(noisy_rate: float) -> tuple[Heard, Heard]:
    """A quiet key at 10 calls/s beside a noisy one; there is room for 10 calls of 0.1 s at once, so for 100 calls/s."""

    async def work() -> tuple[Heard, Heard]:
        admit = admission(running_tokens=5000, running_key=16, queued_key=32)
        ticking = asyncio.ensure_future(admit.watch())
        quiet, noisy = Heard(), Heard()
        end = now() + 30
        async with asyncio.TaskGroup() as group:
            group.create_task(client(admit, WEB, 0.1003, end, quiet))
            group.create_task(client(admit, BOT, 1 / noisy_rate, end, noisy))
        ticking.cancel()
        return quiet, noisy

    return run(work())


def test_a_noisy_key_moves_no_quiet_ones_wait() -> None:
    """At fifty times the quiet one's pace, five times what there is room for: the quiet one waits for the next free
    place, a tenth of a call on average; the noisy one waits in its own line, and is turned away at its end."""
    quiet, noisy = tried(500)
    assert quiet.denied == 0
    assert max(quiet.waits) <= 0.15
    assert sum(quiet.waits) / len(quiet.waits) <= 0.02
    assert noisy.denied > 10_000
    assert sum(noisy.waits) / len(noisy.waits) > 0.15
    beside_a_calm_one, _ = tried(10)
    assert max(beside_a_calm_one.waits) == 0.0


@pytest.mark.parametrize("times", [2, 10])
def test_overload_leaves_no_room_unused(times: int) -> None:
    """Work conserving: of 3,000 places in 30 s nearly all are used, and nobody in it waited long."""
    quiet, noisy = tried(100 * times)
    served = len(quiet.waits) + len(noisy.waits)
    assert 0.97 * 3000 <= served <= 1.03 * 3000
    assert max(noisy.waits) < 1.0


def test_the_lag_of_the_loop_turns_away_a_growing_share_and_never_a_keys_only_call() -> None:
    clock = [0.0]
    admit = Admission(Limits(), clock=lambda: clock[0], draw=lambda: 0.5)
    place = admit.enter(WEB, 10)
    assert place is not None

    def turned_away(who: Key) -> int:
        count = 0
        for _ in range(100):
            try:
                admit.door(who)
            except Denied as refusal:
                count += refusal.code == "overloaded"
        return count

    assert admit.tick() == 0.0
    clock[0] += TICK + 0.3
    assert admit.tick() == pytest.approx(0.3)
    assert turned_away(WEB) == 0, "once is no overload"
    shares = []
    for _ in range(12):
        clock[0] += TICK + 0.3
        admit.tick()
        shares.append(turned_away(WEB))
        assert turned_away(APP) == 0
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(10, abs=1)
    assert 90 <= shares[-1] <= 95
    for _ in range(50):
        clock[0] += TICK
        admit.tick()
    assert admit.shed == 0.0
    assert turned_away(WEB) == 0


def test_retry_after_is_a_whole_number_with_jitter() -> None:
    async def work() -> set[str]:
        admit = admission(running_key=1, queued_key=1)
        place = await come(admit, WEB, 10)
        waiting = asyncio.ensure_future(come(admit, WEB, 10))
        await asyncio.sleep(0)
        said = set()
        for _ in range(200):
            with pytest.raises(Denied) as caught:
                admit.door(WEB)
            said.add(caught.value.headers["Retry-After"])
        waiting.cancel()
        place.leave()
        return said

    assert run(work()) == {"1", "2"}


def test_rates_are_kept_and_unused_tokens_go_back(tmp_path: Path) -> None:
    steady = [1000.0]
    spent = Spent(tmp_path / "keys.spent", steady=lambda: steady[0])
    slow = key("slow", requests_minute=3, tokens_minute=1000)

    async def work() -> None:
        admit = admission(spent=spent, draw=lambda: 0.0)
        place = await come(admit, slow, 900)
        place.leave(used=100)
        second = await come(admit, slow, 900)
        second.leave(used=900)
        with pytest.raises(Denied) as caught:
            await come(admit, slow, 900)
        assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": "54"})
        with pytest.raises(Denied) as caught:
            admit.door(slow)
        assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": "20"})
        steady[0] += 60
        with pytest.raises(Denied, match="1,000 a minute") as caught:
            await come(admit, slow, 1001)
        assert caught.value.headers == {"X-Should-Retry": "false"}
        (await come(admit, slow, 900)).leave()

    run(work())


def test_tokens_of_a_call_that_never_came_in_go_back(tmp_path: Path) -> None:
    spent = Spent(tmp_path / "keys.spent", steady=lambda: 1000.0)
    slow = key("slow", tokens_minute=1000, running=1)

    async def work() -> None:
        admit = admission(spent=spent, queue_seconds=1.0, queued_key=1)
        place = await come(admit, slow, 10)
        for how in ("timeout", "cancel", "cancel with a place"):
            waiting = asyncio.ensure_future(come(admit, slow, 900))
            await asyncio.sleep(0)
            if how == "timeout":
                with pytest.raises(Denied):
                    await waiting
                continue
            if how == "cancel with a place":
                place.leave()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert admit.tokens == 0
        place = await come(admit, slow, 900)
        place.leave()

    run(work())


def test_without_keys_all_calls_have_what_all_calls_have() -> None:
    async def work() -> None:
        admit = admission(running_key=2, queued_key=2)
        places = [await come(admit, None, 100) for _ in range(64)]
        for place in places:
            place.leave()

    run(work())


def test_workers_share_the_limits() -> None:
    async def work() -> None:
        admit = admission(running_key=16, running_tokens=1000, workers=4)
        places = [admit.enter(WEB, 10) for _ in range(5)]
        assert [place is not None for place in places] == [True] * 4 + [False]
        assert admit.enter(APP, 60) is not None
        assert [admit.enter(key(name), 60) is not None for name in ("a", "b", "c")] == [True, True, False]

    run(work())


def test_a_narrowed_key_is_held_to_it_at_once() -> None:
    async def work() -> None:
        admit = admission()
        places = [await come(admit, key("web", running=5), 1) for _ in range(5)]
        assert admit.enter(key("web", running=2), 1) is None
        waiting = asyncio.ensure_future(come(admit, key("web", running=2), 1))
        await asyncio.sleep(0)
        for place in places[:3]:
            place.leave()
            await asyncio.sleep(0)
            assert not waiting.done()
        places[3].leave()
        (await waiting).leave()
        places[4].leave()
        assert admit.tokens == 0

    run(work())
