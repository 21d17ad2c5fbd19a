"""Calls played against replicas that batch continuously: discrete events, many decode steps at once.

    arrivals ─ shortest queue ─→ replica: waiting | reading (in chunks) | writing, one token a step each

    a step's budget is `chunk` tokens: first one for each stream that writes, the rest reads questions in their order
    |- reads: one step -|- reads: one step -|------- only writes: as many steps as nothing changes in -------|

What is written is never held up by what is read (Sarathi-Serve, arXiv 2403.02310); steps take what the speed model says
(as in Vidur, arXiv 2405.05465). A call is admitted when its whole context has a place in the cache, so none is ever put
out again. Of a stretch of steps in which only tokens are written, its middle's time holds for all of it; it ends with
the first stream that ends, or at the step in which a call comes that could be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt

from freehold.errors import BadSetting
from freehold.project.arrivals import Arrivals

__all__ = ["Engine", "Played", "Steps", "play"]

Step = Callable[[int, int, float], float]
Floats = npt.NDArray[np.float64]
GRAINS = ((8, 1), (256, 16), (1024, 64), (1 << 62, 128))  # below so many tokens read, to what a step's size is rounded
STREAMS = ((16, 1), (64, 4), (1 << 62, 8))  # the same of streams
CONTEXT = 512  # tokens of context, to which it is rounded; 4 times it from FAR times it on
FAR = 16


class Steps:
    """The speed model, asked once for each size of a step: sizes are rounded to within some per cent."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.known: dict[int, float] = {}

    def __call__(self, reading: int, streams: int, context: float) -> float:
        """Seconds of a step that reads `reading` tokens while `streams` write at a mean `context`."""
        reading, streams = _rounded(reading, GRAINS), _rounded(streams, STREAMS)
        far = int(context) // CONTEXT
        if far >= FAR:
            far = far // 4 * 4
        key = (reading << 40) | (streams << 20) | far
        found = self.known.get(key)
        if found is None:
            middle = CONTEXT * (far + (0.5 if far < FAR else 2))
            found = self.known[key] = self.exactly(reading, streams, middle)
        return found

    def exactly(self, reading: int, streams: int, context: float) -> float:
        """The same at these very sizes. Raises BadSetting where the model says no time above 0."""
        seconds = float(self.step(reading, streams, context))
        if not 0 < seconds < float("inf"):
            raise BadSetting(
                f"The speed model says {seconds} s for a step of {reading} tokens read and {streams} written.",
                "A step takes a time above 0: mend the hardware's facts.",
            )
        return seconds


