"""Megatron-LM: the ids as its dataset, the plan as its arguments, and the way back to a Hugging Face folder.

    to_megatron.py     corpus/*.npy → megatron/train.bin .idx ...     by megatron.core's own builder: the same ids
    pretrain.sh        pretrain_gpt.py with the plan's shape, rate, schedule and batch
    from_megatron.py   megatron/checkpoint → model/                   by NVIDIA's Megatron Bridge

Its own loop: other rows in another order, so another curve. Degrees of parallelism are chosen here, with their reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from freehold.errors import BadSetting, TooLittleMemory
from freehold.launch.write.megatron_files import BACK, README, SHELL, THERE
from freehold.launch.write.where import Where, named

__all__ = ["Degrees", "arguments", "degrees", "files"]

WHOLE, ADAM = 6, 12  # bytes of a parameter: bfloat16 weight and float32 gradient; Adam's copy and means in float32
ROOM = 0.6  # of a card, for those; the rest is for what a step leaves behind


class Degrees(NamedTuple):
    """Cards that share a layer (`tensor`), a row of layers (`pipeline`), the experts (`expert`); `why` of each."""

    tensor: int
    pipeline: int
    expert: int
    why: tuple[str, ...]


def degrees(shape: dict[str, Any], where: Where) -> Degrees:
    """As little as lets weights, gradients and Adam's means fit, since what is divided has to be sent: the cards of a
    machine first, then rows of layers. Experts are shared by as many as divide them. Raises TooLittleMemory."""
    room = ROOM * where.memory
    ways = list(_ways(shape, where))
    found = next((way for way in ways if _held(shape, where, *way) <= room), None)
    if found is None:
        least = min(_held(shape, where, *way) for way in ways)
        raise TooLittleMemory(
            f"{parameters(shape) / 1e9:.3g} billion parameters take {least / 1e9:.3g} GB on each of {where.all} cards, "
            f"and {room / 1e9:.3g} GB are there for them.",
            "Say more --machines, or more --processes on each.",
        )
    said = f"{_held(shape, where, *found) / 1e9:.3g} GB a card of weights, gradients and means"
    tensor, pipeline, expert = found
    return Degrees(tensor, pipeline, expert, (
        f"Cards that share a layer: {tensor}; rows of layers: {pipeline}. {said}; room for them: {room / 1e9:.3g} GB",
        *([f"Cards that share the {shape['experts']} experts: {expert}"] if shape["experts"] else []),
    ))  # fmt: skip


def _ways(shape: dict[str, Any], where: Where) -> Iterator[tuple[int, int, int]]:
    tensors = [n for n in range(1, where.processes + 1) if where.processes % n == 0 and shape["kv_heads"] % n == 0]
    for pipeline in range(1, where.all + 1):
        for tensor in tensors:
            if where.all % (tensor * pipeline) == 0 and shape["layers"] % pipeline == 0:
                yield tensor, pipeline, math.gcd(shape["experts"], where.all // pipeline) if shape["experts"] else 1


def _held(shape: dict[str, Any], where: Where, tensor: int, pipeline: int, expert: int) -> float:
    """Bytes on each card. Adam's are shared by the copies of a weight too (the distributed optimizer)."""
    experts: int = shape["layers"] * shape["experts"] * 3 * shape["width"] * shape["inner"]
    parts = ((parameters(shape) - experts, tensor), (experts, expert))
    return sum(n / (by * pipeline) * (WHOLE + ADAM / (where.all / (by * pipeline))) for n, by in parts)


def parameters(shape: dict[str, Any]) -> int:
    """Matrices; norms are left out."""
    width, experts = shape["width"], max(1, shape["experts"])
    attention = 2 * width * width * (1 + shape["kv_heads"] / shape["heads"])
    mlp = experts * 3 * width * shape["inner"] + (width * experts if shape["experts"] else 0)
    ends = shape["vocabulary"] * width * (1 if shape["tied"] else 2)
    return int(shape["layers"] * (attention + mlp) + ends)


