"""Train a tagger: every layer of the encoder, and its heads, on the probability of the whole answer. torch is here.

    loss of a row = - log p(tags of its words) - log p(its labels)       AdamW, rate up, then down to 0

Rows of like length meet in a batch (little padding), the words that occur get a small table of their own, one thread, a
seed: the same rows give the same weights on the same kind of machine. bf16 where a step is measurably faster in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.extract.form import Form
from freehold.engines.extract.read import SHAPES, Read
from freehold.errors import MissingExtra, TrainingFailed
from freehold.tell import Tell
from freehold.tune.extract.net import Batch, hidden
from freehold.tune.extract.plan import BATCH, BATCH_TOKENS, CLIP, DECAY, DROP, HEAD, WARM, Plan
from freehold.tune.extract.start import Start
from freehold.tune.extract.understand import Row
from freehold.tune.repeat import repeatable

__all__ = ["Example", "Trained", "examples_of", "hidden_of", "train"]

Floats = npt.NDArray[np.float32]
CHUNK = 32  # batches that are sorted by length together


@dataclass(frozen=True, slots=True)
class Example:
    """A row as numbers: `tags` per layer and word, `labels` per label."""

    read: Read
    tags: tuple[list[int], ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """`weights` as net.py names them, `heads` as student.safetensors does; `losses`: the mean of each epoch."""

    weights: dict[str, Floats]
    heads: dict[str, Floats]
    losses: list[float] = field(default_factory=list)


def examples_of(form: Form, reads: Sequence[Read], rows: Sequence[Row]) -> list[Example]:
    of = {f: (k, n) for k in range(form.layers) for n, f in enumerate(form.layer(k))}
    found = []
    for read, row in zip(reads, rows, strict=True):
        tags = tuple([0] * len(read.first) for _ in range(form.layers))
        for f, a, b in row.spans:
            layer, n = of[f]
            tags[layer][a:b] = [2 * n + 1] + [2 * n + 2] * (b - a - 1)
        found.append(Example(read, tags, row.labels))
    return found


def train(
    start: Start, form: Form, examples: Sequence[Example], plan: Plan, *, bf16: bool, seed: int, tell: Tell
) -> Trained:
    """Raises MissingExtra, TrainingFailed."""
    torch = _torch()
    with repeatable(seed):
        seen = sorted({0, *(i for e in examples for i in e.read.ids)})
        small = np.zeros(len(start.weights["words"]), np.int64)
        small[seen] = np.arange(len(seen))
        named = _with_shapes(start.weights) | {"words": start.weights["words"][seen]}
        weights = {name: torch.from_numpy(w.copy()).requires_grad_() for name, w in named.items()}
        heads = _heads(form, start.width, seed)
        optimiser = _optimiser(weights, heads, plan)
        rng = np.random.default_rng(seed)
        steps, losses, step = plan.epochs * len(_batches(examples, rng)), [], 0
        rng = np.random.default_rng(seed)
        for _ in range(plan.epochs):
            total = 0.0
            for rows in _batches(examples, rng):
                some = [examples[i] for i in rows]
                for group, rate in zip(optimiser.param_groups, (plan.rate, plan.rate, HEAD * plan.rate), strict=True):
                    group["lr"] = rate * _share(step, steps)
                loss = _loss(weights, heads, start, form, _batch(some, small), some, bf16)
                total += _finite(float(loss.detach()), step)
                loss.backward()
                torch.nn.utils.clip_grad_norm_([*weights.values(), *heads.values()], CLIP)
                optimiser.step()
                optimiser.zero_grad()
                step += 1
                tell(f"train the tagger, {plan.epochs} epochs", step / max(steps, step))
            losses.append(total / max(1, len(_batches(examples, np.random.default_rng(0)))))
        whole = {name: w.detach().numpy() for name, w in weights.items()}
        words = start.weights["words"].copy()
        words[seen] = whole["words"]
        return Trained(whole | {"words": words}, {name: h.detach().numpy() for name, h in heads.items()}, losses)


def hidden_of(start: Start, trained: Trained, reads: Sequence[Read]) -> Iterator[tuple[Read, Floats]]:
    """torch's float32 hidden states [tokens, dim] of each text, one by one: what the exported graph is held against."""
    torch = _torch()
    with repeatable(0), torch.no_grad():
        weights = {name: torch.from_numpy(w) for name, w in trained.weights.items()}
        for read in reads:
            batch = _batch([Example(read, (), ())], None)
            yield read, hidden(weights, start.shape, batch, dtype=torch.float32, drop=0.0)[0].numpy()


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("Training a tagger needs the package torch.", "pip install 'freehold[tune]'") from error
    return torch


