"""The replay: step for step as the plain loop, as the exact formulas of queues, and on the two Azure traces."""

from __future__ import annotations

import csv
from collections import deque
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.nouns import Fact
from freehold.plan.load.arrivals import Arrivals, at_share, scaled
from freehold.plan.load.batching import Engine, Steps, play
from freehold.plan.load.capacity import capacity, first_token
from freehold.plan.load.queue import waiting
from freehold.plan.load.replay import Goal, cold_start, least_replicas, replay

WIDE: dict[str, Any] = {"most_streams": 128, "most_tokens": 4e5}


def arrivals(at: Any, input: Any, output: Any, seconds: float | None = None) -> Arrivals:
    times = np.asarray(at, float)
    whole = [np.broadcast_to(np.asarray(one, np.int32), len(times)).copy() for one in (input, output)]
    return Arrivals(times, *whole, "a test", float(seconds or times[-1] or 1.0))


def poisson(rate: float, calls: int, seed: int = 0) -> Any:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, calls))


def azure(shared: Path, name: str) -> Arrivals:
    path = shared / "data" / "traces" / "azure-llm-2023" / "data" / f"AzureLLMInferenceTrace_{name}.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    at = np.array([datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows])
    sizes = [np.array([int(row[key]) for row in rows], np.int32) for key in ("ContextTokens", "GeneratedTokens")]
    order = np.argsort(at, kind="stable")
    at = at[order] - at[order[0]]
    return Arrivals(at, sizes[0][order], sizes[1][order], name, float(at[-1]))


def flat(reading: int, streams: int, context: float) -> float:
    """Seconds that hang on nothing that is rounded."""
    return 0.05 if reading else 0.01


def card(reading: int, streams: int, context: float) -> float:
    """About 70B in 8 bits on four cards: weights, products, cache, talk."""
    return max(0.0085, 1.2e-4 * (reading + streams)) + streams * context * 2e-8 + 0.002


def plainly(calls: Arrivals, step: object, engine: Engine) -> tuple[list[float], list[float]]:
    """One replica, a step at a time, a token at a time: what `play` must equal."""
    now, upcoming, waiting_calls, left = 0.0, 0, deque[int](), 0
    writing: dict[int, int] = {}
    first, done = [0.0] * len(calls), [0.0] * len(calls)
    held, reserved = 0, 0
    size = (calls.input + calls.output).tolist()
    while upcoming < len(calls) or waiting_calls or writing:
        while upcoming < len(calls) and calls.at[upcoming] <= now:
            waiting_calls.append(upcoming)
            upcoming += 1
        budget, reading, read_out = engine.chunk - len(writing), 0, []
        while waiting_calls and budget > 0:
            call = waiting_calls[0]
            if not left:
                if held >= engine.streams or reserved + size[call] > engine.tokens:
                    break
                held, reserved, left = held + 1, reserved + size[call], int(calls.input[call])
            take = min(left, budget)
            left, budget, reading = left - take, budget - take, reading + take
            if not left:
                read_out.append(waiting_calls.popleft())
        if not reading and not writing:
            now = float(calls.at[upcoming])
            continue
        context = sum(int(calls.input[c]) + n for c, n in writing.items()) / len(writing) if writing else 1.0
        now += step(reading, len(writing), context)  # type: ignore[operator]
        for call in list(writing):
            writing[call] += 1
        for call in read_out:
            first[call], writing[call] = now, 1
        for call in [c for c, n in writing.items() if n == calls.output[c]]:
            done[call] = now
            del writing[call]
            held, reserved = held - 1, reserved - size[call]
    return first, done


