"""Fine-tune a BERT on the task, as one more member of the stack; torch is here and nowhere else.

    rows ─groups whole→ two halves
        ─trained on one, scoring the other→ raw scores of every row by a model that never saw it: what the stack weighs
        ─trained on all rows→ encoder (ONNX, int8, no torch) and head: what is served

    a training: head from logistic regression on the base's vectors, then the top layers and the head by AdamW on
                cross-entropy(W unit(pool(BERT(text))) + b), rate up for a tenth of the steps and down to 0 after

Every score is made by the exported graph, never by torch's, so that the stack weighs what will be served. One thread
and a seed: the same rows give the same bytes on any number of cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.encoder import Encoder
from freehold.engines.encoder_files import Parts
from freehold.engines.hf import convert
from freehold.engines.label import TUNED, encode
from freehold.errors import MissingExtra, StudentUnusable
from freehold.tell import Tell
from freehold.tune.base import BATCH, HEAD, Base, Plan
from freehold.tune.members import Training, linear
from freehold.tune.repeat import repeatable

__all__ = ["Tuned", "finetune"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Head = tuple[Floats, Floats]
WARM = 0.1  # share of the steps
DECAY = 0.01
CLIP = 1.0  # the gradient's largest norm


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """The fine-tuned encoder, its head, and the raw scores [n, labels] of the rows by models that never saw them."""

    encoder: Encoder
    head: Head
    unseen: Floats

    def files(self) -> dict[str, bytes]:
        return {f"{TUNED}{name}": data for name, data in self.encoder.files().items()}


def finetune(base: Base, rows: Training, half: Indices, plan: Plan, *, threads: int, seed: int, tell: Tell) -> Tuned:
    """Train once without each half, and once on all rows. Raises MissingExtra, StudentUnusable."""
    ready = _encoder(base, base.weights, threads)
    vectors = encode(ready, rows.texts, tell)
    tokens = ready.tokens(rows.texts)
    parts = [np.flatnonzero(half != h) for h in np.unique(half)]
    steps = _Steps(sum(map(len, parts)) + len(rows.y), plan, tell)
    unseen = np.zeros((len(rows.y), rows.labels), np.float32)
    for used in parts:
        others = np.setdiff1d(np.arange(len(rows.y)), used)
        weights, (w, b) = _train(base, rows.rows(used), [tokens[i] for i in used], vectors[used], plan, seed, steps)
        found = _encoder(base, weights, threads).embed([rows.texts[i] for i in others])
        for i, vector in zip(others.tolist(), found, strict=True):
            unseen[i] = w @ vector + b
    weights, head = _train(base, rows, tokens, vectors, plan, seed, steps)
    return Tuned(_encoder(base, weights, threads), head, unseen)


class _Steps:
    """Counts the rows trained on, over all trainings, for the progress."""

    def __init__(self, rows: int, plan: Plan, tell: Tell) -> None:
        self._all, self._done, self._tell = rows * plan.epochs, 0, tell
        self._what = f"fine-tune the top {plan.layers} of {plan.of} layers, {plan.epochs} epochs"

    def add(self, rows: int) -> None:
        self._done += rows
        self._tell(self._what, self._done / self._all)


def _encoder(base: Base, weights: Mapping[str, Floats], threads: int) -> Encoder:
    settings = msgspec.structs.replace(base.settings, name=base.name, licence=base.licence)
    parts = Parts(settings, convert(base.config, weights), base.tokenizer, base.origin)
    return Encoder(parts, threads=threads)


def _train(
    base: Base, rows: Training, tokens: Sequence[list[int]], vectors: Floats, plan: Plan, seed: int, steps: _Steps
) -> tuple[dict[str, Floats], Head]:
    """The weights of the whole BERT, and the head, trained on these rows; `vectors` are the base's."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("Fine-tuning needs the package torch.", "pip install 'freehold[tune]'") from error

    with repeatable(seed):
        model = _model(base, plan)
        head = _head(*linear(vectors, rows))
        optimiser, schedule = _optimiser(model, head, plan, -(-len(rows.y) // BATCH) * plan.epochs)
        rng = np.random.default_rng(seed)
        for _ in range(plan.epochs):
            order = rng.permutation(len(rows.y))
            for at in range(0, len(order), BATCH):
                some = order[at : at + BATCH]
                out = head(_vectors(model, [tokens[i] for i in some], base.settings.pooling[0]))
                loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(rows.y[some]))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], CLIP)
                optimiser.step()
                schedule.step()
                steps.add(len(some))
        weights = {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
        return weights, (np.array(head.weight.detach().numpy()), np.array(head.bias.detach().numpy()))


def _model(base: Base, plan: Plan) -> Any:
    """The base as torch's; only the top layers learn, and only they drop units."""
    import torch

    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise MissingExtra("Fine-tuning needs the package transformers.", "pip install 'freehold[tune]'") from error

    model: Any = BertModel(BertConfig.from_dict(dict(base.config)), add_pooling_layer=False)
    known = {name: torch.from_numpy(value) for name, value in base.weights.items() if name in model.state_dict()}
    try:
        model.load_state_dict(known)
    except RuntimeError as error:  # torch's word for a weight that is missing, or of another shape
        said = " ".join(str(error).split())[:200]
        raise StudentUnusable(f"The weights in {base.origin} don't fit its config.json: {said}") from error
    model.float().eval().requires_grad_(False)
    for layer in list(model.encoder.layer)[plan.of - plan.layers :]:
        layer.train().requires_grad_(True)
    return model


def _head(w: Floats, b: Floats) -> Any:
    import torch

    head = torch.nn.Linear(w.shape[1], w.shape[0])
    head.load_state_dict({"weight": torch.from_numpy(w), "bias": torch.from_numpy(b)})
    return head


def _optimiser(model: Any, head: Any, plan: Plan, steps: int) -> tuple[Any, Any]:
    import torch

    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": learning, "lr": plan.rate}, {"params": list(head.parameters()), "lr": HEAD * plan.rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
    warm = max(1, round(WARM * steps))

    def share(step: int) -> float:
        return (step + 1) / warm if step < warm else (steps - step) / max(1, steps - warm)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def _vectors(model: Any, tokens: Sequence[list[int]], pooling: str) -> Any:
    """[n, dim] of length 1: what the exported graph gives, before its weights are rounded."""
    import torch

    longest = max(map(len, tokens))
    ids = torch.tensor([t + [0] * (longest - len(t)) for t in tokens])
    there = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in tokens])
    hidden = model(input_ids=ids, attention_mask=there).last_hidden_state
    pooled = hidden[:, 0] if pooling == "cls" else (hidden * there[..., None]).sum(1)  # its length is 1 anyway
    return torch.nn.functional.normalize(pooled, dim=-1)
