"""The peer of qlora.py: transformers' Trainer on PEFT's LoRA over bitsandbytes' NF4, and our loop beside it.

    python hf_trainer_qlora.py JOB.json      -> one JSON line: seconds, losses, held_out, peak_gib

JOB: {"side": "ours" | "trainer", "device": "cpu" | "cuda", "folder", "prefix", "rows": [[prompt ids, answer ids]],
"own", "steps", "batch", "rank", "rate", "pad", "piece", "recompute"}. Same rows, batch, rank, rate, optimiser, NF4 with
double quantisation computed in bfloat16, the same drawn adapter; the Trainer pads a batch to its longest row.
`seconds` are those of the steps alone: of the CPU, or on the clock with the card's work done. `peak_gib` is the
process's on a CPU; on a card what torch's allocator held.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

from freehold.tune.decoder.checkpoint import Checkpoint  # noqa: E402
from freehold.tune.decoder.data import Example, Examples  # noqa: E402
from freehold.tune.decoder.device import Device, device  # noqa: E402
from freehold.tune.decoder.model import attach, forget_activations, load  # noqa: E402
from freehold.tune.decoder.plan import WARM, Plan  # noqa: E402
from freehold.tune.decoder.train import held_out_loss, train  # noqa: E402

Side = tuple[Any, float, list[float]]  # the model, seconds, losses


def ours(job: dict[str, Any], learn: Examples, place: Device) -> Side:
    """The loop of freehold tune --bits 4."""
    if job["recompute"]:
        learn = learn.whole()
    bare = load(Path(job["folder"]), "bfloat16", bits=4, longest=learn.longest, device=place)
    model = attach(bare, rank=job["rank"], alpha=2 * job["rank"], seed=0)
    if job["recompute"]:
        forget_activations(model)
    plan = Plan(
        "bfloat16", 4, job["rank"], 2 * job["rank"], job["rate"], job["batch"], len(learn.rows), 1, job["steps"], (),
        device=place.name, piece=job["piece"], recompute=job["recompute"],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        done = train(
            model, learn, Checkpoint("", plan, 0, [], 0.0, {}), Path(work), pad=job["pad"], seed=0,
            tell=lambda what, share=None: None, device=place,
        )  # fmt: skip
    return model, done.seconds, done.losses


def trainer(job: dict[str, Any], learn: Examples, place: Device) -> Side:
    """As the guides of transformers and PEFT show it."""
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Trainer, TrainingArguments

    four = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    bare = AutoModelForCausalLM.from_pretrained(
        job["folder"], dtype=torch.bfloat16, quantization_config=four, device_map={"": place.name}
    )
    bare = prepare_model_for_kbit_training(bare, use_gradient_checkpointing=job["recompute"])
    bare.config.use_cache = False
    model = attach(bare, rank=job["rank"], alpha=2 * job["rank"], seed=0)
    rows = [
        {"input_ids": [*learn.prefix, *r.rest, *r.answer],
         "labels": [-100] * (len(learn.prefix) + len(r.rest)) + [*r.answer]}
        for r in learn.rows
    ]  # fmt: skip

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, Any]:
        longest = max(len(r["input_ids"]) for r in batch)
        fill = {"input_ids": job["pad"], "labels": -100}
        whole = {n: torch.tensor([r[n] + [v] * (longest - len(r[n])) for r in batch]) for n, v in fill.items()}
        seen = [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in batch]
        return whole | {"attention_mask": torch.tensor(seen)}

    with tempfile.TemporaryDirectory() as work:
        arguments = TrainingArguments(
            work, per_device_train_batch_size=job["batch"], max_steps=job["steps"], learning_rate=job["rate"],
            lr_scheduler_type="linear", warmup_steps=max(1, round(WARM * job["steps"])), weight_decay=0.0,
            max_grad_norm=1.0, bf16=True, use_cpu=not place.card, save_strategy="no", report_to=[], seed=0,
            gradient_checkpointing=job["recompute"], disable_tqdm=True, logging_steps=1, remove_unused_columns=False,
        )  # fmt: skip
        learner = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
        from transformers import PrinterCallback

        learner.remove_callback(PrinterCallback)
        start = place.clock()
        learner.train()
        seconds = place.clock() - start
    return model, seconds, [row["loss"] for row in learner.state.log_history if "loss" in row]


def peak_gib(place: Device) -> float:
    if place.card:
        import torch

        return torch.cuda.max_memory_reserved() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_bytes())
    sides = [tuple(Example(tuple(p), tuple(a)) for p, a in job[name]) for name in ("rows", "own")]
    learn, own = (Examples(tuple(job["prefix"]), rows, tuple(range(len(rows))), {}) for rows in sides)
    place = device(job["device"])
    with place.still(0):
        place.loosen("speed is measured" if place.card else "")
        model, seconds, losses = (ours if job["side"] == "ours" else trainer)(job, learn, place)
        peak = peak_gib(place)
        held = held_out_loss(model, own.whole() if job["recompute"] else own, job["pad"])
    print(json.dumps({"seconds": seconds, "losses": losses, "held_out": held, "peak_gib": round(peak, 2)}))


if __name__ == "__main__":
    main()
