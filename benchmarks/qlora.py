"""QLoRA, on a card or a CPU: ids a second, and the peak of memory beside what fit foretells.

    python benchmarks/qlora.py [--full] [--device auto|cpu|cuda] [--base NAME|DIR]

    ours       the loop of freehold tune --bits 4: the prompts' shared prefix once a step, lengths alike
    trainer    transformers' Trainer + PEFT + bitsandbytes (peers/hf_trainer_qlora.py)

The same rows, batch, rank, rate, adapter and NF4, one process after the other; the steps alone are clocked: CPU seconds
of one thread, or seconds on the clock with the card's work done. An id counts where it is read, a shared prefix once a
row, padding never. Rows are calls of examples/extraction: with a system prompt of about 30 ids, and (--full, or a
card) with the one that was logged, 311 ids. fit foretells each side by its own settings: the Trainer keeps logits at
all positions, ours at answers. The line says which device it ran on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

import tune_speed  # noqa: E402

PEER = _run.PEERS / "hf_trainer_qlora.py"
STEPS = {("cpu", False): 3, ("cpu", True): 8, ("cuda", False): 30, ("cuda", True): 120}
HELD = 16
MEMORY = (0.5, 1.1)  # times what was foretold


def job(folder: Path, base: Any, prompt: str, steps: int, place: Any) -> dict[str, Any]:
    """What both sides do, and what fit foretells of each, in bytes."""
    from freehold.fit import PROGRAM, total, training
    from freehold.tune.decoder.base import shape_of
    from freehold.tune.decoder.memory import Lengths, needed, size

    work = tune_speed.job(folder, prompt, steps, HELD)
    rows, batch, shape = work["rows"], work["batch"], shape_of(base)
    step = Lengths(
        len(work["prefix"]), max(len(p) + len(a) for p, a in rows), max(len(a) for _, a in rows), batch
    )  # fmt: skip
    how: dict[str, Any] = {"card": place.card, "bits": 4, "kind": "bfloat16", "rank": work["rank"]}
    form = size(shape, step, have=place.free(), what=f"Tuning {base.name}", **how)
    theirs = training(
        shape, "qlora", tokens=batch * step.whole, longest=step.whole, answers=batch * step.whole, rank=work["rank"],
        width=2, fused=True, recompute=form.recompute,
    )  # fmt: skip
    off = PROGRAM if place.card else 0  # the allocator of a card does not hold the program
    foretold = {"ours": total(needed(shape, step, form, **how)) - off, "trainer": total(theirs) - off}
    said = {name: asdict(form)[name] for name in ("piece", "recompute")}
    return work | said | {"device": place.name, "foretold": foretold}


def side(work: dict[str, Any], name: str) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(work | {"side": name}, file)
        file.flush()
        said = _run.must(_run.child([sys.executable, PEER, file.name], env=ENV), name)
    found: dict[str, Any] = json.loads(said.out.splitlines()[-1])
    ids = sum(len(work["prefix"]) + len(p) + len(a) for p, a in work["rows"])
    foretold = work["foretold"][name] / 2**30
    losses = found.pop("losses")
    found |= {
        "seconds": round(found["seconds"], 2), "ids_a_second": round(ids / found["seconds"], 1),
        "first_loss": round(losses[0], 4), "held_out": round(found["held_out"], 4), "foretold_gib": round(foretold, 2),
        "peak_by_foretold": round(found["peak_gib"] / foretold, 2),
    }  # fmt: skip
    _run.say(f"  {name}: {found}")
    return found


def measured(folder: Path, base: Any, prompt: str, steps: int, place: Any) -> dict[str, Any]:
    work = job(folder, base, prompt, steps, place)
    form = f"pieces of {work['piece']:,} ids" + (", activations made twice" if work["recompute"] else "")
    _run.say(f"{prompt}, {steps} steps of {work['batch']} rows, {form}")
    trainer, ours = side(work, "trainer"), side(work, "ours")
    return {
        "prefix": len(work["prefix"]), "steps": steps, "piece": work["piece"], "recompute": work["recompute"],
        "ours": ours, "trainer": trainer, "ids_times": round(ours["ids_a_second"] / trainer["ids_a_second"], 2),
    }  # fmt: skip


def goals(found: dict[str, dict[str, Any]], full: bool) -> list[dict[str, Any]]:
    least, most = MEMORY
    made = []
    for prompt, said in found.items():
        times, share = said["ids_times"], said["ours"]["peak_by_foretold"]
        made += [
            _run.goal(f"{prompt}: ids a second beside the Trainer's", ">= 1", times, times >= 1 if full else None),
            _run.goal(f"{prompt}: peak / foretold", f"{least} to {most}", share, least <= share <= most),
        ]
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--base", default="smollm2")
    args = parser.parse_args()
    from freehold.engines.bases import find
    from freehold.engines.gguf.folder import hf_folder
    from freehold.tune.decoder.device import device

    place, base = device(args.device), find(args.base)
    _run.say(place.why)
    prompts = ["short prompt", "logged prompt"] if args.full or place.card else ["short prompt"]
    steps = STEPS[place.name, args.full]
    with tempfile.TemporaryDirectory() as aside:
        folder = base.path if base.form == "hf" else hf_folder(base.path, Path(aside) / "hf")
        found = {prompt: measured(folder, base, prompt, steps, place) for prompt in prompts}
    names = (*_run.CORE, "torch", "transformers", "peft", "accelerate", "bitsandbytes")
    return _run.emit(
        "qlora", full=args.full, n=sum(s["steps"] * tune_speed.BATCH for s in found.values()),
        goals=goals(found, args.full), result={"device": place.why, "base": base.name} | found,
        versions=_run.versions(names), notes=["the steps alone are clocked; one seed"],
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