def arguments(job: dict[str, Any], where: Where) -> list[tuple[str, Any]]:
    """(name, value) of pretrain_gpt.py; True stands alone. Raises BadSetting, TooLittleMemory."""
    plan, shape = job["plan"], job["plan"]["shape"]
    how = degrees(shape, where)
    copies = where.all // (how.tensor * how.pipeline)
    if plan["rows"] % copies:
        more = -(-plan["rows"] // copies) * copies
        raise BadSetting(
            f"A step has {plan['rows']} rows, which {copies} copies of the model can't share evenly.",
            f"Say --set rows={more}.",
        )
    return [
        *_parallel(how), *_shape(shape), *(_experts(plan) if shape["experts"] else []), *_learning(plan),
        *_data(job, plan), *_checkpoint(job),
    ]  # fmt: skip


def _parallel(how: Degrees) -> list[tuple[str, Any]]:
    return [
        ("tensor-model-parallel-size", how.tensor),
        ("pipeline-model-parallel-size", how.pipeline),
        *([("sequence-parallel", True)] if how.tensor > 1 else []),
        ("use-distributed-optimizer", True),
        *([("expert-model-parallel-size", how.expert)] if how.expert > 1 else []),
        *([("expert-tensor-parallel-size", 1)] if how.expert > 1 else []),
    ]


def _shape(shape: dict[str, Any]) -> list[tuple[str, Any]]:
    """Llama's."""
    return [
        ("num-layers", shape["layers"]),
        ("hidden-size", shape["width"]),
        ("ffn-hidden-size", shape["inner"]),
        ("num-attention-heads", shape["heads"]),
        ("group-query-attention", True),
        ("num-query-groups", shape["kv_heads"]),
        ("seq-length", shape["context"]),
        ("max-position-embeddings", shape["context"]),
        ("position-embedding-type", "rope"),
        ("rotary-base", 10_000),
        ("normalization", "RMSNorm"),
        ("norm-epsilon", "1e-5"),
        ("swiglu", True),
        ("disable-bias-linear", True),
        *([] if shape["tied"] else [("untie-embeddings-and-output-weights", True)]),
        ("init-method-std", 0.02),
        ("attention-dropout", 0),
        ("hidden-dropout", 0),
    ]


def _experts(plan: dict[str, Any]) -> list[tuple[str, Any]]:
    """Mixtral's. transformers' balancing loss counts every choice and is the mean over the layers; Megatron's counts a
    token once and is the sum over them: the weight is turned into its own."""
    shape = plan["shape"]
    return [
        ("num-experts", shape["experts"]),
        ("moe-router-topk", shape["chosen"]),
        ("moe-router-load-balancing-type", "aux_loss"),
        ("moe-aux-loss-coeff", f"{plan['balance'] * shape['chosen'] / shape['layers']:.6g}"),
        ("moe-token-dispatcher-type", "alltoall"),
    ]


def _learning(plan: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("micro-batch-size", 1),
        ("global-batch-size", plan["rows"]),
        ("train-iters", plan["steps"]),
        ("lr", plan["rate"]),
        ("min-lr", f"{plan['rate'] * (1 if plan['schedule'] == 'constant' else plan['least']):.6g}"),
        ("lr-decay-style", plan["schedule"]),
        ("lr-decay-iters", plan["steps"]),
        ("lr-warmup-iters", min(plan["warm"], plan["steps"] - 1)),
        ("weight-decay", plan["decay"]),
        ("adam-beta1", plan["betas"][0]),
        ("adam-beta2", plan["betas"][1]),
        ("adam-eps", "1e-8"),
        ("clip-grad", plan["clip"]),
        *([("bf16", True)] if plan["dtype"] == "bfloat16" else []),
        ("seed", plan["seed"] + 1),  # it wants one above 0
    ]


def _data(job: dict[str, Any], plan: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = max(1, job["corpus"]["held_out_tokens"] // plan["shape"]["context"] // plan["rows"])
    return [
        ("train-data-path", "megatron/train"),
        ("valid-data-path", "megatron/held_out"),
        ("tokenizer-type", "HuggingFaceTokenizer"),
        ("tokenizer-model", "corpus/tokenizer"),
        ("make-vocab-size-divisible-by", 1),
        ("data-cache-path", "megatron/cache"),
        ("eval-interval", max(1, plan["steps"] // max(1, plan["evals"]))),
        ("eval-iters", min(100, rows)),
        ("log-interval", 10),
    ]


def _checkpoint(job: dict[str, Any]) -> list[tuple[str, Any]]:
    steps = job["plan"]["steps"]
    begun = [("pretrained-checkpoint", "megatron/start")] if job["start"] else []
    return [
        ("save", "megatron/checkpoint"),
        ("load", "megatron/checkpoint"),
        *begun,
        ("save-interval", max(1, steps // 10)),
        ("ckpt-format", "torch_dist"),
    ]


def files(job: dict[str, Any], where: Where) -> dict[str, str]:
    said = [f"--{name}" if value is True else f"--{name} {value}" for name, value in arguments(job, where)]
    how = degrees(job["plan"]["shape"], where)
    name = named(job)
    shell = SHELL.format(machines=where.machines, processes=where.processes, name=name,
                         why="\n".join(f"# {why}." for why in how.why), arguments=" \\\n  ".join(said))  # fmt: skip
    start = job["start"].removeprefix("../") or "job/start"
    return {
        "to_megatron.py": THERE.format(
            vocabulary=job["corpus"]["vocabulary"], end=job["corpus"]["end"], start=start if job["start"] else ""
        ),
        "pretrain.sh": shell,
        "from_megatron.py": BACK.format(start=start, licence=where.licence, steps=job["plan"]["steps"]),
        "README.md": README.format(name=name, all=where.all, machines=where.machines),
    }