@pytest.mark.parametrize(
    "engine", [Engine(64, 1e9, 512), Engine(6, 1e9, 512), Engine(64, 6000.0, 300), Engine(4, 1e9, 3)]
)
def test_many_steps_at_once_are_the_steps_one_by_one(engine: Engine) -> None:
    draw = np.random.default_rng(3)
    reads = draw.integers(1, 1500 if engine.chunk > 3 else 9, 300)
    calls = arrivals(poisson(2.0, 300), reads, draw.integers(1, 120, 300))
    played = play(calls, Steps(flat), engine, 1)
    first, done = plainly(calls, flat, engine)
    np.testing.assert_allclose(played.first, first, rtol=1e-9)
    np.testing.assert_allclose(played.done, done, rtol=1e-9)


def test_rounded_sizes_cost_little() -> None:
    draw = np.random.default_rng(4)
    calls = arrivals(poisson(2.5, 1500), draw.integers(50, 3000, 1500), draw.integers(1, 300, 1500))
    engine = Engine(128, 4e5)
    played = play(calls, Steps(card), engine, 1)
    first, done = (np.array(one) for one in plainly(calls, card, engine))
    for q in (0.5, 0.95):
        assert np.quantile(played.first - calls.at, q) == pytest.approx(np.quantile(first - calls.at, q), rel=0.03)
        assert np.quantile(played.done - played.first, q) == pytest.approx(np.quantile(done - first, q), rel=0.03)


def test_one_at_a_time_is_the_exact_queue() -> None:
    """A stream at most and answers of one token: M/D/1 and M/M/1, whose waits Pollaczek and Khinchine give exactly."""
    at = poisson(0.7, 60_000)
    one = {"most_streams": 1, "most_tokens": 1e9, "chunk": 1 << 20}
    fixed = replay(arrivals(at, 1280, 1), lambda p, b, c: p / 1280 or 1e-9, replicas=1, most_calls=10**9, **one)  # type: ignore[arg-type]
    assert fixed.first_token.n == 60_000
    lengths = np.maximum(1, np.random.default_rng(5).exponential(12_800, 60_000)).astype(np.int32)
    calls = arrivals(at, lengths, 1)
    for run, squared in ((arrivals(at, 12_800, 1), 0.0), (calls, 1.0)):
        played = play(run, Steps(lambda p, b, c: p / 12_800), Engine(1, 1e9, 1 << 24), 1)
        assert float((played.first - run.at).mean()) - 1 == pytest.approx(
            waiting(0.7, 1.0, 1, services=squared), rel=0.1
        )


def test_the_shortest_of_four_queues_waits_between_one_queue_and_four() -> None:
    """Allen and Cunneen's G/G/c has one queue for all; calls that are bound to a replica wait longer, but far less than
    where they are sent at random (four M/M/1 of a quarter of the calls)."""
    lengths = np.maximum(1, np.random.default_rng(6).exponential(12_800, 40_000)).astype(np.int32)
    calls = arrivals(poisson(3.2, 40_000), lengths, 1)
    played = play(calls, Steps(lambda p, b, c: p / 12_800), Engine(1, 1e9, 1 << 24), 4)
    wait = float((played.first - calls.at).mean()) - 1
    assert waiting(3.2, 1.0, 4) < wait < 2.2 * waiting(3.2, 1.0, 4) < waiting(0.8, 1.0, 1)


@pytest.mark.parametrize(("rate", "replicas"), [(2.0, 1), (4.0, 1), (8.0, 2), (14.0, 4)])
def test_the_formula_beside_the_replay(rate: float, replicas: int) -> None:
    """Poisson arrivals that are batched: the mean time to the first token agrees within 30 %."""
    draw = np.random.default_rng(7)
    calls = arrivals(poisson(rate, 12_000, 8), draw.integers(200, 2000, 12_000), draw.integers(10, 300, 12_000))
    times = Steps(card)
    played = play(calls, times, Engine(128, 4e5), replicas)
    mean = float((played.first - calls.at).mean())
    assert first_token(calls, times, Engine(128, 4e5), replicas) == pytest.approx(mean, rel=0.3)


