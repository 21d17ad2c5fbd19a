"""How fast a shape learns here: steps on ids drawn at random, in each arithmetic, on the clock of a machine that is not
shared with others.

measured(shape, rows=16, threads=2) -> Speed(dtype="bfloat16", an_id=2.1e-5, a_step=3e-3, said="bfloat16: ...")

CPU seconds of one thread, so that a busy machine says nearly the same as an idle one. More threads are tried on the
clock, and taken where they pay: in small models they wait for each other, and on a busy machine burn their time there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

from freehold.errors import MissingExtra
from freehold.tell import Tell, quiet
from freehold.train.nouns import Shape

__all__ = ["Speed", "measured", "on_cards"]

IDS = 2048  # at once, at most, while it is measured
ROUNDS, SECONDS = 3, 0.3  # at least so many steps, and so long
PAYS = 1.2  # times as fast more threads have to be
GAIN = 1.1  # times as fast bfloat16 has to be to be worth its rounding
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Speed:
    """`an_id`: seconds for each id that is learned from, forward and backward. `a_step`: seconds a step beside, for
    clipping and Adam. `said`: the measurement in words."""

    dtype: Dtype
    an_id: float
    a_step: float
    said: str
    threads: int = 1
    together: str = ""

    def step(self, ids: int) -> float:
        return self.an_id * ids + self.a_step

    def tokens(self, seconds: float, ids: float) -> float:
        """Learned from in so many seconds, in steps of `ids`."""
        return seconds / (self.an_id + self.a_step / ids)


def on_cards(dtype: Dtype | None, threads: int) -> Speed:
    """Of machines that are not here: how fast they are isn't known, and cards compute in bfloat16."""
    said = f"{dtype}: as asked" if dtype else "bfloat16, as cards do, with weights in float32; on CPUs float32 is safer"
    return Speed(dtype or "bfloat16", 0.0, 0.0, said, threads or 1)


def measured(
    shape: Shape, rows: int, *, threads: int, most: int = 1, dtype: Dtype | None = None, start: Path | None = None,
    tell: Tell = quiet,
) -> Speed:  # fmt: skip
    """In the faster arithmetic, or in the one given; of the model in `start`, or a new one. `threads`: 0 is one, or
    `most` where that pays. Raises MissingExtra."""
    tell(f"measure how fast {shape.layers} layers of {shape.width} learn")
    return _measured(shape, rows, threads, most, dtype, start)


@lru_cache(maxsize=16)
def _measured(shape: Shape, rows: int, threads: int, most: int, dtype: Dtype | None, start: Path | None) -> Speed:
    """Once in a process for each."""
    try:
        from freehold.train.loop.noise import still

        with still(0, 1):
            model = _model(shape, start)
            took = {name: _steps(model, shape, rows, name, process_time) for name in _asked(dtype)}
            best, said = _faster(took)
            gain = _gain(model, shape, rows, best, threads or most)
    except ImportError as error:
        raise MissingExtra(
            f"Training needs the package {error.name}, which is not installed.", "pip install 'freehold[tune]'"
        ) from error
    taken, together = (threads, "") if threads else _threads(most, gain)
    times = gain if taken > 1 else 1.0
    an_id, a_step = took[best]
    return Speed(best, an_id / times, a_step / times, said, taken, together)


def _faster(took: dict[Dtype, tuple[float, float]]) -> tuple[Dtype, str]:
    if len(took) == 1:
        (only,) = took
        return only, f"{only}: as asked"
    wide, half = 1e6 * took["float32"][0], 1e6 * took["bfloat16"][0]
    said = f"an id takes {wide:.0f} µs in float32 and {half:.0f} µs in bfloat16"
    if wide / half >= GAIN:
        return "bfloat16", f"bfloat16: {said}"
    return "float32", f"float32: {said}, no gain"


def _gain(model: Any, shape: Shape, rows: int, dtype: Dtype, threads: int) -> float:
    """How many times as fast so many threads are as one, on the clock; torch is at one, and is left there."""
    import torch

    if threads < 2:
        return 1.0
    alone = sum(_steps(model, shape, rows, dtype, perf_counter))
    torch.set_num_threads(threads)
    try:
        return alone / sum(_steps(model, shape, rows, dtype, perf_counter))
    finally:
        torch.set_num_threads(1)


def _threads(most: int, gain: float) -> tuple[int, str]:
    if most < 2:
        return 1, ""
    how = f"are {gain:.1f} times as fast" if gain >= 1 else f"take {1 / gain:.1f} times as long"
    said = f"{most} {how} as one on this machine now"
    return (most, f"{most}: {said}") if gain >= PAYS else (1, f"one: {said}")


def _model(shape: Shape, start: Path | None) -> Any:
    """Its weights don't matter."""
    from transformers import AutoConfig

    from freehold.train.model import config_of, fresh

    if start is None:
        return fresh(config_of(shape, 0), 0)
    return fresh(AutoConfig.from_pretrained(start, trust_remote_code=False), 0)


def _asked(dtype: Dtype | None) -> tuple[Dtype, ...]:
    return ("float32", "bfloat16") if dtype is None else (dtype,)


def _steps(model: Any, shape: Shape, rows: int, dtype: Dtype, clock: Callable[[], float]) -> tuple[float, float]:
    """(seconds an id, seconds a step beside): the best of a few, after one that warms up."""
    import torch

    ids = torch.randint(shape.vocabulary, (max(1, min(rows, IDS // shape.context)), shape.context + 1))
    adam = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    learns: list[float] = []
    steps: list[float] = []
    began = clock()
    while len(learns) <= ROUNDS or clock() - began < SECONDS:
        start = clock()
        _learn(model, ids, dtype)
        between = clock()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        learns.append(between - start)
        steps.append(clock() - between)
    return min(learns[1:]) / (ids.numel() - len(ids)), min(steps[1:])


def _learn(model: Any, ids: Any, dtype: Dtype) -> None:
    """As the loop does it."""
    import torch

    from freehold.train.loop.loss import summed

    experts = bool(getattr(model.config, "num_local_experts", 0))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        nats, _ = summed(model, ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), experts=experts)
    (nats / ids.numel()).backward()
