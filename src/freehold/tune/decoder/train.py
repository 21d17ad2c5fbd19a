"""The loop: a step is a few rows, a loss, a checkpoint now and then.

    train(model, examples, state, folder, ...) -> Trained(tensors, losses, seconds)

What a step makes smaller is an Objective: the answers' cross-entropy here, a preference in tune/preference.

A lean loop instead of a trainer's, because the goal is speed: see docs/decoder.md for the figures beside one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from freehold.errors import TooLittleMemory, TrainingFailed
from freehold.project.stopping import Stopped, listening
from freehold.tell import Tell
from freehold.tune.decoder.checkpoint import Checkpoint, write
from freehold.tune.decoder.data import Example, Examples, run
from freehold.tune.decoder.device import CPU, Device
from freehold.tune.decoder.model import adapter, loss, put_adapter
from freehold.tune.decoder.plan import PIECE

__all__ = ["Likelihood", "Objective", "Trained", "held_out_loss", "measure_row", "train"]

CLIP = 1.0  # the gradient's largest norm
EVERY = 60.0  # seconds between checkpoints
TOLD = 10  # how often a run says its loss


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """`tensors` is the adapter by PEFT's names, `losses` one a step, `seconds` by the device's clock, those before a
    kill too."""

    tensors: dict[str, Any]
    losses: list[float]
    seconds: float


class Objective(Protocol):
    """What a step makes smaller: a mean over its examples by `weight`. `rows` is how many rows one example takes."""

    rows: int

    def weight(self, example: Any, /) -> float: ...
    def loss(self, model: Any, examples: Sequence[Any], prefix: Sequence[int], pad: int, /) -> Any: ...


class Likelihood:
    """That of the answers: each of their ids counts the same."""

    rows = 1

    def weight(self, example: Example, /) -> int:
        return len(example.answer)

    def loss(self, model: Any, examples: Sequence[Example], prefix: Sequence[int], pad: int, /) -> Any:
        return loss(model, examples, prefix, pad)


LIKELIHOOD = Likelihood()


def train(
    model: Any,
    examples: Examples,
    state: Checkpoint,
    folder: Path,
    *,
    pad: int,
    seed: int,
    tell: Tell,
    every: float = EVERY,
    device: Device = CPU,
    by: Objective = LIKELIHOOD,
) -> Trained:
    """Learn from `state` on: step 0, or where a run before this one was killed. Asked to stop, it keeps what it has
    learned first. Raises TrainingFailed, and TooLittleMemory where a card runs out of it in spite of the prediction."""
    with listening() as heard:
        return _train(model, examples, state, folder, pad, seed, tell, every, device, by, heard)


def _train(
    model: Any, examples: Examples, state: Checkpoint, folder: Path, pad: int, seed: int, tell: Tell, every: float,
    device: Device, by: Objective, heard: Callable[[], int],
) -> Trained:  # fmt: skip
    import torch

    plan = state.plan
    steps = run(examples, rows=plan.rows, epochs=plan.epochs, batch=plan.batch, seed=seed)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(named.values(), lr=plan.rate, weight_decay=0.0)
    _put(model, optimiser, named, state, device)
    losses, spent, start = list(state.losses), state.seconds, device.clock()
    saved, voice = start, _Voice(tell, state.step, plan.steps, "min" if device.card else "CPU min")
    for step in range(state.step, plan.steps):
        rate = plan.rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        some = [examples.rows[i] for i in steps[step]]
        try:
            loss, norm = _step(model, optimiser, some, examples.prefix, pad, plan.piece, by)
        except torch.OutOfMemoryError as error:
            raise TooLittleMemory(
                f"The card ran out of memory in step {step + 1} of {plan.steps}; {_kept(step, folder)}.",
                "Free the card of other programs and run the same again, or take --bits 4 or --device cpu.",
            ) from error
        for what, value in (("loss", loss), ("gradient", norm)):
            if not math.isfinite(value):
                raise TrainingFailed(
                    f"The {what} of step {step + 1} of {plan.steps} is {value}, at the rate {rate:.2g}; "
                    f"{_kept(step, folder)}.",
                    "Give another base (--base); from Python, tune_decoder takes a smaller rate.",
                )
        losses.append(loss)
        now = device.clock()
        voice.step(step + 1, losses, now - start)
        if (number := heard()) or now - saved >= every:
            write(folder, _state(model, optimiser, named, state, step + 1, losses, spent + now - start, device))
            saved = now
        if number:
            raise Stopped(number)
    seconds = spent + device.clock() - start
    write(folder, _state(model, optimiser, named, state, plan.steps, losses, seconds, device))
    return Trained(adapter(model), losses, seconds)


def _kept(step: int, folder: Path) -> str:
    return f"what was learned up to the last checkpoint is kept in {folder}" if step else "nothing was learned"


def _step(
    model: Any, optimiser: Any, rows: Sequence[Example], prefix: Sequence[int], pad: int, ids: int, by: Objective
) -> tuple[float, float]:
    """One update: the loss, a mean over the step in however many pieces it is made, and its gradient's norm. Where one
    of the two is no number, nothing is changed."""
    import torch

    optimiser.zero_grad()
    wanted, total = sum(by.weight(row) for row in rows), 0.0
    for piece in _pieces(rows, ids // by.rows):
        share = sum(by.weight(row) for row in piece) / wanted
        part = share * by.loss(model, piece, prefix, pad)
        part.backward()
        total += float(part.detach())
    norm = float(torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], CLIP))
    if math.isfinite(total) and math.isfinite(norm):
        optimiser.step()
    return total, norm


def _pieces(rows: Sequence[Example], ids: int) -> list[Sequence[Example]]:
    """Rows in groups whose padded ids stay within `ids`."""
    most = max(1, ids // max(row.length for row in rows))
    return [rows[i : i + most] for i in range(0, len(rows), most)]


def _state(
    model: Any, optimiser: Any, named: dict[str, Any], at: Checkpoint, step: int, losses: list[float], seconds: float,
    device: Device,
) -> Checkpoint:  # fmt: skip
    tensors = {f"adapter.{name}": value for name, value in adapter(model).items()}
    for name, parameter in named.items():
        if held := optimiser.state.get(parameter):
            tensors |= {f"m.{name}": held["exp_avg"], f"v.{name}": held["exp_avg_sq"]}
    return Checkpoint(at.key, at.plan, step, losses, seconds, tensors | device.random())


def _put(model: Any, optimiser: Any, named: dict[str, Any], state: Checkpoint, device: Device) -> None:
    """The tensors of a checkpoint where they were; a fresh start carries none."""
    import torch

    if not state.tensors:
        return
    put_adapter(model, {n.removeprefix("adapter."): t for n, t in state.tensors.items() if n.startswith("adapter.")})
    for name, parameter in named.items():
        if f"m.{name}" in state.tensors:
            optimiser.state[parameter] = {
                "step": torch.tensor(float(state.step)),
                "exp_avg": state.tensors[f"m.{name}"].to(parameter.device),
                "exp_avg_sq": state.tensors[f"v.{name}"].to(parameter.device),
            }
    device.put_random(state.tensors)


class _Voice:
    """Says at every step how far it is; the words (smoothed loss, time left) change TOLD times a run."""

    def __init__(self, tell: Tell, first: int, steps: int, unit: str) -> None:
        self._tell, self._first, self._steps, self._unit = tell, first, steps, unit
        self._words = ""

    def step(self, done: int, losses: list[float], seconds: float) -> None:
        """After `done` steps in all; the ones of this process took `seconds`."""
        each = max(1, self._steps // TOLD)
        if not self._words or done % each == 0:
            recent, left = losses[-each:], (self._steps - done) * seconds / (done - self._first) / 60
            loss = sum(recent) / len(recent)
            self._words = f"train: loss {loss:.3f} at step {done} of {self._steps}, {left:.1f} {self._unit} left"
        self._tell(self._words, done / self._steps)


def held_out_loss(model: Any, examples: Examples, pad: int, batch: int = 16) -> float:
    """Mean cross-entropy over the answer ids of rows that are not learned from."""
    import torch

    order = sorted(range(len(examples.rows)), key=lambda i: examples.rows[i].length)
    total, count = 0.0, 0
    with torch.no_grad():
        for at in range(0, len(order), batch):
            rows = [examples.rows[i] for i in order[at : at + batch]]
            wanted = sum(len(row.answer) for row in rows)
            total += wanted * float(loss(model, rows, examples.prefix, pad))
            count += wanted
    return total / max(1, count)


def measure_row(
    model: Any, examples: Examples, pad: int, batch: int, *, piece: int = PIECE, device: Device = CPU,
    by: Objective = LIKELIHOOD,
) -> float:  # fmt: skip
    """Seconds that a row takes, forward and backward, from one step of middling rows after one that warms up."""
    order = sorted(range(len(examples.rows)), key=lambda i: examples.rows[i].length)
    middle = [examples.rows[i] for i in order[len(order) // 2 :][:batch]]
    for _ in range(2):
        start = device.clock()
        for some in _pieces(middle, piece // by.rows):
            by.loss(model, some, examples.prefix, pad).backward()
        model.zero_grad()
    return (device.clock() - start) / len(middle)