def test_capacity_is_what_a_full_replica_does() -> None:
    draw = np.random.default_rng(9)
    calls = arrivals(np.zeros(3000), draw.integers(100, 2000, 3000), draw.integers(10, 400, 3000), seconds=1.0)
    for engine in (Engine(128, 4e5), Engine(32, 4e5), Engine(128, 3e4), Engine(128, 4e5, 512)):
        played = play(calls, Steps(card), engine, 1)
        assert calls.tokens / played.done.max() == pytest.approx(capacity(calls, Steps(card), engine), rel=0.05)


def test_more_replicas_are_faster_and_emptier() -> None:
    calls = arrivals(poisson(8.0, 6000), 1200, 200)
    runs = [replay(calls, card, replicas=n, **WIDE) for n in (2, 4, 8)]
    highs = [run.first_token.high or 0 for run in runs]
    assert highs == sorted(highs, reverse=True)
    used = [run.utilisation.value or 0 for run in runs]
    assert used[0] == pytest.approx(2 * used[1]) == pytest.approx(4 * used[2])
    assert all(run.utilisation.low < value < run.utilisation.high for run, value in zip(runs, used, strict=True))  # type: ignore[operator]


def test_least_is_least() -> None:
    calls, goal = arrivals(poisson(12.0, 6000), 1200, 200), Goal(0.5, 0.03)
    found = least_replicas(calls, card, goal, **WIDE)
    assert found.met
    assert found.replicas > 2
    assert (found.first_token.high or 9) <= 0.5
    assert (found.between.high or 9) <= 0.03
    fewer = replay(calls, card, replicas=found.replicas - 1, goal=goal, **WIDE)
    assert not fewer.met
    assert "one call in twenty" in fewer.why


def test_replicas_grow_with_the_load() -> None:
    calls = arrivals(poisson(12.0, 6000), 1200, 200)
    least = [least_replicas(scaled(calls, share), card, Goal(1.0, 0.05), **WIDE) for share in (1.0, 2.0, 4.0)]
    assert least[0].replicas < least[1].replicas < least[2].replicas
    used = [one.utilisation.value or 0 for one in least]
    assert all(0.6 < one <= 1 for one in used)  # even arrivals: no replica more than what is asked for needs


def test_no_number_of_replicas_is_fast_enough() -> None:
    found = least_replicas(arrivals(poisson(1.0, 500), 4096, 50), card, Goal(0.1, 1.0), **WIDE)
    assert not found.met
    assert "even alone on a replica" in found.why
    slow = least_replicas(arrivals(poisson(1.0, 500), 512, 50), card, Goal(1.0, 0.001), **WIDE)
    assert "between tokens, and the goal is 0.001 s" in slow.why


def test_calls_longer_than_a_cache() -> None:
    reads = np.full(1000, 500)
    reads[::100] = 50_000
    calls = arrivals(poisson(2.0, 1000), reads, 50)
    found = replay(calls, card, replicas=2, most_streams=64, most_tokens=2e4, goal=Goal(10.0, 1.0))
    assert (found.requests, found.first_token.n) == (1000, 990)
    assert not found.met
    assert "1 % of the calls are longer than the 20,000 tokens" in found.why


def test_half_the_calls_on_half_the_replicas() -> None:
    draw = np.random.default_rng(2)
    whole = arrivals(poisson(16.0, 20_000), draw.integers(100, 2300, 20_000), draw.integers(10, 390, 20_000))
    half = at_share(whole, 0.5)
    both = [replay(calls, card, replicas=8, **WIDE) for calls in (whole, half)]
    assert both[1].requests == pytest.approx(10_000, rel=0.03)
    assert both[1].utilisation.value == pytest.approx(both[0].utilisation.value or 0, rel=0.03)
    assert both[1].first_token.high == pytest.approx(both[0].first_token.high or 0, rel=0.15)


