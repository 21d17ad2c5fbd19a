"""The embedded engine on this machine: calibrated as `doctor` does, then predicted at other sizes, and measured.

One thread, in tokens a CPU second of the engine's process, which a busy machine doesn't spoil; the rounds of the
calibration and of the targets take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freehold.engines.llama.completion import Request
from freehold.engines.llama.engine import Engine
from freehold.fit import Architecture
from freehold.nouns import Measure
from freehold.nouns.machine import EngineSpeed, Machine
from freehold.plan.speed import step
from freehold.plan.speed.calibrate import calibration
from freehold.plan.speed.machine import row

Row = dict[str, Any]
READS = (64, 128, 256, 1024)  # tokens of a question
WRITES = (256, 768)  # tokens before an answer
STREAMS = (4, 2, 8)  # the first is what the calibration is told
ANSWER = 48
TEXT = "The committee met on Tuesday to discuss the budget for the new library, and the members asked about costs. "


class Timed:
    """An engine whose answers are timed by its own CPU seconds."""

    def __init__(self, model: Path, slots: int) -> None:
        self.engine = Engine.start(model, context=1280, slots=slots, threads=1)
        self.all_ids = self.engine.tokenize(TEXT) * 80
        self.vocabulary, self.asked = sorted(set(self.all_ids)), 0

    def seconds(self, prompts: Sequence[int], answer: int) -> tuple[float, int]:
        """CPU seconds for one answer a prompt, and the tokens written in all."""
        asked = [Request(prompt_ids=self._fresh(n), max_tokens=answer, logprobs=None) for n in prompts]
        start = self.engine.cpu_seconds()
        found = self.engine.complete_all(asked)
        return self.engine.cpu_seconds() - start, sum(len(one.tokens) for one in found)

    def _fresh(self, n: int) -> list[int]:
        """A question that begins like no other: nothing of an earlier one may be kept."""
        self.asked += 1
        words, number = self.vocabulary, self.asked
        return [words[number % len(words)], words[number // len(words) % len(words)], *self.all_ids[: n - 2]]

    def reads(self, prompt: int) -> float:
        times = max(1, 512 // prompt)
        return times * prompt / sum(self.seconds([prompt], 1)[0] for _ in range(times))

    def writes(self, prompt: int, streams: int = 1) -> float:
        first = self.seconds([prompt] * streams, 1)[0]
        took, tokens = self.seconds([prompt] * streams, ANSWER)
        return (tokens - streams) / max(took - first, 1e-3)


def here(full: bool) -> Row:
    from freehold.engines import bases
    from freehold.engines.gguf.read import check

    base = bases.find("smollm2")
    file = check(base.path)
    one, rounds = Timed(base.path, 1), 3 if full else 2
    many = {n: Timed(base.path, n) for n in STREAMS}
    known: dict[str, list[float]] = {"read": [], "write": [], "many": []}
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        known["read"].append(one.reads(512))
        known["write"].append(one.writes(16))
        for n in READS:
            seen.setdefault(f"reads {n}", []).append(one.reads(n))
        for n in WRITES:
            seen.setdefault(f"writes after {n}", []).append(one.writes(n))
        known["many"].append(many[STREAMS[0]].writes(16, STREAMS[0]))
        for n, timed in many.items():
            seen.setdefault(f"writes, {n} streams", []).append(timed.writes(64, n))
    for timed in (one, *many.values()):
        timed.engine.close()
    read, write, four = (statistics.median(rates) for rates in known.values())
    size = sum(tensor.bytes for tensor in file.tensors.values())
    a = shape(file)
    parameters = sum(_product(tensor.shape) for tensor in file.tensors.values())
    engine = EngineSpeed(
        base.name, base.sha256, file.quantisation, parameters, size, 1, 512, Measure(read), Measure(write),
        STREAMS[0], Measure(four), flops=2 * parameters * read, bandwidth=size * write,
    )  # fmt: skip
    machine = row(Machine("", "", 1, 1, 1, 1, "", "", engine=engine))
    assert machine is not None
    by, form = calibration(machine, "Q4_1"), "Q4_1"
    rows = {}
    for name, rates in seen.items():
        n = int("".join(c for c in name if c.isdigit()))
        if name.startswith("reads"):
            guess = n / step(a, machine, form, gpus=1, streams=0, context=n, prefill_tokens=n, by=by).seconds
        else:
            streams, context = (n, 64 + ANSWER // 2) if "streams" in name else (1, n + ANSWER // 2)
            guess = streams / step(a, machine, form, gpus=1, streams=streams, context=context, by=by).seconds
        rows[name] = {"measured": round(statistics.median(rates), 1), "predicted": round(guess, 1),
                      "error": round(guess / statistics.median(rates) - 1, 3)}  # fmt: skip
    errors = [abs(row["error"]) for row in rows.values()]
    inside = [by.low <= row["measured"] / row["predicted"] <= by.high for row in rows.values()]
    return {"median_error": round(statistics.median(errors), 4), "covered": sum(inside) / len(inside),
            "read": round(read, 1), "write": round(write, 1), "four": round(four, 1), "rows": rows}  # fmt: skip


def shape(file: Any) -> Architecture:
    heads, hidden = file.hyper("attention.head_count"), file.hyper("embedding_length")
    return Architecture.of({
        "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": file.hyper("block_count"),
        "num_attention_heads": heads, "num_key_value_heads": file.hyper("attention.head_count_kv"),
        "intermediate_size": file.hyper("feed_forward_length"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "vocab_size": file.tensors["token_embd.weight"].shape[1], "max_position_embeddings": 8192,
    })  # fmt: skip


def _product(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