def _with_shapes(weights: dict[str, Floats]) -> dict[str, Floats]:
    """A word's writing starts without a say."""
    return weights | {"shapes": np.zeros((SHAPES, weights["words"].shape[1]), np.float32)}


def _heads(form: Form, width: int, seed: int) -> dict[str, Any]:
    torch = _torch()
    rng = np.random.default_rng(seed)
    sizes = {f"tags.{k}": (1 + 2 * len(form.layer(k)), width) for k in range(form.layers)}
    sizes |= {f"labels.{k}": (len(label.values), 2 * width) for k, label in enumerate(form.labels)}
    heads = {}
    for name, size in sizes.items():
        heads[f"{name}.w"] = torch.from_numpy(rng.normal(0, 0.02, size).astype(np.float32)).requires_grad_()
        heads[f"{name}.b"] = torch.zeros(size[0]).requires_grad_()
    return heads


def _optimiser(weights: dict[str, Any], heads: dict[str, Any], plan: Plan) -> Any:
    torch = _torch()
    tables = ("words", "places", "shapes")
    maps = [w for name, w in weights.items() if w.ndim == 2 and name not in tables]
    rest = [w for name, w in weights.items() if w.ndim == 1 or name in tables]
    groups = [
        {"params": maps, "weight_decay": DECAY},
        {"params": rest, "weight_decay": 0.0},
        {"params": list(heads.values()), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def _share(step: int, steps: int) -> float:
    """Of the rate: up over WARM of the steps, then down in a straight line to 0."""
    warm = max(1, round(WARM * steps))
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))


def _batches(examples: Sequence[Example], rng: np.random.Generator) -> list[list[int]]:
    """Rows of like length together: shuffled, sorted in chunks, cut at BATCH rows or BATCH_TOKENS, shuffled again."""
    order = rng.permutation(len(examples))
    found: list[list[int]] = []
    for at in range(0, len(order), BATCH * CHUNK):
        rows = sorted(order[at : at + BATCH * CHUNK].tolist(), key=lambda i: len(examples[i].read.ids))
        batch: list[int] = []
        for i in rows:  # lengths rise, so this row's is the batch's
            if batch and (len(batch) == BATCH or (len(batch) + 1) * len(examples[i].read.ids) > BATCH_TOKENS):
                found.append(batch)
                batch = []
            batch.append(i)
        found.append(batch)
    return [found[i] for i in rng.permutation(len(found))]


def _batch(examples: Sequence[Example], small: npt.NDArray[np.int64] | None) -> Batch:
    torch = _torch()
    longest = max(len(e.read.ids) for e in examples)
    ids, shapes = (np.zeros((len(examples), longest), np.int64) for _ in range(2))
    there = np.zeros((len(examples), longest), np.float32)
    for i, e in enumerate(examples):
        n = len(e.read.ids)
        ids[i, :n], shapes[i, :n], there[i, :n] = e.read.ids, e.read.shapes, 1
    return Batch(*map(torch.from_numpy, (ids if small is None else small[ids], shapes, there)))


def _loss(
    weights: dict[str, Any],
    heads: dict[str, Any],
    start: Start,
    form: Form,
    batch: Batch,
    rows: Sequence[Example],
    bf16: bool,
) -> Any:
    """Minus the mean log-probability of a row's whole answer."""
    torch = _torch()
    fn = torch.nn.functional
    x = hidden(weights, start.shape, batch, dtype=torch.bfloat16 if bf16 else torch.float32, drop=DROP)
    length = batch.ids.shape[1]
    loss = torch.zeros(())
    at = torch.tensor([i * length + t for i, e in enumerate(rows) for t in e.read.first], dtype=torch.int64)
    words = fn.dropout(x.reshape(-1, start.width).index_select(0, at).float(), DROP, True)
    for k in range(form.layers):
        wanted = torch.tensor([tag for e in rows for tag in e.tags[k]], dtype=torch.int64)
        loss = loss + fn.cross_entropy(
            fn.linear(words, heads[f"tags.{k}.w"], heads[f"tags.{k}.b"]), wanted, reduction="sum"
        )
    if form.labels:
        mean = (x.float() * batch.there[..., None]).sum(1) / batch.there.sum(1, keepdim=True)
        pooled = fn.dropout(torch.cat([x[:, 0].float(), mean], 1), DROP, True)
        for k in range(len(form.labels)):
            wanted = torch.tensor([e.labels[k] for e in rows])
            loss = loss + fn.cross_entropy(
                fn.linear(pooled, heads[f"labels.{k}.w"], heads[f"labels.{k}.b"]), wanted, reduction="sum"
            )
    return loss / len(rows)


def _finite(loss: float, step: int) -> float:
    if not np.isfinite(loss):
        raise TrainingFailed(f"The tagger's loss is {loss} at step {step + 1}.", "Look at the longest and oddest rows.")
    return loss
