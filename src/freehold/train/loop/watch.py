"""What looks on at every step: the loss, a checkpoint now and then, held-out text, a signal to stop.

Called by Trainer: before the optimizer moves anything (is the loss a number?), and after each step.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import TrainerCallback

from freehold.errors import TrainingFailed
from freehold.project.stopping import Stopped
from freehold.tell import Tell
from freehold.train.job import Training
from freehold.train.loop.checkpoint import About, Checkpoint, write
from freehold.train.loop.evaluate import asked_at, measure, sizes
from freehold.train.loop.noise import random_state
from freehold.train.loop.schedule import share
from freehold.train.nouns import Eval

__all__ = ["Watch"]

TOLD = 20  # how often a training says its loss


class Watch(TrainerCallback):  # type: ignore[misc]
    """Losses, evals and seconds, those before a kill included."""

    def __init__(
        self,
        job: Training,
        folder: Path,
        begin: About,
        held_out: npt.NDArray[np.unsignedinteger],
        heard: Callable[[], int],
        tell: Tell,
    ) -> None:
        self.job, self.folder, self.held_out, self.heard = job, folder, held_out, heard
        self.losses, self.evals = list(begin.losses), list(begin.evals)
        self._begin, self._kept = begin, begin.step
        self._asked = asked_at(job.plan)
        self._voice = _Voice(tell, job, begin)
        self._clock = self._saved = time.monotonic()
        self._cpu = time.process_time()
        self._wants = [0.0, 0.0]
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._clock = self._saved = time.monotonic()
        self._cpu = time.process_time()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before anything is changed: all processes agree on the loss, and on what comes after the step."""
        trainer = self.trainer
        due = trainer.place.rank == 0 and time.monotonic() - self._saved >= self.job.every
        nats, *self._wants = trainer.place.add_up([float(trainer.nats), float(due), float(self.heard())])
        trainer.nats = 0.0
        loss = nats / (self.job.plan.rows * self.job.plan.shape.context)
        for what, value in (("loss", loss), ("gradient", trainer.norm)):
            if not math.isfinite(value):
                raise self._failed(what, state.global_step)
        self.losses.append(loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        self._voice.step(step, self.losses, time.monotonic() - self._clock)
        if step in self._asked:
            self._look(step)
        save, stop = self._wants
        if save or stop or step == self.job.plan.steps:
            self.save(step)
        if stop and step < self.job.plan.steps:
            raise Stopped(self.heard() or signal.SIGTERM)

    def about(self, step: int) -> About:
        return About(
            key=self.job.key,
            step=step,
            losses=tuple(self.losses),
            evals=tuple(self.evals),
            seconds=self._begin.seconds + time.monotonic() - self._clock,
            cpu_seconds=self._begin.cpu_seconds + time.process_time() - self._cpu,
            threads=self.job.threads,
        )

    def save(self, step: int) -> None:
        """All processes gather; the first one writes. Raises StorageFailed."""
        place, keeps = self.trainer.place, self.trainer.place.rank == 0
        whole = {name: tensor for name, tensor in place.full(self.trainer) if keeps}
        if keeps:
            if not all(tensor.isfinite().all() for tensor in whole.values()):
                raise self._failed("sum of the weights", step - 1)
            write(self.folder, Checkpoint(self.about(step), whole | random_state()))
        self._kept, self._saved = step, time.monotonic()

    def _failed(self, what: str, step: int) -> TrainingFailed:
        """What to say where something of the step after `step` steps is no number."""
        plan, kept = self.job.plan, self._kept
        rate = plan.rate * share(plan, step)
        held = f"what was learned in {kept:,} steps is kept in {self.folder}" if kept else "nothing was kept before it"
        more = "" if plan.dtype == "float32" else ", or --set dtype=float32"
        return TrainingFailed(
            f"The {what} of step {step + 1:,} of {plan.steps:,} is no number, at the rate {rate:.2g}; {held}.",
            f"Say a smaller rate, --set rate={plan.rate / 3:.1g}{more}: it goes on from there.",
        )

    def _look(self, step: int) -> None:
        """On held-out text."""
        trainer, plan = self.trainer, self.job.plan
        loss, rows, of = measure(
            trainer.model,
            self.held_out,
            trainer.place,
            context=plan.shape.context,
            most=sizes(plan)[step == plan.steps],
            batch=max(1, self.job.at_once // plan.shape.context),
            device=trainer.args.device,
        )
        trainer.place.settle(trainer)
        if rows and not math.isfinite(loss):
            raise self._failed("held-out loss", step - 1)
        if rows:
            per_byte = self.job.corpus.held_out_bytes / max(1, self.job.corpus.held_out_tokens)
            self.evals.append(Eval(step, loss, loss / math.log(2) / per_byte, rows, of))
            self._voice.held_out(self.evals[-1], rows, of)


class _Voice:
    """Says at every step how far it is; the words change TOLD times a training."""

    def __init__(self, tell: Tell, job: Training, begin: About) -> None:
        self._tell, self._plan, self._first = tell, job.plan, begin.step
        self._words = ""

    def step(self, done: int, losses: list[float], seconds: float) -> None:
        """After `done` steps in all; the ones of this process took `seconds`."""
        plan = self._plan
        each = max(1, plan.steps // TOLD)
        if not self._words or done % each == 0:
            recent, pace = losses[-each:], (done - self._first) / max(seconds, 1e-9)
            self._words = (
                f"train: loss {sum(recent) / len(recent):.3f} at step {done:,} of {plan.steps:,}, "
                f"{pace * plan.rows * plan.shape.context:,.0f} tokens/s, {(plan.steps - done) / pace / 60:.1f} min left"
            )
        self._tell(self._words, done / plan.steps)

    def held_out(self, found: Eval, rows: int, of: int) -> None:
        which = "all" if rows == of else f"{rows:,} of {of:,}"
        self._tell(
            f"held out: {found.loss:.3f} nats a token, {found.bits_per_byte:.3f} bits a byte "
            f"after step {found.step:,}, on {which} rows"
        )
