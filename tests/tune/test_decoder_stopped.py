"""A tuning that is asked to stop, or meets a gradient that is no number: what was learned is kept, and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.signals import as_usual
from tests.tune.tiny import examples, make_plan, tuned

from freehold.errors import TrainingFailed
from freehold.tell import quiet
from freehold.tune.decoder.checkpoint import NAME, Checkpoint, read
from freehold.tune.decoder.device import CPU
from freehold.tune.decoder.model import attach, load
from freehold.tune.decoder.plan import Plan
from freehold.tune.decoder.train import Likelihood, train

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
STEPS = 8


class Ended(Exception):
    """What SIGTERM and SIGHUP do here: a process that ended could not say so to its test."""


@pytest.fixture
def usual() -> Iterator[None]:
    def end(number: int, frame: Any) -> None:
        raise Ended(number)

    with as_usual({signal.SIGTERM: end, signal.SIGHUP: end}):
        yield


def sending(step: int, *numbers: int) -> Callable[..., None]:
    """A tell that sends these to its own process while `step` is said."""

    def tell(what: str, done: float | None = None, /) -> None:
        if done is not None and round(done * STEPS) == step:
            for number in numbers:
                os.kill(os.getpid(), number)

    return tell


def plan(bits: int = 16) -> Plan:
    return replace(make_plan(STEPS), bits=bits, dtype="bfloat16" if bits == 4 else "float32")


def kept(work: Path) -> int:
    state = read(work, "key")
    return 0 if state is None else state.step


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("bits", [16, 4])
def test_asked_to_stop_it_keeps_all_that_was_learned(folder: Path, tmp_path: Path, bits: int) -> None:
    """Long before a checkpoint was due; then the signal does what it always does, and it ends in the same bits."""
    if bits == 4:
        pytest.importorskip("bitsandbytes")
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = tuned(folder, tmp_path / "whole", plan(bits), every=1e6)
    for step, number, ends in ((2, signal.SIGTERM, Ended), (5, signal.SIGINT, KeyboardInterrupt)):
        with pytest.raises(ends):
            tuned(folder, tmp_path / "stopped", plan(bits), every=1e6, tell=sending(step, number))
        assert kept(tmp_path / "stopped") == step
    again = tuned(folder, tmp_path / "stopped", plan(bits))
    assert again.losses == whole.losses
    for name, tensor in whole.tensors.items():
        assert tensor.numpy().tobytes() == again.tensors[name].numpy().tobytes(), name


@pytest.mark.usefixtures("usual")
def test_after_the_last_step_it_is_not_lost(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Ended):
        tuned(folder, tmp_path, plan(), tell=sending(STEPS, signal.SIGHUP))
    assert kept(tmp_path) == STEPS


@pytest.mark.usefixtures("usual")
def test_the_second_one_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tuned(folder, tmp_path, plan(), every=1e6, tell=sending(2, signal.SIGTERM, signal.SIGINT))
    assert not (tmp_path / NAME).exists()


class _Steep(torch.autograd.Function):  # type: ignore[misc]
    """What it is given, and a gradient that is no number."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, given: Any) -> Any:
        return given * float("nan")


class Steep(Likelihood):
    """The answers' likelihood, but for its third step's gradient."""

    steps = 0

    def loss(self, model: Any, examples: Any, prefix: Any, pad: int, /) -> Any:
        said = super().loss(model, examples, prefix, pad)
        self.steps += 1
        return _Steep.apply(said) if self.steps == 3 else said


def test_a_gradient_that_is_no_number_never_reaches_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    """Its step has a loss that is one: the next one's would not be, and a checkpoint lies between."""
    tokens, rows = examples(folder)
    with CPU.still(0):
        model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
        begin = Checkpoint("key", make_plan(4), 0, [], 0.0, {})
        with pytest.raises(TrainingFailed, match=r"The gradient of step 3 of 4 is nan, at the rate .* is kept in"):
            train(model, rows, begin, tmp_path, pad=tokens.pad, seed=0, tell=quiet, every=0.0, by=Steep())
    held = read(tmp_path, "key")
    assert held is not None
    assert (held.step, len(held.losses)) == (2, 2)
    assert all(tensor.isfinite().all() for tensor in held.tensors.values())