def _rounded(count: int, grains: tuple[tuple[int, int], ...]) -> int:
    for below, grain in grains:
        if count < below:
            return (count + grain // 2) // grain * grain
    return count


@dataclass(frozen=True, slots=True)
class Engine:
    """How a replica batches: `streams` and `tokens` of context at most, a step of `chunk` tokens."""

    streams: int
    tokens: float
    chunk: int = 2048


@dataclass(frozen=True, slots=True)
class Played:
    """When each call's first token came and when its last (NaN: it wasn't served). `stopped`: it was given up, since
    too many calls had been too slow."""

    first: Floats
    done: Floats
    stopped: bool = False


class Replica:
    """One replica: its queue, the call that is read, the streams that write, and the stretch of steps under way."""

    __slots__ = (
        "context", "ends", "engine", "fresh", "held", "input", "left", "output", "passed", "read", "reserved",
        "seconds", "starts", "steps", "times", "turn", "waiting", "writing",
    )  # fmt: skip

    def __init__(self, engine: Engine, times: Steps, read: list[int], input: list[int], output: list[int]) -> None:
        self.engine, self.times, self.read, self.input, self.output = engine, times, read, input, output
        self.waiting: deque[int] = deque()
        self.writing: list[tuple[int, int]] = []  # a heap of (the step after which it ends, call)
        self.fresh: list[int] = []  # calls whose question is read to its end in this step
        self.held = self.left = self.reserved = self.context = self.passed = self.steps = self.turn = 0
        self.starts = self.seconds = self.ends = 0.0

    def begin(self, now: float) -> bool:
        """Lay out the next stretch; False where there is nothing to do."""
        streams = len(self.writing)
        reading = self._admit(self.engine.chunk - streams) if self.waiting else 0
        if not reading and not streams:
            self.steps = 0
            return False
        self.turn += 1
        self.starts = now
        if reading:
            context = (
                self.context / streams if streams else self.input[self.fresh[0] if self.fresh else self.waiting[0]]
            )
            self.steps, self.seconds = 1, self.times(reading, streams, context)
        else:
            self.steps = self.writing[0][0] - self.passed
            self.seconds = self.times(0, streams, self.context / streams + self.steps / 2)
        self.ends = now + self.steps * self.seconds
        return True

    def _admit(self, budget: int) -> int:
        """Read on in the queue's order, as far as the step's tokens, the streams and the cache go."""
        reading, waiting, engine = 0, self.waiting, self.engine
        while waiting and budget > 0:
            call = waiting[0]
            if not self.left:
                size = self.input[call] + self.output[call]
                if self.held >= engine.streams or self.reserved + size > engine.tokens:
                    break
                self.held += 1
                self.reserved += size
                self.left = self.read[call]
            take = self.left if self.left < budget else budget
            self.left -= take
            budget -= take
            reading += take
            if not self.left:
                self.fresh.append(waiting.popleft())
        return reading

    def cut(self, now: float) -> bool:
        """End a stretch of writing with the step in which a call comes. False where it ends there anyway."""
        steps = int((now - self.starts) / self.seconds) + 1
        if steps >= self.steps:
            return False
        self.steps = steps
        self.ends = self.starts + steps * self.seconds
        self.turn += 1
        return True

    def end(self, first: list[float], done: list[float]) -> list[int]:
        """Count the stretch; the calls that ended in it."""
        now, writing, ended = self.ends, self.writing, []
        self.passed += self.steps
        self.context += self.steps * len(writing)
        while writing and writing[0][0] <= self.passed:
            ended.append(heappop(writing)[1])
            self.context -= self.input[ended[-1]] + self.output[ended[-1]]
        for call in self.fresh:
            first[call] = now
            if self.output[call] == 1:
                ended.append(call)
            else:
                heappush(writing, (self.passed + self.output[call] - 1, call))
                self.context += self.input[call] + 1
        self.fresh = []
        for call in ended:
            done[call] = now
            self.reserved -= self.input[call] + self.output[call]
        self.held -= len(ended)
        return ended


def play(
    arrivals: Arrivals,
    times: Steps,
    engine: Engine,
    replicas: int,
    *,
    slow: Callable[[list[int], list[int], list[float], list[float]], bool] | None = None,
) -> Played:
    """All calls, to the last one's end. A call that is larger than a replica's cache is left out. `slow(first tokens
    out, calls ended, first, done)` may say after each stretch that it has seen enough."""
    sizes = arrivals.read, np.maximum(1, arrivals.input), arrivals.written
    fits = (sizes[1] + sizes[2] <= engine.tokens).tolist()
    rows = [one.tolist() for one in sizes]
    times_of = arrivals.at.tolist()
    first, done = [float("nan")] * len(times_of), [float("nan")] * len(times_of)
    all_replicas = [Replica(engine, times, *rows) for _ in range(replicas)]
    loads = [0] * replicas
    events: list[tuple[float, int, int]] = []  # (when, replica, turn): of an earlier turn it is void
    upcoming, calls = 0, len(times_of)
    while events or upcoming < calls:
        if upcoming < calls and (not events or times_of[upcoming] < events[0][0]):
            now = times_of[upcoming]
            if fits[upcoming]:
                place = loads.index(min(loads)) if replicas > 1 else 0
                loads[place] += 1
                one = all_replicas[place]
                idle, blocked = one.steps == 0, bool(one.waiting)
                one.waiting.append(upcoming)
                if one.begin(now) if idle else not blocked and one.steps > 1 and one.cut(now):
                    heappush(events, (one.ends, place, one.turn))
            upcoming += 1
            continue
        now, place, turn = heappop(events)
        one = all_replicas[place]
        if one.turn != turn:
            continue
        fresh = one.fresh
        ended = one.end(first, done)
        loads[place] -= len(ended)
        if slow is not None and (fresh or ended) and slow(fresh, ended, first, done):
            return Played(np.array(first), np.array(done), stopped=True)
        if one.begin(now):
            heappush(events, (one.ends, place, one.turn))
    return Played(np.array(first), np.array(done))
