"""How fast a shape learns here: steps on ids drawn at random, in each arithmetic, on the clock of a machine that is not
shared with others.

measured(shape, rows=16, threads=2) -> Speed(dtype="bfloat16", an_id=2.1e-5, a_step=3e-3, said="bfloat16: ...")

CPU seconds of one thread, so that a busy machine says nearly the same as an idle one: threads that wait for each other
burn time there. n threads are thought to be n ** 0.8 times as fast, which no measurement here stands behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, Literal

from freehold.errors import MissingExtra
from freehold.tell import Tell, quiet
from freehold.train.nouns import Shape

__all__ = ["Speed", "measured"]

IDS = 2048  # at once, at most, while it is measured
ROUNDS, SECONDS = 3, 0.3  # at least so many steps, and so long
TOGETHER = 0.8  # n threads do what n ** 0.8 do alone
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

    def step(self, ids: int) -> float:
        return self.an_id * ids + self.a_step

    def tokens(self, seconds: float, ids: float) -> float:
        """Learned from in so many seconds, in steps of `ids`."""
        return seconds / (self.an_id + self.a_step / ids)


def measured(
    shape: Shape, rows: int, *, threads: int, dtype: Dtype | None = None, start: Path | None = None, tell: Tell = quiet
) -> Speed:
    """In the faster arithmetic, or in the one given; of the model in `start`, or a new one. Raises MissingExtra."""
    try:
        from freehold.train.loop.noise import still

        tell(f"measure how fast {shape.layers} layers of {shape.width} learn")
        with still(0, 1):
            model = _model(shape, start)
            took = {name: _steps(model, shape, rows, name, threads**TOGETHER) for name in _asked(dtype)}
    except ImportError as error:
        raise MissingExtra(
            f"Training needs the package {error.name}, which is not installed.", "pip install 'freehold[tune]'"
        ) from error
    if len(took) == 1:
        ((only, (an_id, a_step)),) = took.items()
        return Speed(only, an_id, a_step, f"{only}: as asked")
    gain = took["float32"][0] / took["bfloat16"][0]
    said = (
        f"an id takes {1e6 * took['float32'][0]:.0f} µs in float32 and {1e6 * took['bfloat16'][0]:.0f} µs in bfloat16"
    )
    best: Dtype = "bfloat16" if gain >= GAIN else "float32"
    return Speed(best, *took[best], f"{best}: {said}" + (", no gain" if best == "float32" else ""))


def _model(shape: Shape, start: Path | None) -> Any:
    """Its weights don't matter."""
    from transformers import AutoConfig

    from freehold.train.model import config_of, fresh

    if start is None:
        return fresh(config_of(shape, 0), 0)
    return fresh(AutoConfig.from_pretrained(start, trust_remote_code=False), 0)


def _asked(dtype: Dtype | None) -> tuple[Dtype, ...]:
    return ("float32", "bfloat16") if dtype is None else (dtype,)


def _steps(model: Any, shape: Shape, rows: int, dtype: Dtype, times: float) -> tuple[float, float]:
    """(seconds an id, seconds a step beside), `times` as fast: the best of a few, after one that warms up."""
    import torch

    ids = torch.randint(shape.vocabulary, (max(1, min(rows, IDS // shape.context)), shape.context + 1))
    adam = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    learns: list[float] = []
    steps: list[float] = []
    began = process_time()
    while len(learns) <= ROUNDS or process_time() - began < SECONDS:
        start = process_time()
        _learn(model, ids, dtype)
        between = process_time()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        learns.append(between - start)
        steps.append(process_time() - between)
    return min(learns[1:]) / times / (ids.numel() - len(ids)), min(steps[1:]) / times


def _learn(model: Any, ids: Any, dtype: Dtype) -> None:
    """As the loop does it."""
    import torch

    from freehold.train.loop.loss import summed

    experts = bool(getattr(model.config, "num_local_experts", 0))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        nats, _ = summed(model, ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), experts=experts)
    (nats / ids.numel()).backward()
