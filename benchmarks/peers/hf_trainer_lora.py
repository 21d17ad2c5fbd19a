"""The peer of tune_speed.py: transformers' Trainer on PEFT's LoRA, as their guides show it, and our loop beside it.

    python hf_trainer_lora.py JOB.json      -> one JSON line: points [[step, CPU seconds, held-out loss]], ids, seconds

JOB: {"side": "ours" | "trainer", "bf16": bool, "folder", "rows": [[prompt ids, answer ids]], "own": [...], "steps",
"marks": [steps at which the held-out loss is taken, off the clock], "batch", "rank", "rate", "pad"}. Both learn the
same rows, in steps of as many, from the same drawn adapter, at the same rate. The Trainer pads a batch to its longest
row.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

from freehold.tune.decoder.checkpoint import Checkpoint  # noqa: E402
from freehold.tune.decoder.data import Example, Examples  # noqa: E402
from freehold.tune.decoder.model import attach, load  # noqa: E402
from freehold.tune.decoder.plan import WARM, Plan  # noqa: E402
from freehold.tune.decoder.train import held_out_loss, train  # noqa: E402
from freehold.tune.repeat import repeatable  # noqa: E402


class Clock:
    """CPU seconds of training alone: evaluations are taken off it."""

    def __init__(self, model: Any, own: Examples, marks: list[int], pad: int) -> None:
        self.model, self.own, self.marks, self.pad = model, own, set(marks), pad
        self.points: list[list[float]] = []
        self.start, self.off = time.process_time(), 0.0

    def now(self) -> float:
        return time.process_time() - self.start - self.off

    def step(self, number: int) -> None:
        if number in self.marks:
            at, before = self.now(), time.process_time()
            self.points.append([number, at, held_out_loss(self.model, self.own, self.pad)])
            self.off += time.process_time() - before


def ours(job: dict[str, Any], learn: Examples, own: Examples) -> Clock:
    kind = "bfloat16" if job["bf16"] else "float32"
    model = attach(
        load(Path(job["folder"]), kind, longest=learn.longest), rank=job["rank"], alpha=2 * job["rank"], seed=0
    )
    steps, batch = job["steps"], job["batch"]
    rows = len(learn.rows) // batch * batch
    plan = Plan(kind, 16, job["rank"], 2 * job["rank"], job["rate"], batch, rows, -(-steps * batch // rows), steps, ())
    clock = Clock(model, own, job["marks"], job["pad"])
    done = 0

    def tell(what: str, share: float | None = None, /) -> None:
        nonlocal done
        done += 1  # it speaks once a step
        clock.step(done)

    with tempfile.TemporaryDirectory() as work:
        train(model, learn, Checkpoint("", plan, 0, [], 0.0, {}), Path(work), pad=job["pad"], seed=0, tell=tell)
    return clock


def trainer(job: dict[str, Any], learn: Examples, own: Examples) -> Clock:
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    bare = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    model = attach(bare, rank=job["rank"], alpha=2 * job["rank"], seed=0)
    clock = Clock(model, own, job["marks"], job["pad"])
    rows = [
        {"input_ids": [*learn.prefix, *r.rest, *r.answer],
         "labels": [-100] * (len(learn.prefix) + len(r.rest)) + [*r.answer]}
        for r in learn.rows
    ]  # fmt: skip

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, Any]:
        longest = max(len(r["input_ids"]) for r in batch)
        fill = {"input_ids": job["pad"], "labels": -100}
        whole = {n: torch.tensor([r[n] + [v] * (longest - len(r[n])) for r in batch]) for n, v in fill.items()}
        whole["attention_mask"] = torch.tensor(
            [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in batch]
        )
        return whole

    class Marks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.step(state.global_step)

    with tempfile.TemporaryDirectory() as work:
        arguments = TrainingArguments(
            work, per_device_train_batch_size=job["batch"], max_steps=job["steps"], learning_rate=job["rate"],
            lr_scheduler_type="linear", warmup_steps=max(1, round(WARM * job["steps"])), weight_decay=0.0,
            max_grad_norm=1.0, bf16=job["bf16"], use_cpu=True, save_strategy="no", report_to=[], seed=0,
            disable_tqdm=True, logging_strategy="no", remove_unused_columns=False,
        )  # fmt: skip
        clock.start = time.process_time()
        Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Marks()]).train()
    return clock


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_bytes())
    sides = [tuple(Example(tuple(p), tuple(a)) for p, a in job[name]) for name in ("rows", "own")]
    learn, own = (Examples(tuple(job["prefix"]), rows, tuple(range(len(rows))), {}) for rows in sides)
    with repeatable(0):
        clock = (ours if job["side"] == "ours" else trainer)(job, learn, own)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"points": clock.points, "seconds": clock.points[-1][1], "peak_gib": round(peak, 2)}))


if __name__ == "__main__":
    main()
