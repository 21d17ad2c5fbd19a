"""What tuning a decoder costs: CPU seconds to the same held-out loss, and non-padding ids a second.

    python benchmarks/tune_speed.py [--full]

    ours       the loop of freehold.tune.decoder: bfloat16, the prompts' shared prefix once a step, lengths alike
    trainer    transformers' Trainer + PEFT, bf16=True (autocast), dynamic padding; the same batch, rows, rate, adapter
    float32    the same Trainer as it comes, without bf16

One CPU thread each, one process after the other; loading and the held-out losses are off the clock. The loss to reach
is the Trainer's last one; our seconds to it are read off our own losses (on a line between two of them), in a run that
may take a quarter more steps, on the same rows. The rows are
calls of examples/extraction on SmolLM2-135M-Instruct: with the system prompt that was logged (311 ids that all calls
share), and with one of about 30, where little is shared. The short form runs the second alone, for a few steps.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

LOG = _run.ROOT / "examples" / "extraction" / "calls.jsonl.gz"
PEER = _run.PEERS / "hf_trainer_lora.py"
SYSTEM = 'Read what the person said and answer with JSON only: {"intent": "...", "slots": {"name": "value"}}'
BATCH, RANK, RATE = 8, 16, 2e-3
GOAL = 0.5
LONGER = 1.25  # our run may take so many times the steps: which rows come together decides a few hundredths of the loss
SIZES = {False: {"short prompt": (4, 16)}, True: {"short prompt": (16, 48), "logged prompt": (8, 48)}}


def rows(system: str | None, many: int) -> tuple[list[tuple[str, str]], str]:
    """Texts and answers of the log's first calls, and their system prompt (`system` instead, where given)."""
    with gzip.open(LOG, "rt", encoding="utf-8") as file:
        calls = [json.loads(line) for _, line in zip(range(many), file, strict=False)]
    said = [[m["content"] for m in call["request"]["messages"]] for call in calls]
    answers = [call["response"]["choices"][0]["message"]["content"] for call in calls]
    return [(texts[-1], a) for texts, a in zip(said, answers, strict=True)], system or said[0][0]


def job(folder: Path, prompt: str, steps: int, held: int) -> dict[str, Any]:
    from freehold.tune.decoder.data import encode
    from freehold.tune.decoder.tokens import Tokens

    tokens = Tokens.open(folder)
    pairs, system = rows(SYSTEM if prompt == "short prompt" else None, steps * BATCH + held)
    found = encode(
        tokens,
        lambda text: [{"role": "system", "content": system}, {"role": "user", "content": text}],
        [t for t, _ in pairs],
        [a for _, a in pairs],
        context=4096,
    )
    whole = [(row.rest, row.answer) for row in found.rows]
    return {
        "folder": str(folder), "prefix": found.prefix, "rows": whole[: steps * BATCH], "own": whole[steps * BATCH :],
        "steps": steps, "batch": BATCH, "rank": RANK, "rate": RATE, "pad": tokens.pad,
    }  # fmt: skip


def side(work: dict[str, Any], name: str, *, bf16: bool, **other: Any) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(work | {"side": "ours" if name == "ours" else "trainer", "bf16": bf16} | other, file)
        file.flush()
        said = _run.must(_run.child([sys.executable, PEER, file.name], env=ENV), name)
    found: dict[str, Any] = json.loads(said.out.splitlines()[-1])
    seen = found["points"][-1][0] * BATCH
    ids = seen * sum(len(work["prefix"]) + len(p) + len(a) for p, a in work["rows"]) / len(work["rows"])
    found["ids_a_second"] = round(ids / found["seconds"], 1)
    _run.say(
        f"  {name}: {found['seconds']:.0f} CPU s, {found['ids_a_second']} ids/s, loss {found['points'][-1][2]:.4f}"
    )
    return found


def seconds_to(points: list[list[float]], loss: float) -> float | None:
    """CPU seconds at which a run's held-out loss came down to `loss`; None where it never did."""
    before = [0.0, 0.0, float("inf")]
    for point in points:
        if point[2] <= loss:
            if before[2] == float("inf"):
                return point[1]
            share = (before[2] - loss) / (before[2] - point[2])
            return before[1] + share * (point[1] - before[1])
        before = point
    return None


def measured(folder: Path, prompt: str, steps: int, held: int) -> dict[str, Any]:
    _run.say(f"{prompt}, {steps} steps of {BATCH} rows")
    work = job(folder, prompt, steps, held)
    trainer = side(work, "trainer", bf16=True, marks=[steps])
    longer = round(LONGER * steps)
    ours = side(work, "ours", bf16=True, steps=longer, marks=list(range(max(1, steps // 2), longer + 1, 2)))
    plain = side(work, "float32", bf16=False, steps=2, marks=[2])
    target = trainer["points"][-1][2]
    took = seconds_to(ours["points"], target)
    return {
        "prefix": len(work["prefix"]), "steps": steps, "loss": round(target, 4), "ours": ours, "trainer": trainer,
        "float32": plain, "seconds_to_loss": None if took is None else round(took, 1),
        "ratio": None if took is None else round(took / trainer["seconds"], 3),
        "ids_times": round(ours["ids_a_second"] / trainer["ids_a_second"], 2),
        "ids_times_float32": round(ours["ids_a_second"] / plain["ids_a_second"], 2),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    full = parser.parse_args().full
    from freehold.engines.bases import find
    from freehold.engines.gguf.folder import hf_folder

    with tempfile.TemporaryDirectory() as aside:
        folder = hf_folder(find("smollm2").path, Path(aside) / "hf")
        found = {prompt: measured(folder, prompt, *size) for prompt, size in SIZES[full].items()}
    goals = [
        _run.goal(
            f"{prompt} ({said['prefix']} shared ids): CPU seconds to the Trainer's loss", f"<= {GOAL} x its own",
            said["ratio"], said["ratio"] is not None and said["ratio"] <= GOAL if full else None,
        )
        for prompt, said in found.items()
    ]  # fmt: skip
    names = (*_run.CORE, "torch", "transformers", "peft", "accelerate")
    return _run.emit(
        "tune_speed", full=full, n=sum(s["steps"] * BATCH for s in found.values()), goals=goals, result=found,
        versions=_run.versions(names), notes=["loading and held-out losses are off the clock; one CPU thread"],
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