def test_of_many_calls_the_busiest_part() -> None:
    at = np.sort(np.concatenate([poisson(2.0, 2000), 500 + poisson(40.0, 2000)]))
    calls = arrivals(at, 500, 20)
    part = replay(calls, card, replicas=4, most_calls=1000, **WIDE)
    assert part.source.startswith("the busiest 2")
    assert part.requests == 4000
    assert part.first_token.n >= 2000
    assert (part.first_token.value or 0) >= (replay(calls, card, replicas=4, **WIDE).first_token.value or 0)


def test_series_is_short_and_adds_up() -> None:
    calls = arrivals(poisson(8.0, 6000), 1200, 200)
    found = replay(calls, card, replicas=2, **WIDE).series
    assert len(found) == 240
    assert sum(asked for _, asked, _ in found) * calls.seconds / 240 == pytest.approx(calls.tokens, rel=1e-3)
    assert found[0][2] == pytest.approx(2 * capacity(calls, Steps(card), Engine(128, 4e5)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"replicas": 0}, "0 replicas"),
        ({"most_streams": 0}, "0 streams"),
        ({"chunk": 0}, "steps of 0 tokens"),
        ({"step": lambda p, b, c: 0.0}, "says 0.0 s for a step"),
    ],
)
def test_what_cant_be(changed: dict[str, object], said: str) -> None:
    given: dict[str, object] = {"step": card, "replicas": 1, **WIDE} | changed
    with pytest.raises(BadSetting, match=said):
        replay(arrivals([0.0, 1.0], 100, 10), **given)  # type: ignore[arg-type]


def test_a_goal_and_calls_there_must_be() -> None:
    with pytest.raises(BadSetting, match="can't be met"):
        Goal(0.0, 0.1)
    with pytest.raises(BadSetting, match="no calls"):
        replay(arrivals([], 1, 1, seconds=1.0), card, replicas=1, **WIDE)


def test_what_is_cached_needs_not_be_read() -> None:
    calls = arrivals(poisson(6.0, 6000), 2000, 100)
    fresh, held = (replay(replace(calls, cached=share), card, replicas=2, **WIDE) for share in (0.0, 0.75))
    assert (held.first_token.high or 9) < (fresh.first_token.high or 0) / 2
    assert (held.utilisation.value or 9) < (fresh.utilisation.value or 0) / 2
    full = replace(arrivals(np.zeros(2000), 2000, 100, seconds=1.0), cached=0.75)
    played = play(full, Steps(card), Engine(64, 4e5), 1)
    assert full.tokens / played.done.max() == pytest.approx(capacity(full, Steps(card), Engine(64, 4e5)), rel=0.07)


def test_cold_start() -> None:
    """70B in 16 bits at 2 GB/s: 70 s."""
    unknown = cold_start(140e9, Fact("hardware", "a", {}, "", ""), Facts())
    assert unknown.value == pytest.approx(70.0)
    assert (unknown.low or 99) < 70 < (unknown.high or 0)
    assert cold_start(140e9, Fact("hardware", "a", {"disk": 7e9}, "", ""), Facts()).value == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("name", "mean", "peaks"),
    [("conv", 19_366, {1: "4.71", 10: "2.37", 60: "1.79", 300: "1.59"}), ("code", 8_819, {10: "13.4"})],
)
def test_the_azure_traces(shared: Path, name: str, mean: int, peaks: dict[float, str]) -> None:
    from freehold.plan.load.arrivals import peak

    calls = azure(shared, name)
    assert len(calls) == mean
    for window, known in peaks.items():
        assert f"{peak(calls, window).value:.{len(known.replace('.', ''))}g}" == known
    found = least_replicas(calls, card, Goal(2.0, 0.1), **WIDE)
    assert found.met
    # provisioned for the ten busiest seconds: at most 1 / 2.37 and 1 / 13.4 of what the replicas can do, but for what
    # the queue takes up of a burst within the goal
    used = found.utilisation.value or 0
    assert used < {"conv": 0.62, "code": 0.15}[name]
    assert found.peak.value == pytest.approx(float(peaks[10]), rel=0.01)
