"""transformers' Trainer as the loop: the rows, the loss, the rate, and where a step begins are ours.

Trainer keeps: forward and backward in pieces, autocast, clipping, AdamW, the hooks of every launch target.
Ours:          batches that follow from the step's number; a loss that is the same in one piece and in many, in one
               process and in many; no saving (Trainer's is a pickle), no logging of its own, no count of operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from freehold.train.job import Training
from freehold.train.loop.checkpoint import Checkpoint
from freehold.train.loop.loss import IGNORED, summed, uneven
from freehold.train.loop.place import Place
from freehold.train.loop.rows import Rows, pieces
from freehold.train.loop.schedule import share

__all__ = ["Loop", "arguments"]


def arguments(job: Training, place: Place, folder: str) -> TrainingArguments:
    """Trainer's settings of a plan; most say that it must leave something to us."""
    plan = job.plan
    cpu = not torch.cuda.is_available()
    how: dict[str, Any] = {
        "output_dir": folder,
        "max_steps": plan.steps,
        "per_device_train_batch_size": 1,  # our batches are made already; Trainer only counts with it
        "gradient_accumulation_steps": len(_pieces(job, place, place.share)),
        "learning_rate": plan.rate,
        "weight_decay": plan.decay,
        "adam_beta1": plan.betas[0],
        "adam_beta2": plan.betas[1],
        "max_grad_norm": plan.clip if plan.clip > 0 else math.inf,
        "optim": "adamw_torch_fused",
        "bf16": plan.dtype == "bfloat16",
        "seed": plan.seed,
        "use_cpu": cpu,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": not cpu,
        "save_strategy": "no",
        "logging_strategy": "no",
        "eval_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
    }
    made = TrainingArguments(**how | place.arguments())
    made._n_gpu = min(1, made.n_gpu)  # of several cards one process takes one: else Trainer cuts our batches over all
    return made


def _pieces(job: Training, place: Place, share: int) -> list[range]:
    plan = job.plan
    return pieces(plan.rows, share, place.shares, job.at_once // plan.shape.context)


class Batches:
    """One piece of a step after another, from step `first` on. Without a length: Trainer then counts steps alone."""

    def __init__(self, rows: Rows, job: Training, place: Place, first: int) -> None:
        self._rows, self._first, self._steps = rows, first, job.plan.steps
        self._pieces = _pieces(job, place, place.share)
        others = [_pieces(job, place, share) for share in range(place.shares)]
        self._of_all = [sum(map(len, at_once)) for at_once in zip(*others, strict=True)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for step in range(self._first, self._steps):
            of = self._rows.of(step)
            for piece, of_all in zip(self._pieces, self._of_all, strict=True):
                rows = torch.from_numpy(of[piece.start : piece.stop] if len(piece) else of[:1])
                wanted = rows[:, 1:] if len(piece) else torch.full_like(rows[:, 1:], IGNORED)
                yield {
                    "input_ids": rows[:, :-1].contiguous(),
                    "wanted": wanted.contiguous(),
                    "rows": len(piece),
                    "rows_of_all": of_all,
                }


class Loop(Trainer):  # type: ignore[misc]
    """`nats` are the summed ones of the step so far, on this process; `norm` the last step's gradient norm."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the ids of the whole step

    def __init__(
        self,
        model: Any,
        job: Training,
        place: Place,
        rows: Rows,
        begin: Checkpoint,
        watch: TrainerCallback,
        folder: str,
    ) -> None:
        self.job, self.place, self.begin = job, place, begin
        self.experts = bool(job.plan.shape.experts)
        self.nats: Any = 0.0
        self.norm = 0.0
        self._batches = Batches(rows, job, place, begin.about.step)
        super().__init__(model=model, args=arguments(job, place, folder), callbacks=[watch])
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> Any:
        return self._batches

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        return [
            name
            for name, parameter in model.named_parameters()
            if len(getattr(parameter, "ds_shape", parameter.shape)) >= 2  # DeepSpeed's shares are flat
        ]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            first, plan = self.begin.about.step, self.job.plan
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                lambda step: share(plan, min(first + step, plan.steps - 1)),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        where: tuple[int, int] = super()._init_training_state(*args, **kwargs)
        self.state.global_step = self.begin.about.step
        return where

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)  # type: ignore[no-untyped-call]
        if self.begin.tensors:
            self.place.put(self, self.begin.tensors, self.begin.about.step)
        return prepared

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        plan = self.job.plan
        nats, logits = summed(model, inputs["input_ids"], inputs["wanted"], experts=self.experts)
        self.nats = self.nats + nats.detach()
        mean = nats / (plan.rows * plan.shape.context)
        if self.experts and plan.balance:
            part = uneven(logits, plan.shape.chosen, bool(inputs["rows"]), self.place.add_up)
            mean = mean + plan.balance * part * (inputs["rows_of_all"] / plan.rows)
        return mean * self.place.shares  # gradients are averaged over the shares

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        self.norm = 0.0 if norm is None else float(norm)
        return norm
