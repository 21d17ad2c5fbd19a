"""What a replica can do when it is full, and how long a first token takes by formula: what stands beside the replay.

full: B streams write and P tokens are read a step on the mean, P / B = read / written, B + P <= chunk, B <= streams
calls a second = B / written / a step's mean time
"""

from __future__ import annotations

import numpy as np

from freehold.plan.load.arrivals import Arrivals
from freehold.plan.load.batching import Engine, Steps
from freehold.plan.load.queue import waiting

__all__ = ["capacity", "first_token"]


def capacity(arrivals: Arrivals, times: Steps, engine: Engine) -> float:
    """Tokens a second, asked and answered, of one replica that always has enough to do, at these calls' lengths.

    A question is read as soon as a stream has ended, so where streams end less often than once a step, some steps read
    a whole question and the others none. Of a cache half the next call's place is lost.
    """
    read, written, context, size = _shape(arrivals)
    streams = min(engine.streams, max(1.0, engine.tokens / size - 0.5))
    streams = min(streams, engine.chunk * written / (read + written))
    reading = streams * read / written
    at_once = max(reading, min(read, engine.chunk - streams))
    writing = max(round(streams), int(reading < 1))
    seconds = reading / at_once * times.exactly(max(1, round(at_once)), writing, context)
    if reading < at_once and writing:
        seconds += (1 - reading / at_once) * times.exactly(0, writing, context)
    return streams / written * size / seconds


def first_token(arrivals: Arrivals, times: Steps, engine: Engine, replicas: int) -> float:
    """Mean seconds to the first token by Allen and Cunneen: each replica is a server that reads one question after the
    other, at the pace that the streams leave it. How many those are follows from Little's law. Infinite where questions
    come faster than they are read, or more streams write than have a place."""
    read, written, context, size = _shape(arrivals)
    rate = len(arrivals) / arrivals.seconds
    places = min(float(engine.streams), engine.tokens / size, engine.chunk - 1.0)
    streams = wanted = min(1.0, places)
    for _ in range(20):
        reading = max(1, round(min(engine.chunk - streams, read)))
        seconds = times(reading, round(streams), context)
        plain = times(0, max(1, round(streams)), context)
        busy = min(1.0, rate / replicas * read / reading * seconds)  # the part of time in which a question is read
        wanted = rate / replicas * written * (busy * seconds + (1 - busy) * plain)
        streams = min(wanted, places)
    sizes = arrivals.read / reading * seconds
    if wanted > places:
        return float("inf")
    gaps = np.diff(arrivals.at)
    service = float(sizes.mean())
    wait = waiting(rate, service, replicas, arrivals=_squared(gaps), services=_squared(sizes))
    return wait + service + plain / 2


def _shape(arrivals: Arrivals) -> tuple[float, float, float, float]:
    """Mean tokens read and written of a call, the mean context of a stream that writes (by time, so that long answers
    count for more), and the mean call's tokens in all."""
    asked, written = np.maximum(arrivals.input, 1).astype(float), arrivals.written.astype(float)
    context = float((written * (asked + written / 2)).sum() / written.sum())
    return float(arrivals.read.mean()), float(written.mean()), context, float((asked + written).mean())


def _squared(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The squared coefficient of variation."""
    mean = float(values.mean()) if len(values) else 0.0
    return float(values.var()) / mean**2 if mean else 1.0
