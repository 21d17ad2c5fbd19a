"""Megatron-LM: the ids as its dataset, the plan as its arguments, and the way back to a Hugging Face folder.

    to_megatron.py     corpus/*.npy → megatron/train.bin .idx ...     by megatron.core's own builder: the same ids
    pretrain.sh        pretrain_gpt.py with the plan's shape, rate, schedule and batch
    from_megatron.py   megatron/checkpoint → model/                   by NVIDIA's Megatron Bridge; not for experts

Its own loop: other rows in another order, so another curve. Degrees of parallelism are chosen here, with their reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from freehold.errors import BadSetting, TooLittleMemory
from freehold.launch.write.megatron_files import BACK, BRIDGE, HOME, NO_HOME, README, SHELL, THERE
from freehold.launch.write.where import Where, named

__all__ = ["Degrees", "arguments", "degrees", "files", "writes"]

WHOLE, ADAM = 6, 12  # bytes of a parameter: bfloat16 weight and float32 gradient; Adam's copy and means in float32
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}  # the one scaling of positions that Megatron-LM has  # fmt: skip
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
    shared = math.gcd(shape["kv_heads"], shape["inner"], shape["context"])  # ids too are shared, between the matrices
    tensors = [n for n in range(1, where.processes + 1) if where.processes % n == 0 and shared % n == 0]
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
    """(name, value) of pretrain_gpt.py; True stands alone. `job["model"]`: the config.json of the first weights.
    Raises BadSetting, TooLittleMemory."""
    plan, shape = job["plan"], job["plan"]["shape"]
    rope = _known(job["model"], trained_on=bool(job["start"]))
    how = degrees(shape, where)
    copies = where.all // (how.tensor * how.pipeline)
    if plan["rows"] % copies:
        more = -(-plan["rows"] // copies) * copies
        raise BadSetting(
            f"A step has {plan['rows']} rows, which {copies} copies of the model can't share evenly.",
            f"Say --set rows={more}.",
        )
    return [
        *_parallel(how), *_shape(shape), *_of_the_model(job["model"], rope),
        *(_experts(plan) if shape["experts"] else []), *_learning(plan),
        *_data(job, plan, -(-shape["vocabulary"] // how.tensor)), *_checkpoint(job),
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
        ("normalization", "RMSNorm"),
        ("swiglu", True),
        ("disable-bias-linear", True),
        *([] if shape["tied"] else [("untie-embeddings-and-output-weights", True)]),
        ("init-method-std", 0.02),
        ("attention-dropout", 0),
        ("hidden-dropout", 0),
    ]


def writes(kind: str, *, trained_on: bool) -> bool:
    """Of models of this `model_type`: Llama's shape, and Mixtral's from nothing, since Megatron Bridge reads no experts
    to train on."""
    return kind == "llama" or (kind == "mixtral" and not trained_on)


def _known(model: dict[str, Any], *, trained_on: bool) -> dict[str, Any]:
    """Its rotary positions. Raises BadSetting for a model that these arguments would make another one of."""
    rope = {"rope_type": "default", "rope_theta": model.get("rope_theta", 10_000)}
    rope |= model.get("rope_parameters") or model.get("rope_scaling") or {}
    llama3 = {name: rope.get(name) for name in LLAMA3} == LLAMA3
    kind = model["model_type"]
    other = "experts, which Megatron Bridge can't read" if kind == "mixtral" else f"its type {kind}"
    wrong = [
        *([] if writes(kind, trained_on=trained_on) else [other]),
        *(f"{name}: {model[name]}" for name in ("attention_bias", "mlp_bias", "sliding_window") if model.get(name)),
        *([f"hidden_act: {model['hidden_act']}"] if model.get("hidden_act", "silu") != "silu" else []),
        *([f"rope_type: {rope['rope_type']}"] if rope["rope_type"] != "default" and not llama3 else []),
    ]
    if wrong:
        raise BadSetting(f"The base can't be trained on by Megatron-LM: {', '.join(wrong)}.",
                         "Say --write torchrun, skypilot or ray: they take it as it is.")  # fmt: skip
    return rope


def _of_the_model(model: dict[str, Any], rope: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a shape does not say."""
    scaled = rope["rope_type"] != "default"
    return [
        ("rotary-base", int(rope["rope_theta"])),
        ("norm-epsilon", model["rms_norm_eps"]),
        *([("kv-channels", model["head_dim"])] if model.get("head_dim") else []),
        *([("use-rope-scaling", True), ("rope-scaling-factor", rope["factor"])] if scaled else []),
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


def _data(job: dict[str, Any], plan: dict[str, Any], share: int) -> list[tuple[str, Any]]:
    """`share`: of the vocabulary, on each card that shares a layer. A model may have more than its tokenizer."""
    rows = max(1, job["corpus"]["held_out_tokens"] // plan["shape"]["context"] // plan["rows"])
    return [
        ("train-data-path", "megatron/train"),
        ("valid-data-path", "megatron/held_out"),
        ("tokenizer-type", "HuggingFaceTokenizer"),
        ("tokenizer-model", "corpus/tokenizer"),
        ("make-vocab-size-divisible-by", share),
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
    start = job["start"].removeprefix("../") or "job/start"
    back = BACK.format(start=start, licence=where.licence, steps=job["plan"]["steps"])
    experts = bool(job["plan"]["shape"]["experts"])
    return {
        "to_megatron.py": THERE.format(
            vocabulary=job["corpus"]["vocabulary"], end=job["corpus"]["end"], start=start if job["start"] else ""
        ),
        "pretrain.sh": _shell(job, where),
        **({} if experts else {"from_megatron.py": back}),
        "README.md": README.format(
            name=named(job), all=where.all, machines=where.machines, environment=_environment(where),
            and_back="" if experts else " and from_megatron.py", were="was" if experts else "were",
            bridge="" if experts else BRIDGE, home=NO_HOME if experts else HOME,
        ),
    }  # fmt: skip


def _shell(job: dict[str, Any], where: Where) -> str:
    said = [f"--{name}" if value is True else f"--{name} {value}" for name, value in arguments(job, where)]
    alone = where.machines == 1
    return SHELL.format(
        machines=where.machines, processes=where.processes, environment=_environment(where),
        rank="0" if alone else '"${NODE_RANK:?the number of this machine, from 0}"',
        master="127.0.0.1" if alone else '"${MASTER:?the address of the first machine}"',
        why="\n".join(f"# {why}." for why in degrees(job["plan"]["shape"], where).why),
        arguments=" \\\n  ".join(said),
    )  # fmt: skip


def _environment(where: Where) -> str:
    return "" if where.machines == 1 else "MASTER=<address of the first> NODE_RANK=<0, 1, ...> "
